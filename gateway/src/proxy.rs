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

use crate::access::Entry;
use crate::answer::Answer;
use crate::close::Input;
use crate::config::Config;
use crate::connection::{EntryPoint, RequestGuard, Scheme, SharedAlarm};
use crate::headers::{Caller, Fields, REQUEST_ID};
use crate::live::Live;
use crate::refusal::{self, Cause};
use crate::request::{self, RequestLine};
use crate::request_body::{Upload, discard};
use crate::response_body::{Content, ResponseBody};
use crate::table::Route;
use crate::upstreams::connection::ProxyError;
use crate::upstreams::pool::ConnectionPool;
use crate::{docs, health, index, redirect};

#[cfg(any(test, fuzzing))]
pub(crate) use forward::{for_instance, is_framed};

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

impl Input {
    fn of(incoming: &Incoming) -> Self {
        if incoming.is_end_stream() { Self::Read } else { Self::Unread }
    }

    fn of_upload(upload: Option<&Rc<Upload>>) -> Self {
        if upload.is_none_or(|upload| upload.is_over()) { Self::Read } else { Self::Unread }
    }
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
    let config = worker.live.config();
    let mut line = RequestLine::new(method, uri, version);
    let route = line.route(&config.table);
    let caller = Caller::of(guard.connection().peer, &headers, &config.trust);
    // Health checks are asked every second: nothing to see.
    let trace = match drain::is_health(line.path()) {
        true => Span::none(),
        false => trace::server(line.method.as_str(), line.path(), &Fields(&headers)),
    };
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
            Err((error, input)) => Outcome::Local(self.refuse(route, forward::rejection(&error)), input),
        }
    }

    /// Which service a request is for, or what it is answered here.
    async fn judge(&self, headers: &HeaderMap, body: &Incoming, input: Input) -> Destination<'_> {
        if request::is_malformed(self.line, headers) {
            let refuse = |route| self.refuse(route, Cause::BadRequest);
            let answer = self.route.map_or_else(|| refusal::without_route(Cause::BadRequest), refuse);
            return Destination::Here(answer, Input::Unread);
        }
        if let EntryPoint::Redirect(port) = self.guard.connection().entry_point {
            return Destination::Here(redirect::answer(self.line, headers, port), input);
        }
        if let Some(answer) = health::answer(self.line, &self.worker.live) {
            return Destination::Here(answer, input);
        }
        let Some(route) = self.route else {
            let answer = match index::answer(self.line, headers, self.config) {
                Some(answer) => Some(answer),
                None => docs::answer(self.line, self.config).await,
            };
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
        if self.is_answered_with_200(response) {
            *response.status_mut() = StatusCode::OK;
        }
        let is_unauthorized = response.status() == StatusCode::UNAUTHORIZED;
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, self.caller.request_id_value());
        if is_unauthorized {
            headers.entry(WWW_AUTHENTICATE).or_insert(HeaderValue::from_static(BEARER_CHALLENGE));
        }
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

    /// Whether this is a failure of a dialect whose failures have status 200, as the service or the gateway is set.
    fn is_answered_with_200(&self, response: &Response<Content>) -> bool {
        let status = response.status();
        let is_covered = self.route.is_some_and(|route| self.config.status_200.covers(&route.service));
        let is_failure = status.is_client_error() || status.is_server_error();
        is_failure && (is_covered || response.extensions().get::<forward::Restored>().is_some())
    }

    /// Whether the client learns by the end of its connection alone that the answer ends.
    fn ends_with_connection(&self, content: &Content) -> bool {
        let is_open = matches!(content, Content::Streamed(download) if download.size_hint().exact().is_none());
        is_open && self.line.version == Version::HTTP_10
    }

    /// Whether the client may send further requests after this answer, as far as the gateway decides it.
    fn keeps_alive(&self, input: Input) -> bool {
        // The rest of a body that is not read is not worth waiting for.
        self.stays_open() && !self.is_last && input == Input::Read
    }

    /// Whether the connection may stay open, for all that is known of the gateway.
    fn stays_open(&self) -> bool {
        let live = &self.worker.live;
        // Drained again: what came before the end was announced may be answered after it.
        !self.is_draining && !live.drain.is_draining() && !live.held.is_crowded()
    }
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
