//! The way of a request to an instance of its service, and of the instance's answer back.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use stele_service::log_text::LineBudget;
use stele_service::status_200::STATUS_HEADER;
use stele_service::trace;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::RequestContext;
use crate::close::Input;
use crate::headers::{self, ForService};
use crate::refusal::Cause;
use crate::request::RequestLine;
use crate::request_body::{BodyLimits, RequestBody, Upload};
use crate::response_body::{Content, Download, Exchange};
use crate::table::Route;
use crate::upstreams::connection::{ProxyError, UpstreamConnection, connect};
use crate::upstreams::instance::{Instance, Lease};
use crate::upstreams::pool::Permit;

/// While an instance is away every request may log a line.
static NO_ANSWER: LineBudget = LineBudget::new(300);

/// An instance that a request may be sent to.
struct Checkout {
    connection: UpstreamConnection,
    permit: Permit,
    lease: Lease,
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
    ) -> Result<(Response<Content>, Input), (ProxyError, Input)> {
        let limits = &self.config.limits;
        let bounds = BodyLimits { bytes: limits.body, due: self.begun + limits.body_time };
        let is_framed = is_framed(&headers);
        let body = RequestBody::receive(body, bounds, self.alarm).await;
        let body = body.map_err(|fault| (fault.into(), Input::Unread))?;
        let upload = body.upload();
        let input = || Input::of_upload(upload.as_ref());
        let checkout = self.check_out(route).await.map_err(|error| (error, input()))?;
        let request = self.request(headers, body, is_framed, checkout.lease.instance());
        let response = self.exchange(route, request, checkout, upload.clone()).await;
        response.map(|response| (response, input())).map_err(|error| (error, input()))
    }

    /// A connection to an instance.
    async fn check_out(&self, route: &Route) -> Result<Checkout, ProxyError> {
        let due = Instant::now() + self.config.limits.upstream_time;
        let mut tried: Vec<Arc<Instance>> = Vec::new();
        while let Some(mut lease) = route.upstreams.lease(&tried) {
            let address = lease.instance().address();
            if !tried.is_empty() {
                self.worker.live.count.retried(&route.service);
            }
            let Some((kept, permit)) = self.worker.pool.checkout(address) else { break };
            let connected = match kept {
                Some(connection) => Ok(connection),
                None => connect(address, due, self.alarm).await,
            };
            let error = match connected {
                Ok(connection) => return Ok(Checkout { connection, permit, lease }),
                Err(error) => error,
            };
            self.warn(route, address, &error);
            let is_over = Instant::now() >= due;
            // A time that others have used up says nothing of this one.
            if !is_over || tried.is_empty() {
                lease.unreachable();
                self.worker.live.alarm.notify_one();
            }
            if is_over {
                return Err(ProxyError::Timeout);
            }
            tried.push(Arc::clone(lease.instance()));
        }
        Err(ProxyError::Unavailable)
    }

    /// The request that the service gets, framed afresh.
    fn request(
        &self,
        mut headers: HeaderMap,
        body: RequestBody,
        is_framed: bool,
        instance: &Instance,
    ) -> Request<RequestBody> {
        let (caller, host, hop) = (self.caller, instance.host(), self.worker.hop.as_ref());
        let scheme = self.guard.connection().scheme;
        headers::for_service(self.line, &mut headers, &ForService { caller, scheme, host, hop });
        for_instance(self.line, headers, body, is_framed)
    }

    /// Sends the request, and begins the client's answer.
    async fn exchange(
        &self,
        route: &Route,
        mut request: Request<RequestBody>,
        mut checkout: Checkout,
        upload: Option<Rc<Upload>>,
    ) -> Result<Response<Content>, ProxyError> {
        let span = trace::client(self.line.method.as_str(), checkout.lease.instance().address());
        headers::set_parent(&span, request.headers_mut());
        let asking = self.ask(request, &mut checkout.connection, upload.as_deref());
        let answered = if span.is_none() { asking.await } else { asking.instrument(span.clone()).await };
        let answered = match answered {
            Ok(response) => self.begin(response, checkout, upload).await,
            Err(error) => Err((error, checkout.lease)),
        };
        match answered {
            Ok(response) => {
                trace::answered(&span, response.status().as_u16());
                Ok(response)
            }
            Err((error, mut lease)) => {
                trace::failed(&span, "no_answer");
                self.note_failure(route, &mut lease, &error);
                Err(error)
            }
        }
    }

    /// The service's answer, whose body is yet to be read.
    async fn ask(
        &self,
        request: Request<RequestBody>,
        connection: &mut UpstreamConnection,
        upload: Option<&Upload>,
    ) -> Result<Response<Incoming>, ProxyError> {
        let patience = self.config.limits.upstream_time;
        let due = Instant::now() + patience;
        let late = |cx: &mut Context<'_>| {
            let mut alarm = self.alarm.borrow_mut();
            match upload {
                Some(upload) => upload.poll_late(cx, &mut alarm, patience),
                None => alarm.poll(cx, due).map(|()| ProxyError::Timeout),
            }
        };
        let response = connection.send(request, late).await;
        let fault = upload.and_then(Upload::fault);
        let response = response.map_err(|error| fault.map_or(error, ProxyError::from))?;
        if is_ambiguous(&response) { Err(ProxyError::Malformed) } else { Ok(response) }
    }

    /// The client's answer, with as much of its body as has come. Nearly always that is the whole, and the instance is
    /// done with the request.
    async fn begin(
        &self,
        response: Response<Incoming>,
        checkout: Checkout,
        upload: Option<Rc<Upload>>,
    ) -> Result<Response<Content>, (ProxyError, Lease)> {
        let is_reusable = !has_stray_body(&response);
        let (parts, incoming) = response.into_parts();
        let Checkout { connection, permit, lease } = checkout;
        let download = Download {
            incoming,
            next: None,
            exchange: Some(Exchange { connection, permit, lease, upload, is_reusable }),
            worker: Rc::clone(self.worker),
            alarm: Rc::clone(self.alarm),
            patience: self.config.limits.upstream_time,
            silent: None,
            ends_with_connection: false,
        };
        let mut response = Response::new(download.begin().await?);
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        restore_status(&mut response);
        headers::for_client(response.headers_mut(), self.line.method == Method::HEAD);
        Ok(response)
    }

    /// Notes what a request that was not answered means for the instance.
    fn note_failure(&self, route: &Route, lease: &mut Lease, error: &ProxyError) {
        match error {
            // The client's doing, not the instance's.
            ProxyError::Refused(_) | ProxyError::ClientAborted => return,
            ProxyError::Timeout => lease.late(),
            ProxyError::Io(_) | ProxyError::Http(_) | ProxyError::Malformed | ProxyError::Unavailable => lease.failed(),
        }
        self.warn(route, lease.instance().address(), error);
    }

    fn warn(&self, route: &Route, instance: SocketAddr, cause: &ProxyError) {
        let Some(left_out) = NO_ANSWER.take(Instant::now()) else { return };
        let (id, left_out) = (self.caller.request_id.as_str(), left_out.field());
        tracing::warn!(service = route.service, %instance, id, %cause, left_out, "no answer");
    }
}

/// A response whose status is what the service says that it would have been: for logs and metrics. Its client gets 200.
#[derive(Clone, Copy)]
pub(super) struct Restored;

fn restore_status<B>(response: &mut Response<B>) {
    let shown = response.headers_mut().remove(STATUS_HEADER);
    if let Some(status) = shown.and_then(|status| StatusCode::from_bytes(status.as_bytes()).ok()) {
        *response.status_mut() = status;
        response.extensions_mut().insert(Restored);
    }
}

/// Whether a head says how its body is framed.
pub(crate) fn is_framed(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING)
}

/// A request with these headers; `is_framed`: the client's said how its body is framed.
pub(crate) fn for_instance(
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
pub(super) fn rejection(error: &ProxyError) -> Cause {
    match error {
        ProxyError::Refused(cause) => *cause,
        ProxyError::Timeout => Cause::SlowService,
        ProxyError::ClientAborted
        | ProxyError::Io(_)
        | ProxyError::Http(_)
        | ProxyError::Malformed
        | ProxyError::Unavailable => Cause::Unavailable,
    }
}

/// Whether an answer is none that the gateway can hand on, or its framing can be read in two ways.
fn is_ambiguous(response: &Response<Incoming>) -> bool {
    let headers = response.headers();
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_unknown = encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let framings = [TRANSFER_ENCODING, CONTENT_LENGTH].map(|name| headers.get_all(name).iter().count());
    // No upgrade was asked for.
    response.status().is_informational() || is_unknown || framings.iter().sum::<usize>() > 1
}

/// Whether the service may be sending a body where there can be none.
fn has_stray_body(response: &Response<Incoming>) -> bool {
    let headers = response.headers();
    let has_length = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    response.status() == StatusCode::NO_CONTENT && (has_length || headers.contains_key(TRANSFER_ENCODING))
}
