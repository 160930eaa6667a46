//! Reverse proxy for one request: routing, validation, forwarding or a response of the gateway itself, response
//! headers, logging.

mod forward;

use std::rc::Rc;
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, ORIGIN, STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use stele_service::{BEARER_CHALLENGE, drain, trace};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use crate::access_log::AccessLogEntry;
use crate::client_connection::{ListenerRole, RequestGuard, Scheme, SharedTimer};
use crate::config::Config;
use crate::error_pages::{self, Rejection};
use crate::headers::{ClientIdentity, HyperHeaders, REQUEST_ID};
use crate::lingering_close::RequestInput;
use crate::local_response::LocalResponse;
use crate::request_body::{RequestBodyState, discard_body};
use crate::request_head::{self, RequestLine};
use crate::response_body::{ResponseBody, ResponseSource};
use crate::routing_table::{PrefixAccess, Route};
use crate::shared_state::SharedState;
use crate::upstreams::connection::ProxyError;
use crate::upstreams::pool::ConnectionPool;
use crate::{docs, health_endpoint, index, redirect};

#[cfg(any(test, fuzzing))]
pub(crate) use forward::{ClientFraming, build_upstream_request};

/// State of one worker thread.
pub(crate) struct WorkerState {
    pub(crate) shared: Arc<SharedState>,
    pub(crate) gateway_secret: Option<HeaderValue>,
    pub(crate) pool: ConnectionPool,
}

/// The client aborted the request before its response started.
#[derive(Debug, thiserror::Error)]
#[error("the client aborted the request")]
pub(crate) struct ClientAborted;

/// Everything about a request except its headers and body.
struct RequestContext<'a> {
    worker: &'a Rc<WorkerState>,
    config: &'a Config,
    request_line: &'a RequestLine,
    guard: &'a RequestGuard,
    timer: &'a SharedTimer,
    client: &'a ClientIdentity,
    route: Option<&'a Route>,
    /// Who may send requests for this path, if there is a route.
    access: PrefixAccess,
    span: &'a Span,
    /// The `Origin` header, for CORS.
    origin_header: Option<HeaderValue>,
    started_at: Instant,
    /// The request was received while draining: the response has `Connection: close`.
    is_draining: bool,
    /// The bytes after this request may belong to another protocol.
    may_switch_protocol: bool,
}

/// The result of handling a request.
enum Outcome {
    /// The response of a service.
    Proxied(Response<ResponseSource>, RequestInput),
    /// A response of the gateway itself.
    LocalResponse(LocalResponse, RequestInput),
    ClientAborted,
}

/// Where the response to a request comes from.
enum Destination<'a> {
    /// From an instance of this route's service.
    Service(&'a Route),
    /// From the gateway itself.
    LocalResponse(LocalResponse, RequestInput),
}

impl RequestInput {
    /// The state before any of the body is read.
    fn before_body(incoming: &Incoming) -> Self {
        if incoming.is_end_stream() { Self::Consumed } else { Self::Unread }
    }

    /// The state after the body was forwarded, completely or in part. `None`: the body had been received completely
    /// before it was forwarded.
    fn after_forwarding(body_state: Option<&Rc<RequestBodyState>>) -> Self {
        if body_state.is_none_or(|body| body.is_complete()) { Self::Consumed } else { Self::Unread }
    }
}

/// Handles one request; hyper calls it for each request of HTTP/1.1 and HTTP/2.
pub(crate) async fn handle_request(
    worker: Rc<WorkerState>,
    mut guard: RequestGuard,
    timer: SharedTimer,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, ClientAborted> {
    let (parts, body) = request.into_parts();
    let Parts { method, uri, version, headers, .. } = parts;
    let config = worker.shared.config();
    let mut line = RequestLine::new(method, uri, version);
    let client = ClientIdentity::resolve(guard.connection().peer, &headers, &config.trusted_proxies);
    let permitted = line.match_route(&config.table).filter(|(_, access)| client.may_use(*access));
    let (route, access) = permitted.map_or((None, PrefixAccess::Public), |(route, access)| (Some(route), access));
    // Health checks arrive every second and are not traced.
    let span = match drain::is_health_check_path(line.path()) {
        true => Span::none(),
        false => trace::server_span(line.method.as_str(), line.path(), &HyperHeaders(&headers)),
    };
    let log_entry = AccessLogEntry::new(&line, &client, route, &span, &worker.shared);
    let context = RequestContext {
        worker: &worker,
        config: &config,
        request_line: &line,
        guard: &guard,
        timer: &timer,
        client: &client,
        route,
        access,
        span: &span,
        origin_header: headers.get(ORIGIN).cloned(),
        started_at: log_entry.started_at(),
        is_draining: !drain::is_health_check_path(line.path()) && worker.shared.drain.record_request(),
        may_switch_protocol: line.may_switch_protocol(&headers),
    };
    // Without tracing there is no span: the one or two log lines of a request carry its id, and a span would cost as
    // much as those lines.
    let processing = context.process(log_entry, headers, body);
    let response = if span.is_none() { processing.await? } else { processing.instrument(span.clone()).await? };
    guard.mark_response_started();
    Ok(response.map(|source| ResponseBody { source, guard }))
}

impl RequestContext<'_> {
    /// Produces the complete response, and logs the request.
    async fn process(
        &self,
        log_entry: AccessLogEntry<'_>,
        headers: HeaderMap,
        body: Incoming,
    ) -> Result<Response<ResponseSource>, ClientAborted> {
        let (mut response, input) = match self.respond(headers, body).await {
            Outcome::Proxied(response, input) => (response, input),
            Outcome::LocalResponse(response, input) => {
                (build_local_response(response, &self.request_line.method), input)
            }
            Outcome::ClientAborted => return Err(ClientAborted),
        };
        self.log_request(log_entry, response.status());
        self.finish_response(&mut response, input);
        Ok(response)
    }

    /// Gets the response from the service or from the gateway itself.
    async fn respond(&self, headers: HeaderMap, body: Incoming) -> Outcome {
        let input = RequestInput::before_body(&body);
        let route = match self.select_destination(&headers, &body, input).await {
            Destination::Service(route) => route,
            Destination::LocalResponse(response, input) => {
                if self.request_line.version == Version::HTTP_2 && input == RequestInput::Unread {
                    actix_rt::spawn(discard_body(body));
                }
                return Outcome::LocalResponse(response, input);
            }
        };
        match self.forward(route, headers, body).await {
            Ok((response, input)) => Outcome::Proxied(response, input),
            Err((ProxyError::ClientAborted, _)) => Outcome::ClientAborted,
            Err((error, input)) => {
                Outcome::LocalResponse(self.reject(route, forward::map_upstream_error(&error)), input)
            }
        }
    }

    /// Validates the request. Returns the route of its service, or the response of the gateway itself.
    async fn select_destination(&self, headers: &HeaderMap, body: &Incoming, input: RequestInput) -> Destination<'_> {
        if request_head::is_malformed(self.request_line, headers) {
            let response = match self.route {
                Some(route) => self.reject(route, Rejection::BadRequest),
                None => error_pages::default_error_page(Rejection::BadRequest),
            };
            return Destination::LocalResponse(response, RequestInput::Unread);
        }
        if let ListenerRole::HttpsRedirect(port) = self.guard.connection().listener_role {
            return Destination::LocalResponse(redirect::respond(self.request_line, headers, port), input);
        }
        if let Some(response) = health_endpoint::respond(self.request_line, &self.worker.shared) {
            return Destination::LocalResponse(response, input);
        }
        let Some(route) = self.route else {
            let response = match index::respond(self.request_line, headers, self.config) {
                Some(response) => Some(response),
                None => docs::respond(self.request_line, self.config).await,
            };
            return Destination::LocalResponse(response.unwrap_or_else(error_pages::route_not_found), input);
        };
        if let Err(rejection) = request_head::validate(
            self.request_line,
            headers,
            body.size_hint().exact(),
            self.config.limits.max_body_bytes,
        ) {
            // After an invalid head the connection is closed, because the start of the next request is uncertain.
            let input = match rejection {
                Rejection::BadRequest | Rejection::HeadersTooLarge => RequestInput::Unread,
                _ => input,
            };
            return Destination::LocalResponse(self.reject(route, rejection), input);
        }
        // A proxy that asks about a preflight request would take a 204 for permission.
        if self.access == PrefixAccess::Public
            && let Some(response) = self.config.cors.preflight_response(&self.request_line.method, headers)
        {
            return Destination::LocalResponse(response, input);
        }
        Destination::Service(route)
    }

    /// Counts the rejection and returns its error page.
    fn reject(&self, route: &Route, rejection: Rejection) -> LocalResponse {
        self.worker.shared.counters.count_rejection(&route.service, rejection);
        route.error_pages.response(rejection)
    }

    /// Records the status in trace and access log. Dropping the entry writes the log line.
    fn log_request(&self, mut log_entry: AccessLogEntry<'_>, status: StatusCode) {
        log_entry.status = status.as_u16();
        trace::record_response_status(self.span, log_entry.status);
        if let Some(route) = self.route {
            trace::set_span_name(self.span, self.request_line.method.as_str(), &route.service);
        }
    }

    /// Adds the header fields of every response, and decides whether the connection is closed after it.
    fn finish_response(&self, response: &mut Response<ResponseSource>, input: RequestInput) {
        if self.is_failure_sent_as_200(response) {
            *response.status_mut() = StatusCode::OK;
        }
        let is_unauthorized = response.status() == StatusCode::UNAUTHORIZED;
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, self.client.request_id_value());
        if is_unauthorized {
            headers.entry(WWW_AUTHENTICATE).or_insert(HeaderValue::from_static(BEARER_CHALLENGE));
        }
        if self.route.is_some() {
            self.config.cors.add_response_headers(self.origin_header.as_ref(), headers);
        }
        if let Some(hsts) = self.config.hsts.as_ref().filter(|_| self.guard.connection().scheme == Scheme::Https) {
            headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        if self.request_line.version == Version::HTTP_2 {
            // The end of a stream does not end the connection.
            if !self.is_keep_alive_enabled() {
                self.guard.connection().start_draining();
            }
            return;
        }
        let is_close_delimited = self.is_close_delimited(response.body());
        if is_close_delimited || !self.can_keep_alive(input) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            // hyper ignores an HTTP/1.0 client's `Connection: keep-alive` only if the response has the same version.
            *response.version_mut() = self.request_line.version;
        }
        if let ResponseSource::Streaming(upstream_body) = response.body_mut() {
            upstream_body.is_close_delimited = is_close_delimited;
        }
        if input == RequestInput::Unread {
            self.guard.connection().mark_unread_input();
        }
    }

    /// Whether this is an error response of a dialect whose errors are sent with status 200, by `STELE_STATUS_200` of
    /// the service or of the gateway.
    fn is_failure_sent_as_200(&self, response: &Response<ResponseSource>) -> bool {
        let status = response.status();
        let is_set_in_gateway = self.route.is_some_and(|route| self.config.status_200.applies_to(&route.service));
        let is_failure = status.is_client_error() || status.is_server_error();
        is_failure && (is_set_in_gateway || response.extensions().get::<forward::SentAs200>().is_some())
    }

    /// Whether only the end of the connection ends the body: its length is unknown, and an HTTP/1.0 client cannot read
    /// chunked.
    fn is_close_delimited(&self, source: &ResponseSource) -> bool {
        let has_unknown_length =
            matches!(source, ResponseSource::Streaming(upstream_body) if upstream_body.size_hint().exact().is_none());
        has_unknown_length && self.request_line.version == Version::HTTP_10
    }

    /// Whether the client may send further requests on this connection.
    fn can_keep_alive(&self, input: RequestInput) -> bool {
        // After a body that was read only in part, the connection is closed instead of reading the rest.
        self.is_keep_alive_enabled() && !self.may_switch_protocol && input == RequestInput::Consumed
    }

    /// Whether the state of the gateway allows keep-alive: not draining, and at most half of all connections open.
    fn is_keep_alive_enabled(&self) -> bool {
        let shared = &self.worker.shared;
        // Check the drain again: it may have started after the request was received.
        !self.is_draining && !shared.drain.is_draining() && !shared.connections.above_half()
    }
}

/// Converts a response of the gateway itself. The response to HEAD has no body.
fn build_local_response(response: LocalResponse, method: &Method) -> Response<ResponseSource> {
    let LocalResponse { status, headers, body } = response;
    let is_head = *method == Method::HEAD;
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(ResponseSource::Full((!is_head).then_some(body)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if is_head && status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
    response
}
