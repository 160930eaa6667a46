//! One request: found its route, checked, passed on, answered, logged.

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
use crate::routing_table::Route;
use crate::shared_state::SharedState;
use crate::upstreams::connection::ProxyError;
use crate::upstreams::pool::ConnectionPool;
use crate::{docs, health_endpoint, index, redirect};

#[cfg(any(test, fuzzing))]
pub(crate) use forward::{build_upstream_request, has_framing_header};

/// What a worker needs to answer requests.
pub(crate) struct WorkerState {
    pub(crate) shared: Arc<SharedState>,
    pub(crate) hop_secret: Option<HeaderValue>,
    pub(crate) pool: ConnectionPool,
}

/// The client went before it was answered.
#[derive(Debug, thiserror::Error)]
#[error("the client went")]
pub(crate) struct ClientAborted;

/// A request, and all that is known of it but its headers and its body.
struct RequestContext<'a> {
    worker: &'a Rc<WorkerState>,
    config: &'a Config,
    request_line: &'a RequestLine,
    guard: &'a RequestGuard,
    timer: &'a SharedTimer,
    client: &'a ClientIdentity,
    route: Option<&'a Route>,
    span: &'a Span,
    origin: Option<HeaderValue>,
    started_at: Instant,
    /// Received while draining: answered with `Connection: close`.
    is_draining: bool,
    /// What follows the request on its connection may be no request.
    may_switch_protocol: bool,
}

/// What becomes of a request.
enum Outcome {
    Proxied(Response<ResponseSource>, RequestInput),
    Local(LocalResponse, RequestInput),
    ClientAborted,
}

/// Who answers a request.
enum Destination<'a> {
    Service(&'a Route),
    Local(LocalResponse, RequestInput),
}

impl RequestInput {
    fn of_body(incoming: &Incoming) -> Self {
        if incoming.is_end_stream() { Self::Consumed } else { Self::Unread }
    }

    fn of_request_body(upload: Option<&Rc<RequestBodyState>>) -> Self {
        if upload.is_none_or(|upload| upload.is_complete()) { Self::Consumed } else { Self::Unread }
    }
}

/// Answers every request there is.
pub(crate) async fn handle(
    worker: Rc<WorkerState>,
    mut guard: RequestGuard,
    alarm: SharedTimer,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, ClientAborted> {
    let (parts, body) = request.into_parts();
    let Parts { method, uri, version, headers, .. } = parts;
    let config = worker.shared.config();
    let mut line = RequestLine::new(method, uri, version);
    let route = line.match_route(&config.table);
    let caller = ClientIdentity::resolve(guard.connection().peer, &headers, &config.trusted_proxies);
    // Health checks are asked every second: nothing to see.
    let trace = match drain::is_health_check_path(line.path()) {
        true => Span::none(),
        false => trace::server_span(line.method.as_str(), line.path(), &HyperHeaders(&headers)),
    };
    let entry = AccessLogEntry::new(&line, &caller, route, &trace, &worker.shared);
    let context = RequestContext {
        worker: &worker,
        config: &config,
        request_line: &line,
        guard: &guard,
        timer: &alarm,
        client: &caller,
        route,
        span: &trace,
        origin: headers.get(ORIGIN).cloned(),
        started_at: entry.started_at(),
        is_draining: !drain::is_health_check_path(line.path()) && worker.shared.drain.record_request(),
        may_switch_protocol: line.may_switch_protocol(&headers),
    };
    // No span for the log: the two lines that a request may have name it themselves, and a span costs as much as all of
    // them together.
    let answering = context.process(entry, headers, body);
    let response = if trace.is_none() { answering.await? } else { answering.instrument(trace.clone()).await? };
    guard.mark_response_started();
    Ok(response.map(|content| ResponseBody { source: content, guard }))
}

impl RequestContext<'_> {
    async fn process(
        &self,
        entry: AccessLogEntry<'_>,
        headers: HeaderMap,
        body: Incoming,
    ) -> Result<Response<ResponseSource>, ClientAborted> {
        let (mut response, input) = match self.respond(headers, body).await {
            Outcome::Proxied(response, input) => (response, input),
            Outcome::Local(answer, input) => (build_local_response(answer, &self.request_line.method), input),
            Outcome::ClientAborted => return Err(ClientAborted),
        };
        self.log_request(entry, response.status());
        self.finish_response(&mut response, input);
        Ok(response)
    }

    async fn respond(&self, headers: HeaderMap, body: Incoming) -> Outcome {
        let input = RequestInput::of_body(&body);
        let route = match self.select_destination(&headers, &body, input).await {
            Destination::Service(route) => route,
            Destination::Local(answer, input) => {
                if self.request_line.version == Version::HTTP_2 && input == RequestInput::Unread {
                    actix_rt::spawn(discard_body(body));
                }
                return Outcome::Local(answer, input);
            }
        };
        match self.forward(route, headers, body).await {
            Ok((response, input)) => Outcome::Proxied(response, input),
            Err((ProxyError::ClientAborted, _)) => Outcome::ClientAborted,
            Err((error, input)) => Outcome::Local(self.reject(route, forward::map_upstream_error(&error)), input),
        }
    }

    /// Which service a request is for, or what it is answered here.
    async fn select_destination(&self, headers: &HeaderMap, body: &Incoming, input: RequestInput) -> Destination<'_> {
        if request_head::is_malformed(self.request_line, headers) {
            let refuse = |route| self.reject(route, Rejection::BadRequest);
            let answer = self.route.map_or_else(|| error_pages::default_error_page(Rejection::BadRequest), refuse);
            return Destination::Local(answer, RequestInput::Unread);
        }
        if let ListenerRole::HttpsRedirect(port) = self.guard.connection().listener_role {
            return Destination::Local(redirect::respond(self.request_line, headers, port), input);
        }
        if let Some(answer) = health_endpoint::respond(self.request_line, &self.worker.shared) {
            return Destination::Local(answer, input);
        }
        let Some(route) = self.route else {
            let answer = match index::respond(self.request_line, headers, self.config) {
                Some(answer) => Some(answer),
                None => docs::respond(self.request_line, self.config).await,
            };
            return Destination::Local(answer.unwrap_or_else(error_pages::route_not_found), input);
        };
        if let Err(cause) = request_head::validate(
            self.request_line,
            headers,
            body.size_hint().exact(),
            self.config.limits.max_body_bytes,
        ) {
            let is_framed = !matches!(cause, Rejection::BadRequest | Rejection::HeadersTooLarge);
            return Destination::Local(self.reject(route, cause), if is_framed { input } else { RequestInput::Unread });
        }
        if let Some(answer) = self.config.cors.preflight(&self.request_line.method, headers) {
            return Destination::Local(answer, input);
        }
        Destination::Service(route)
    }

    fn reject(&self, route: &Route, cause: Rejection) -> LocalResponse {
        self.worker.shared.counters.count_rejection(&route.service, cause);
        route.error_pages.response(cause)
    }

    /// Logs the request, now that it is known how it is answered.
    fn log_request(&self, mut entry: AccessLogEntry<'_>, status: StatusCode) {
        entry.status = status.as_u16();
        trace::record_response_status(self.span, entry.status);
        if let Some(route) = self.route {
            trace::set_span_name(self.span, self.request_line.method.as_str(), &route.service);
        }
    }

    /// Adds what the gateway says with every answer, and closes the connection if it must end with this one.
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
            self.config.cors.add_response_headers(self.origin.as_ref(), headers);
        }
        if let Some(hsts) = self.config.hsts.as_ref().filter(|_| self.guard.connection().scheme == Scheme::Https) {
            headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        if self.request_line.version == Version::HTTP_2 {
            // A stream ends alone.
            if !self.may_keep_connection() {
                self.guard.connection().start_draining();
            }
            return;
        }
        let ends_with_connection = self.is_close_delimited(response.body());
        if ends_with_connection || !self.allows_keep_alive(input) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            // By which hyper knows that an HTTP/1.0 client's wish to keep the connection is not met.
            *response.version_mut() = self.request_line.version;
        }
        if let ResponseSource::Streaming(download) = response.body_mut() {
            download.is_close_delimited = ends_with_connection;
        }
        if input == RequestInput::Unread {
            self.guard.connection().mark_unread_input();
        }
    }

    /// Whether this is a failure of a dialect whose failures have status 200, as the service or the gateway is set.
    fn is_failure_sent_as_200(&self, response: &Response<ResponseSource>) -> bool {
        let status = response.status();
        let is_covered = self.route.is_some_and(|route| self.config.status_200.applies_to(&route.service));
        let is_failure = status.is_client_error() || status.is_server_error();
        is_failure && (is_covered || response.extensions().get::<forward::SentAs200>().is_some())
    }

    /// Whether the client learns by the end of its connection alone that the answer ends.
    fn is_close_delimited(&self, content: &ResponseSource) -> bool {
        let is_open = matches!(content, ResponseSource::Streaming(download) if download.size_hint().exact().is_none());
        is_open && self.request_line.version == Version::HTTP_10
    }

    /// Whether the client may send further requests after this answer, as far as the gateway decides it.
    fn allows_keep_alive(&self, input: RequestInput) -> bool {
        // The rest of a body that is not read is not worth waiting for.
        self.may_keep_connection() && !self.may_switch_protocol && input == RequestInput::Consumed
    }

    /// Whether the connection may stay open, for all that is known of the gateway.
    fn may_keep_connection(&self) -> bool {
        let live = &self.worker.shared;
        // Drained again: what came before the end was announced may be answered after it.
        !self.is_draining && !live.drain.is_draining() && !live.connections.above_half()
    }
}

/// An answer of the gateway's own; to HEAD, without its body.
fn build_local_response(answer: LocalResponse, method: &Method) -> Response<ResponseSource> {
    let LocalResponse { status, headers, body } = answer;
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
