//! One request: found its route, checked, passed on, answered, logged.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, ORIGIN, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use stele_service::log_text::LineBudget;
use stele_service::{drain, trace};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use crate::access::Entry;
use crate::answer::Answer;
use crate::config::Config;
use crate::connection::{EntryPoint, RequestGuard, Scheme, SharedAlarm};
use crate::headers::{self, Caller, Fields, ForService, REQUEST_ID};
use crate::live::Live;
use crate::refusal::{self, Cause};
use crate::request::{self, RequestLine};
use crate::request_body::{BodyLimits, RequestBody, Upload, discard};
use crate::response_body::{Content, Download, Exchange, ResponseBody};
use crate::table::Route;
use crate::upstreams::connection::{ProxyError, UpstreamConnection, connect};
use crate::upstreams::instance::{Instance, Lease};
use crate::upstreams::pool::{ConnectionPool, Permit};
use crate::{docs, health, redirect};

/// What a worker needs to answer requests.
pub(crate) struct WorkerState {
    pub(crate) live: Arc<Live>,
    pub(crate) hop: Option<HeaderValue>,
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
    line: &'a RequestLine,
    guard: &'a RequestGuard,
    alarm: &'a SharedAlarm,
    caller: &'a Caller,
    route: Option<&'a Route>,
    trace: &'a Span,
    origin: Option<HeaderValue>,
    begun: Instant,
    /// Received while draining: answered with `Connection: close`.
    is_draining: bool,
    /// What follows the request on its connection may be no request.
    is_last: bool,
}

/// While an instance is away every request may log a line.
static NO_ANSWER: LineBudget = LineBudget::new(300);

/// What becomes of a request.
enum Outcome {
    Proxied(Response<Content>, Input),
    Local(Answer, Input),
    ClientAborted,
}

/// Who answers a request.
enum Destination<'a> {
    Service(&'a Route),
    Here(Answer, Input),
}

/// What is known of the request's body once it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// All of it was read.
    Over,
    /// The client may be sending more.
    Unread,
}

impl Input {
    fn of(incoming: &Incoming) -> Self {
        if incoming.is_end_stream() { Self::Over } else { Self::Unread }
    }

    fn of_upload(upload: Option<&Rc<Upload>>) -> Self {
        if upload.is_none_or(|upload| upload.is_over()) { Self::Over } else { Self::Unread }
    }
}

/// An instance that a request may be sent to.
struct Checkout {
    connection: UpstreamConnection,
    permit: Permit,
    lease: Lease,
}

/// Answers every request there is.
pub(crate) async fn handle(
    worker: Rc<WorkerState>,
    mut guard: RequestGuard,
    alarm: SharedAlarm,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, ClientAborted> {
    let (parts, body) = request.into_parts();
    let Parts { method, uri, version, headers, .. } = parts;
    let line = RequestLine { method, uri, version };
    let config = worker.live.config();
    let caller = Caller::of(guard.connection().peer, &headers, &config.trust);
    // Health checks are asked every second: nothing to see.
    let trace = match drain::is_health(line.path()) {
        true => Span::none(),
        false => trace::server(line.method.as_str(), line.path(), &Fields(&headers)),
    };
    let route = config.table.find(line.path());
    let entry = Entry::new(&line, &caller, route, &trace, &worker.live);
    let context = RequestContext {
        worker: &worker,
        config: &config,
        line: &line,
        guard: &guard,
        alarm: &alarm,
        caller: &caller,
        route,
        trace: &trace,
        origin: headers.get(ORIGIN).cloned(),
        begun: entry.started(),
        is_draining: !drain::is_health(line.path()) && worker.live.drain.admit(),
        is_last: line.is_last(&headers),
    };
    // No span for the log: the two lines that a request may have name it themselves, and a span costs as much as all of
    // them together.
    let answering = context.answer(entry, headers, body);
    let response = if trace.is_none() { answering.await? } else { answering.instrument(trace.clone()).await? };
    guard.answer();
    Ok(response.map(|content| ResponseBody { content, guard }))
}

impl RequestContext<'_> {
    async fn answer(
        &self,
        entry: Entry<'_>,
        headers: HeaderMap,
        body: Incoming,
    ) -> Result<Response<Content>, ClientAborted> {
        let (mut response, input) = match self.respond(headers, body).await {
            Outcome::Proxied(response, input) => (response, input),
            Outcome::Local(answer, input) => (local(answer, &self.line.method), input),
            Outcome::ClientAborted => return Err(ClientAborted),
        };
        self.log(entry, response.status());
        self.finish(&mut response, input);
        Ok(response)
    }

    async fn respond(&self, headers: HeaderMap, body: Incoming) -> Outcome {
        let input = Input::of(&body);
        let route = match self.judge(&headers, &body, input).await {
            Destination::Service(route) => route,
            Destination::Here(answer, input) => {
                if self.line.version == Version::HTTP_2 && input == Input::Unread {
                    actix_rt::spawn(discard(body));
                }
                return Outcome::Local(answer, input);
            }
        };
        match self.forward(route, headers, body).await {
            Ok((response, input)) => Outcome::Proxied(response, input),
            Err((ProxyError::ClientAborted, _)) => Outcome::ClientAborted,
            Err((error, input)) => Outcome::Local(self.refuse(route, rejection(&error)), input),
        }
    }

    /// Which service a request is for, or what it is answered here.
    async fn judge(&self, headers: &HeaderMap, body: &Incoming, input: Input) -> Destination<'_> {
        if request::is_malformed(self.line, headers) {
            let answer = self.route.map_or_else(refusal::malformed, |route| self.refuse(route, Cause::BadRequest));
            return Destination::Here(answer, Input::Unread);
        }
        if let EntryPoint::Redirect(port) = self.guard.connection().entry_point {
            return Destination::Here(redirect::answer(self.line, headers, port), input);
        }
        if let Some(answer) = health::answer(self.line, &self.worker.live) {
            return Destination::Here(answer, input);
        }
        let Some(route) = self.route else {
            let answer = docs::answer(self.line, self.config).await;
            return Destination::Here(answer.unwrap_or_else(refusal::no_route), input);
        };
        if let Err(cause) = request::check(self.line, headers, body.size_hint().exact(), self.config.limits.body) {
            let is_framed = !matches!(cause, Cause::BadRequest | Cause::HeadersTooLarge);
            return Destination::Here(self.refuse(route, cause), if is_framed { input } else { Input::Unread });
        }
        if let Some(answer) = self.config.cors.preflight(&self.line.method, headers) {
            return Destination::Here(answer, input);
        }
        Destination::Service(route)
    }

    fn refuse(&self, route: &Route, cause: Cause) -> Answer {
        self.worker.live.count.refused(&route.service, cause);
        route.refusals.answer(cause)
    }

    /// Logs the request, now that it is known how it is answered.
    fn log(&self, mut entry: Entry<'_>, status: StatusCode) {
        entry.status = status.as_u16();
        trace::answered(self.trace, entry.status);
        if let Some(route) = self.route {
            trace::named(self.trace, self.line.method.as_str(), &route.service);
        }
    }

    /// Adds what the gateway says with every answer, and closes the connection if it must end with this one.
    fn finish(&self, response: &mut Response<Content>, input: Input) {
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, self.caller.request_id_value());
        if self.route.is_some() {
            self.config.cors.mark(self.origin.as_ref(), headers);
        }
        if let Some(hsts) = self.config.hsts.as_ref().filter(|_| self.guard.connection().scheme == Scheme::Https) {
            headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        if self.line.version == Version::HTTP_2 {
            // A stream ends alone.
            if !self.stays_open() {
                self.guard.connection().retire();
            }
            return;
        }
        let ends_with_connection = self.ends_with_connection(response.body());
        if ends_with_connection || !self.keeps_alive(input) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            // By which hyper knows that an HTTP/1.0 client's wish to keep the connection is not met.
            *response.version_mut() = self.line.version;
        }
        if let Content::Streamed(download) = response.body_mut() {
            download.ends_with_connection = ends_with_connection;
        }
        if input == Input::Unread {
            self.guard.connection().leave_unread();
        }
    }

    /// Whether the client learns by the end of its connection alone that the answer ends.
    fn ends_with_connection(&self, content: &Content) -> bool {
        let is_open = matches!(content, Content::Streamed(download) if download.size_hint().exact().is_none());
        is_open && self.line.version == Version::HTTP_10
    }

    /// Whether the client may send further requests after this answer, as far as the gateway decides it.
    fn keeps_alive(&self, input: Input) -> bool {
        // The rest of a body that is not read is not worth waiting for.
        self.stays_open() && !self.is_last && input == Input::Over
    }

    /// Whether the connection may stay open, for all that is known of the gateway.
    fn stays_open(&self) -> bool {
        let live = &self.worker.live;
        // Drained again: what came before the end was announced may be answered after it.
        !self.is_draining && !live.drain.is_draining() && !live.held.is_crowded()
    }

    /// Asks an instance.
    ///
    /// Another instance is asked only if this one cannot have seen the request: it could not even be connected to. A
    /// connection that was kept and turns out to be closed proves nothing, for the instance may have acted before it
    /// died, and no request is known here to be harmless when it is done twice.
    async fn forward(
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
fn rejection(error: &ProxyError) -> Cause {
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

/// An answer of the gateway's own; to HEAD, without its body.
fn local(answer: Answer, method: &Method) -> Response<Content> {
    let Answer { status, headers, body } = answer;
    let is_head = *method == Method::HEAD;
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Content::Whole((!is_head).then_some(body)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if is_head && status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
    response
}
