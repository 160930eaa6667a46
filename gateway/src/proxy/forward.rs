//! Forwards a request to an instance of its service and returns the response. A failed connect is retried on another
//! instance.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, Request, Response, StatusCode};
use stele_service::log_sanitizer::LogRateLimiter;
use stele_service::status_200::ORIGINAL_STATUS_HEADER;
use stele_service::trace;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::RequestContext;
use crate::error_pages::Rejection;
use crate::headers::{self, AddedHeaders};
use crate::lingering_close::RequestInput;
use crate::request_body::{BodyLimits, RequestBody, RequestBodyState};
use crate::request_head::RequestLine;
use crate::response_body::{ResponseSource, UpstreamBody, UpstreamRequest};
use crate::routing_table::Route;
use crate::upstreams::connection::{ProxyError, UpstreamConnection, connect};
use crate::upstreams::instance::{Instance, InstanceGuard};
use crate::upstreams::pool::{Checkout, Permit};

/// Rate limit of log lines about requests without a response, per minute. Without it, every request would log a line
/// during an outage.
static NO_RESPONSE_LOG_LIMIT: LogRateLimiter = LogRateLimiter::new(300);

/// A connection to an instance, ready to send a request.
struct ReadyConnection {
    connection: UpstreamConnection,
    permit: Permit,
    instance_guard: InstanceGuard,
}

impl RequestContext<'_> {
    /// Sends the request to an instance and returns its response.
    ///
    /// A retry on another instance happens only after a failed connect, when the first cannot have processed the
    /// request. A reused connection that turns out to be closed is no such proof: the instance may have processed the
    /// request before it died, and no request is known to be idempotent here (RFC 9110 §9.2.2).
    pub(super) async fn forward(
        &self,
        route: &Route,
        headers: HeaderMap,
        body: Incoming,
    ) -> Result<(Response<ResponseSource>, RequestInput), (ProxyError, RequestInput)> {
        let limits = &self.config.limits;
        let body_limits =
            BodyLimits { max_bytes: limits.max_body_bytes, deadline: self.started_at + limits.body_timeout };
        let client_framing = ClientFraming::of(&headers);
        let body = RequestBody::receive(body, body_limits, self.timer).await;
        let body = body.map_err(|error| (error.into(), RequestInput::Unread))?;
        let body_state = body.state();
        let input = || RequestInput::after_forwarding(body_state.as_ref());
        let ready = self.connect_to_instance(route).await.map_err(|error| (error, input()))?;
        let request = self.prepare_upstream_request(headers, body, client_framing, ready.instance_guard.instance());
        let response = self.send_to_upstream(route, request, ready, body_state.clone()).await;
        response.map(|response| (response, input())).map_err(|error| (error, input()))
    }

    /// Selects an instance and takes a connection to it from the pool, or connects. Tries further instances until one
    /// accepts or the upstream timeout has passed.
    async fn connect_to_instance(&self, route: &Route) -> Result<ReadyConnection, ProxyError> {
        let deadline = Instant::now() + self.config.limits.upstream_timeout;
        let mut tried: Vec<Arc<Instance>> = Vec::new();
        while let Some(mut instance_guard) = route.upstreams.acquire_instance(&tried) {
            let address = instance_guard.instance().address();
            if !tried.is_empty() {
                self.worker.shared.counters.count_retry(&route.service);
            }
            let Some(Checkout { idle, permit }) = self.worker.pool.checkout(address) else { break };
            let connected = match idle {
                Some(connection) => Ok(connection),
                None => connect(address, deadline, self.timer).await,
            };
            let error = match connected {
                Ok(connection) => return Ok(ReadyConnection { connection, permit, instance_guard }),
                Err(error) => error,
            };
            self.warn_no_response(route, address, &error);
            let is_timed_out = Instant::now() >= deadline;
            // If earlier instances used up the time, the timeout proves nothing about this one.
            if !is_timed_out || tried.is_empty() {
                instance_guard.record_connect_failure();
                self.worker.shared.health_check_trigger.notify_one();
            }
            if is_timed_out {
                return Err(ProxyError::Timeout);
            }
            tried.push(Arc::clone(instance_guard.instance()));
        }
        Err(ProxyError::Unavailable)
    }

    /// Rewrites the headers and builds the upstream request.
    fn prepare_upstream_request(
        &self,
        mut headers: HeaderMap,
        body: RequestBody,
        client_framing: ClientFraming,
        instance: &Instance,
    ) -> Request<RequestBody> {
        let added = AddedHeaders {
            client: self.client,
            access: self.access,
            scheme: self.guard.connection().scheme,
            host: instance.host_header(),
            gateway_secret: self.worker.gateway_secret.as_ref(),
        };
        headers::rewrite_request_headers(self.request_line, &mut headers, &added);
        build_upstream_request(self.request_line, headers, body, client_framing)
    }

    /// Sends the request, and returns the response for the client once its head has arrived.
    async fn send_to_upstream(
        &self,
        route: &Route,
        mut request: Request<RequestBody>,
        mut ready: ReadyConnection,
        body_state: Option<Rc<RequestBodyState>>,
    ) -> Result<Response<ResponseSource>, ProxyError> {
        let span = trace::client_span(self.request_line.method.as_str(), ready.instance_guard.instance().address());
        headers::set_trace_parent(&span, request.headers_mut());
        let sending = self.await_response_head(request, &mut ready.connection, body_state.as_deref());
        let head = if span.is_none() { sending.await } else { sending.instrument(span.clone()).await };
        let result = match head {
            Ok(response) => self.start_response(response, ready, body_state).await,
            Err(error) => Err((error, ready.instance_guard)),
        };
        match result {
            Ok(response) => {
                trace::record_response_status(&span, response.status().as_u16());
                Ok(response)
            }
            Err((error, mut instance_guard)) => {
                trace::record_error(&span, "no_answer");
                self.record_failure(route, &mut instance_guard, &error);
                Err(error)
            }
        }
    }

    /// Sends the request and waits for the response head, within the upstream timeout.
    async fn await_response_head(
        &self,
        request: Request<RequestBody>,
        connection: &mut UpstreamConnection,
        body_state: Option<&RequestBodyState>,
    ) -> Result<Response<Incoming>, ProxyError> {
        let timeout = self.config.limits.upstream_timeout;
        let deadline = Instant::now() + timeout;
        let poll_timeout = |cx: &mut Context<'_>| {
            let mut timer = self.timer.borrow_mut();
            match body_state {
                Some(body_state) => body_state.poll_timeout(cx, &mut timer, timeout),
                None => timer.poll(cx, deadline).map(|()| ProxyError::Timeout),
            }
        };
        let response = connection.send(request, poll_timeout).await;
        // A request body error surfaces as a generic hyper error; the stored one is the exact reason.
        let body_error = body_state.and_then(RequestBodyState::error);
        let response = response.map_err(|error| body_error.map_or(error, ProxyError::from))?;
        if is_interim_or_ambiguous(&response) { Err(ProxyError::Malformed) } else { Ok(response) }
    }

    /// Starts the response to the client, with as much of the body as has arrived. Usually the whole body has, and the
    /// upstream connection returns to the pool at once.
    async fn start_response(
        &self,
        response: Response<Incoming>,
        ready: ReadyConnection,
        request_body: Option<Rc<RequestBodyState>>,
    ) -> Result<Response<ResponseSource>, (ProxyError, InstanceGuard)> {
        let is_connection_reusable = !has_unexpected_body(&response);
        let (parts, incoming) = response.into_parts();
        let ReadyConnection { connection, permit, instance_guard } = ready;
        let upstream_body = UpstreamBody {
            incoming,
            buffered: None,
            upstream_request: Some(UpstreamRequest {
                connection,
                permit,
                instance_guard,
                request_body,
                is_connection_reusable,
            }),
            worker: Rc::clone(self.worker),
            timer: Rc::clone(self.timer),
            read_timeout: self.config.limits.upstream_timeout,
            waiting_since: None,
            is_close_delimited: false,
        };
        let mut response = Response::new(upstream_body.read_available().await?);
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        restore_original_status(&mut response);
        headers::rewrite_response_headers(response.headers_mut(), &self.request_line.method);
        Ok(response)
    }

    /// Records and logs a request without a response as a failure of the instance, unless the client caused it.
    fn record_failure(&self, route: &Route, instance_guard: &mut InstanceGuard, error: &ProxyError) {
        match error {
            ProxyError::Rejected(_) | ProxyError::ClientAborted => return,
            ProxyError::Timeout => instance_guard.record_timeout(),
            ProxyError::Io(_) | ProxyError::Http(_) | ProxyError::Malformed | ProxyError::Unavailable => {
                instance_guard.record_failure();
            }
        }
        self.warn_no_response(route, instance_guard.instance().address(), error);
    }

    fn warn_no_response(&self, route: &Route, instance: SocketAddr, cause: &ProxyError) {
        let Some(left_out) = NO_RESPONSE_LOG_LIMIT.allow(Instant::now()) else { return };
        let (id, left_out) = (self.client.request_id.as_str(), left_out.as_log_field());
        tracing::warn!(service = route.service, %instance, id, %cause, left_out, "no upstream response");
    }
}

/// Marks a response whose original status was restored for logs and metrics. The client gets 200.
#[derive(Clone, Copy)]
pub(super) struct SentAs200;

/// Restores the status that a service with `STELE_STATUS_200` sends in [`ORIGINAL_STATUS_HEADER`].
fn restore_original_status<B>(response: &mut Response<B>) {
    let original = response.headers_mut().remove(ORIGINAL_STATUS_HEADER);
    if let Some(status) = original.and_then(|status| StatusCode::from_bytes(status.as_bytes()).ok()) {
        *response.status_mut() = status;
        response.extensions_mut().insert(SentAs200);
    }
}

/// Whether the client's request has a framing header, `Content-Length` or `Transfer-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientFraming {
    Explicit,
    Absent,
}

impl ClientFraming {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
            true => Self::Explicit,
            false => Self::Absent,
        }
    }
}

/// Builds the upstream request with these headers. The framing follows from the body, not from the client's headers.
pub(crate) fn build_upstream_request(
    line: &RequestLine,
    mut headers: HeaderMap,
    body: RequestBody,
    client_framing: ClientFraming,
) -> Request<RequestBody> {
    match (body.size_hint().exact(), client_framing) {
        (None, _) => drop(headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
        // hyper writes no `Content-Length` for an empty body; a client that sent one expects it to arrive.
        (Some(0), ClientFraming::Explicit) => {
            drop(headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0")));
        }
        (Some(_), _) => {}
    }
    let mut request = Request::new(body);
    *request.method_mut() = line.method.clone();
    *request.uri_mut() = line.origin_form();
    *request.headers_mut() = headers;
    request
}

/// The rejection that the client gets instead of a response of the service.
pub(super) fn map_upstream_error(error: &ProxyError) -> Rejection {
    match error {
        ProxyError::Rejected(rejection) => *rejection,
        ProxyError::Timeout => Rejection::GatewayTimeout,
        ProxyError::ClientAborted
        | ProxyError::Io(_)
        | ProxyError::Http(_)
        | ProxyError::Malformed
        | ProxyError::Unavailable => Rejection::ServiceUnavailable,
    }
}

/// Whether a response is interim (1xx), or its framing is ambiguous: repeated or conflicting framing headers, or a
/// transfer coding other than chunked. Such a response is rejected to prevent response splitting and response smuggling
/// (RFC 9112 §6.3).
fn is_interim_or_ambiguous(response: &Response<Incoming>) -> bool {
    let headers = response.headers();
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let has_unknown_coding = encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let framing_header_count: usize =
        [TRANSFER_ENCODING, CONTENT_LENGTH].iter().map(|name| headers.get_all(name).iter().count()).sum();
    // hyper skips interim responses except 101, which is invalid because the gateway requests no upgrade.
    response.status().is_informational() || has_unknown_coding || framing_header_count > 1
}

/// Whether a 204 response announces a body, so that the connection cannot be reused.
fn has_unexpected_body(response: &Response<Incoming>) -> bool {
    let headers = response.headers();
    let has_length = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    response.status() == StatusCode::NO_CONTENT && (has_length || headers.contains_key(TRANSFER_ENCODING))
}
