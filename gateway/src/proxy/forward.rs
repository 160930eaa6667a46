//! The way of a request to an instance of its service, and of the instance's answer back.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
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
use crate::upstreams::pool::Permit;

/// While an instance is away every request may log a line.
static NO_RESPONSE_LOG_LIMIT: LogRateLimiter = LogRateLimiter::new(300);

/// An instance that a request may be sent to.
struct Checkout {
    connection: UpstreamConnection,
    permit: Permit,
    instance_guard: InstanceGuard,
}

impl RequestContext<'_> {
    /// Asks an instance.
    ///
    /// Another instance is asked only if this one cannot have seen the request: it could not even be connected to. A
    /// connection that was kept and turns out to be closed proves nothing, for the instance may have acted before it
    /// died, and no request is known here to be harmless when it is done twice.
    pub(super) async fn forward(
        &self,
        route: &Route,
        headers: HeaderMap,
        body: Incoming,
    ) -> Result<(Response<ResponseSource>, RequestInput), (ProxyError, RequestInput)> {
        let limits = &self.config.limits;
        let bounds = BodyLimits { max_bytes: limits.max_body_bytes, deadline: self.started_at + limits.body_timeout };
        let is_framed = has_framing_header(&headers);
        let body = RequestBody::receive(body, bounds, self.timer).await;
        let body = body.map_err(|fault| (fault.into(), RequestInput::Unread))?;
        let upload = body.state();
        let input = || RequestInput::of_request_body(upload.as_ref());
        let checkout = self.checkout(route).await.map_err(|error| (error, input()))?;
        let request = self.upstream_request(headers, body, is_framed, checkout.instance_guard.instance());
        let response = self.send_to_upstream(route, request, checkout, upload.clone()).await;
        response.map(|response| (response, input())).map_err(|error| (error, input()))
    }

    /// A connection to an instance.
    async fn checkout(&self, route: &Route) -> Result<Checkout, ProxyError> {
        let due = Instant::now() + self.config.limits.upstream_timeout;
        let mut tried: Vec<Arc<Instance>> = Vec::new();
        while let Some(mut lease) = route.upstreams.acquire_instance(&tried) {
            let address = lease.instance().address();
            if !tried.is_empty() {
                self.worker.shared.counters.count_retry(&route.service);
            }
            let Some((kept, permit)) = self.worker.pool.checkout(address) else { break };
            let connected = match kept {
                Some(connection) => Ok(connection),
                None => connect(address, due, self.timer).await,
            };
            let error = match connected {
                Ok(connection) => return Ok(Checkout { connection, permit, instance_guard: lease }),
                Err(error) => error,
            };
            self.warn_no_response(route, address, &error);
            let is_over = Instant::now() >= due;
            // A time that others have used up says nothing of this one.
            if !is_over || tried.is_empty() {
                lease.record_connect_failure();
                self.worker.shared.health_check_trigger.notify_one();
            }
            if is_over {
                return Err(ProxyError::Timeout);
            }
            tried.push(Arc::clone(lease.instance()));
        }
        Err(ProxyError::Unavailable)
    }

    /// The request that the service gets, framed afresh.
    fn upstream_request(
        &self,
        mut headers: HeaderMap,
        body: RequestBody,
        is_framed: bool,
        instance: &Instance,
    ) -> Request<RequestBody> {
        let (caller, host, hop) = (self.client, instance.host_header(), self.worker.hop_secret.as_ref());
        let scheme = self.guard.connection().scheme;
        headers::rewrite_request_headers(
            self.request_line,
            &mut headers,
            &AddedHeaders { client: caller, scheme, host, hop_secret: hop },
        );
        build_upstream_request(self.request_line, headers, body, is_framed)
    }

    /// Sends the request, and begins the client's answer.
    async fn send_to_upstream(
        &self,
        route: &Route,
        mut request: Request<RequestBody>,
        mut checkout: Checkout,
        upload: Option<Rc<RequestBodyState>>,
    ) -> Result<Response<ResponseSource>, ProxyError> {
        let span = trace::client_span(self.request_line.method.as_str(), checkout.instance_guard.instance().address());
        headers::set_trace_parent(&span, request.headers_mut());
        let asking = self.await_response_head(request, &mut checkout.connection, upload.as_deref());
        let answered = if span.is_none() { asking.await } else { asking.instrument(span.clone()).await };
        let answered = match answered {
            Ok(response) => self.start_response(response, checkout, upload).await,
            Err(error) => Err((error, checkout.instance_guard)),
        };
        match answered {
            Ok(response) => {
                trace::record_response_status(&span, response.status().as_u16());
                Ok(response)
            }
            Err((error, mut lease)) => {
                trace::record_error(&span, "no_answer");
                self.record_failure(route, &mut lease, &error);
                Err(error)
            }
        }
    }

    /// The service's answer, whose body is yet to be read.
    async fn await_response_head(
        &self,
        request: Request<RequestBody>,
        connection: &mut UpstreamConnection,
        upload: Option<&RequestBodyState>,
    ) -> Result<Response<Incoming>, ProxyError> {
        let patience = self.config.limits.upstream_timeout;
        let due = Instant::now() + patience;
        let late = |cx: &mut Context<'_>| {
            let mut alarm = self.timer.borrow_mut();
            match upload {
                Some(upload) => upload.poll_timeout(cx, &mut alarm, patience),
                None => alarm.poll(cx, due).map(|()| ProxyError::Timeout),
            }
        };
        let response = connection.send(request, late).await;
        let fault = upload.and_then(RequestBodyState::error);
        let response = response.map_err(|error| fault.map_or(error, ProxyError::from))?;
        if has_ambiguous_framing(&response) { Err(ProxyError::Malformed) } else { Ok(response) }
    }

    /// The client's answer, with as much of its body as has come. Nearly always that is the whole, and the instance is
    /// done with the request.
    async fn start_response(
        &self,
        response: Response<Incoming>,
        checkout: Checkout,
        upload: Option<Rc<RequestBodyState>>,
    ) -> Result<Response<ResponseSource>, (ProxyError, InstanceGuard)> {
        let is_reusable = !has_unexpected_body(&response);
        let (parts, incoming) = response.into_parts();
        let Checkout { connection, permit, instance_guard: lease } = checkout;
        let download = UpstreamBody {
            incoming,
            buffered: None,
            upstream_request: Some(UpstreamRequest {
                connection,
                permit,
                instance_guard: lease,
                request_body: upload,
                is_connection_reusable: is_reusable,
            }),
            worker: Rc::clone(self.worker),
            timer: Rc::clone(self.timer),
            read_timeout: self.config.limits.upstream_timeout,
            silent_since: None,
            is_close_delimited: false,
        };
        let mut response = Response::new(download.start().await?);
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        restore_original_status(&mut response);
        headers::rewrite_response_headers(response.headers_mut(), self.request_line.method == Method::HEAD);
        Ok(response)
    }

    /// Notes what a request that was not answered means for the instance.
    fn record_failure(&self, route: &Route, lease: &mut InstanceGuard, error: &ProxyError) {
        match error {
            // The client's doing, not the instance's.
            ProxyError::Rejected(_) | ProxyError::ClientAborted => return,
            ProxyError::Timeout => lease.record_timeout(),
            ProxyError::Io(_) | ProxyError::Http(_) | ProxyError::Malformed | ProxyError::Unavailable => {
                lease.record_failure();
            }
        }
        self.warn_no_response(route, lease.instance().address(), error);
    }

    fn warn_no_response(&self, route: &Route, instance: SocketAddr, cause: &ProxyError) {
        let Some(left_out) = NO_RESPONSE_LOG_LIMIT.allow(Instant::now()) else { return };
        let (id, left_out) = (self.client.request_id.as_str(), left_out.as_log_field());
        tracing::warn!(service = route.service, %instance, id, %cause, left_out, "no answer");
    }
}

/// A response whose status is what the service says that it would have been: for logs and metrics. Its client gets 200.
#[derive(Clone, Copy)]
pub(super) struct SentAs200;

fn restore_original_status<B>(response: &mut Response<B>) {
    let shown = response.headers_mut().remove(ORIGINAL_STATUS_HEADER);
    if let Some(status) = shown.and_then(|status| StatusCode::from_bytes(status.as_bytes()).ok()) {
        *response.status_mut() = status;
        response.extensions_mut().insert(SentAs200);
    }
}

/// Whether a head says how its body is framed.
pub(crate) fn has_framing_header(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
}

/// A request with these headers; `is_framed`: the client's said how its body is framed.
pub(crate) fn build_upstream_request(
    line: &RequestLine,
    mut headers: HeaderMap,
    body: RequestBody,
    is_framed: bool,
) -> Request<RequestBody> {
    match body.size_hint().exact() {
        None => drop(headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
        // hyper writes no length where there is no body.
        Some(0) if is_framed => drop(headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"))),
        Some(_) => {}
    }
    let mut request = Request::new(body);
    *request.method_mut() = line.method.clone();
    *request.uri_mut() = line.origin_form();
    *request.headers_mut() = headers;
    request
}

/// What a client is answered when no service answered it.
pub(super) fn map_upstream_error(error: &ProxyError) -> Rejection {
    match error {
        ProxyError::Rejected(cause) => *cause,
        ProxyError::Timeout => Rejection::GatewayTimeout,
        ProxyError::ClientAborted
        | ProxyError::Io(_)
        | ProxyError::Http(_)
        | ProxyError::Malformed
        | ProxyError::Unavailable => Rejection::ServiceUnavailable,
    }
}

/// Whether an answer is none that the gateway can hand on, or its framing can be read in two ways.
fn has_ambiguous_framing(response: &Response<Incoming>) -> bool {
    let headers = response.headers();
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_unknown = encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let framings = [TRANSFER_ENCODING, CONTENT_LENGTH].map(|name| headers.get_all(name).iter().count());
    // No upgrade was asked for.
    response.status().is_informational() || is_unknown || framings.iter().sum::<usize>() > 1
}

/// Whether the service may be sending a body where there can be none.
fn has_unexpected_body(response: &Response<Incoming>) -> bool {
    let headers = response.headers();
    let has_length = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    response.status() == StatusCode::NO_CONTENT && (has_length || headers.contains_key(TRANSFER_ENCODING))
}
