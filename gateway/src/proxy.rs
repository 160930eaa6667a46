//! One request: found its route, checked, passed on, answered, logged.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::{BodyStream, BoxBody, None as NoBody, SizedStream};
use actix_web::http::header::{HeaderValue, UPGRADE};
use actix_web::http::uri::PathAndQuery;
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use awc::error::{ConnectError, SendRequestError};
use awc::{Client, ClientResponse};
use serde_json::json;
use stele_web::{drain, trace};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span};

use crate::access::Entry;
use crate::config::Config;
use crate::connection::{Answer, Turn};
use crate::headers::{self, Caller};
use crate::live::{Gateway, Live};
use crate::refusal::{self, Cause};
use crate::table::Route;
use crate::upload::{Framing, Upload};
use crate::upstreams::instance::{Instance, Lease};
use crate::{docs, download, path};

/// What a worker needs to answer requests.
pub(crate) struct Gate {
    pub(crate) live: Arc<Live>,
    pub(crate) hop: Option<HeaderValue>,
    pub(crate) client: Client,
}

/// A request that is to be passed on.
struct Passing<'a> {
    request: &'a HttpRequest,
    caller: &'a Caller,
    config: &'a Config,
    route: &'a Route,
    framing: Framing,
    upload: &'a Upload,
}

/// Answers every request there is.
pub(crate) async fn handle(request: HttpRequest, payload: web::Payload, gate: web::Data<Gate>) -> HttpResponse {
    let config = gate.live.config();
    let caller = Caller::of(&request, &config.trust);
    // Whoever looks after the gateway asks every second: nothing to see.
    let trace = match drain::is_health(request.path_as_sent()) {
        true => Span::none(),
        false => trace::server(request.method(), request.path_as_sent(), request.headers()),
    };
    // No span for the log: the two lines that a request may have name it themselves, and a span costs as much as all of
    // them together.
    let answering = answer(request, payload, gate, &config, caller, trace.clone());
    if trace.is_none() { answering.await } else { answering.instrument(trace).await }
}

async fn answer(
    request: HttpRequest,
    payload: web::Payload,
    gate: web::Data<Gate>,
    config: &Config,
    caller: Caller,
    trace: Span,
) -> HttpResponse {
    let route = config.table.find(request.path_as_sent());
    let mut entry = Entry::new(&request, &caller, route, trace.clone(), Arc::clone(&gate.live));
    let health = gate.health(&request);
    let counted = health.is_none() && gate.live.drain.admit();
    let own = match health {
        None if route.is_none() => docs::answer(&request, config, &gate.client).await,
        health => health,
    };
    let mut answer = match own {
        // The server would read a body that nobody asked for to its end, which need not come.
        Some(own) if Framing::of(&request).has_body() => refusal::closing(own, payload),
        Some(own) => own,
        None => gate.answer(&request, payload, &caller, config, route).await,
    };
    if route.is_some() {
        config.cors.mark(request.headers(), answer.headers_mut());
    }
    // Asked anew: what came before the end was announced may be answered after it.
    if counted || gate.live.drain.is_draining() || gate.live.held.is_crowded() {
        drain::close(&mut answer);
    }
    entry.status = answer.status().as_u16();
    trace::answered(&trace, entry.status);
    if let Some(route) = route {
        trace::named(&trace, request.method(), &route.service);
    }
    answer.headers_mut().insert(headers::REQUEST_ID, caller.id_header);
    in_turn(&request, answer)
}

/// The client's next request waits until this answer is made, and is not taken if this one is the last.
fn in_turn(request: &HttpRequest, answer: HttpResponse) -> HttpResponse {
    let Some(turn) = request.conn_data::<Rc<Turn>>().map(Rc::clone) else { return answer };
    let kept = request.head().connection_type() == ConnectionType::KeepAlive
        && answer.head().connection_type() != ConnectionType::Close;
    answer.map_body(|_, body| BoxBody::new(Answer::new(body, turn, !kept)))
}

/// The path before anything decodes it.
pub(crate) trait PathAsSent {
    fn path_as_sent(&self) -> &str;
}

impl PathAsSent for HttpRequest {
    fn path_as_sent(&self) -> &str {
        self.uri().path()
    }
}

impl Gate {
    fn health(&self, request: &HttpRequest) -> Option<HttpResponse> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        match request.path_as_sent() {
            "/healthz" => Some(HttpResponse::Ok().body("ok")),
            "/readyz" => {
                let gateway = Gateway(Arc::clone(&self.live));
                let (ready, missing) = (gateway.is_ready(), gateway.missing());
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                Some(refusal::json(status, json!({"missing": missing, "ready": ready}).to_string()))
            }
            _ => None,
        }
    }

    async fn answer(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        caller: &Caller,
        config: &Config,
        route: Option<&Route>,
    ) -> HttpResponse {
        let framing = Framing::of(request);
        let upload = Upload::new(payload, framing, config.limits.body, config.limits.body_time);
        let answer = match route {
            None => refusal::no_route(),
            Some(route) => {
                let passing = Passing { request, caller, config, route, framing, upload: &upload };
                match self.pass(&passing).await {
                    Ok(answer) => answer,
                    Err(cause) => {
                        self.live.count.refused(&route.service, cause);
                        let mut answer = route.refusals.answer(cause);
                        if matches!(cause, Cause::BadRequest | Cause::HeadersTooLarge) {
                            drain::close(&mut answer);
                        }
                        answer
                    }
                }
            }
        };
        if upload.is_done() { answer } else { refusal::closing(answer, upload) }
    }

    async fn pass(&self, passing: &Passing<'_>) -> Result<HttpResponse, Cause> {
        passing.check()?;
        if let Some(preflight) = passing.config.cors.preflight(passing.request) {
            return Ok(preflight);
        }
        let (answer, lease) = self.forward(passing).await?;
        Ok(download::pass_on(passing.request.method(), answer, lease, passing.config.limits.upstream_time))
    }

    async fn forward(&self, passing: &Passing<'_>) -> Result<(ClientResponse, Lease), Cause> {
        let deadline = Instant::now() + passing.config.limits.upstream_time;
        let mut tried = Vec::new();
        while let Some(mut lease) = passing.route.upstreams.lease(&tried) {
            if !tried.is_empty() {
                self.live.count.retried(&passing.route.service);
            }
            match timeout_at(deadline, self.send(passing, lease.instance())).await {
                Ok(outcome) => {
                    if let Some(answered) = self.judge(passing, &mut lease, outcome)? {
                        return Ok((answered, lease));
                    }
                }
                Err(_) if !passing.upload.is_done() => return Err(Cause::SlowRequest),
                Err(_) => {
                    lease.failed();
                    passing.warn(&lease, &"no answer in time");
                    return Err(Cause::SlowService);
                }
            }
            tried.push(Arc::clone(lease.instance()));
        }
        Err(Cause::Unavailable)
    }

    /// What came of one attempt: an answer, nothing but the leave to try another instance, or the end.
    ///
    /// Another instance is asked only if this one cannot have seen the request: it could not even be connected to. A
    /// connection that was kept and turns out to be closed proves nothing, for the instance may have acted before it
    /// died, and no request is known here to be harmless when it is done twice.
    fn judge(
        &self,
        passing: &Passing<'_>,
        lease: &mut Lease,
        outcome: Result<ClientResponse, SendRequestError>,
    ) -> Result<Option<ClientResponse>, Cause> {
        let error = match outcome {
            // Nobody asked to switch protocols; there is nothing sensible to do with it.
            Ok(answer) if answer.status().is_informational() => {
                lease.failed();
                passing.warn(lease, &"answered 1xx");
                return Err(Cause::Unavailable);
            }
            Ok(answer) => {
                lease.succeeded();
                return Ok(Some(answer));
            }
            Err(error) => error,
        };
        // The client's fault, not the instance's.
        if let Some(cause) = passing.upload.refusal() {
            return Err(cause);
        }
        passing.warn(lease, &error);
        if !never_connected(&error) {
            lease.failed();
            return Err(Cause::Unavailable);
        }
        lease.unreachable();
        self.live.alarm.notify_one();
        if passing.upload.is_untouched() { Ok(None) } else { Err(Cause::Unavailable) }
    }

    async fn send(&self, passing: &Passing<'_>, instance: &Instance) -> Result<ClientResponse, SendRequestError> {
        let Passing { request, caller, .. } = *passing;
        let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = instance.uri(target).map_err(SendRequestError::Http)?;
        let mut ours = self.client.request(request.method().clone(), uri).address(instance.address()).no_decompress();
        *ours.headers_mut() = headers::for_service(request, caller, instance.host(), self.hop.as_ref());
        let span = trace::client(request.method(), instance.address());
        trace::pass_on(&span, ours.headers_mut());
        let upload = passing.upload.clone();
        let outcome = match passing.framing {
            Framing::None => ours.send_body(NoBody::new()),
            Framing::Sized(0) => ours.send(),
            Framing::Sized(length) => ours.send_body(SizedStream::new(length, upload)),
            Framing::Chunked => ours.send_body(BodyStream::new(upload)),
        }
        .instrument(span.clone())
        .await;
        match &outcome {
            Ok(answer) => trace::answered(&span, answer.status().as_u16()),
            Err(_) => trace::failed(&span, "no_answer"),
        }
        outcome
    }
}

impl Passing<'_> {
    /// What can be judged before a service is asked.
    fn check(&self) -> Result<(), Cause> {
        let request = self.request;
        if !path::is_plain(request.path_as_sent()) {
            return Err(Cause::NotFound);
        }
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Err(Cause::Method);
        }
        if headers::too_large(request) {
            return Err(Cause::HeadersTooLarge);
        }
        if !headers::names_a_host(request) {
            return Err(Cause::BadRequest);
        }
        // The server takes all that follows such a head for its body, whatever length was told.
        if request.headers().get_all(UPGRADE).any(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket")) {
            return Err(Cause::BadRequest);
        }
        match self.framing {
            Framing::Sized(length) if length > self.config.limits.body => Err(Cause::TooLarge),
            Framing::None | Framing::Sized(_) | Framing::Chunked => Ok(()),
        }
    }

    fn warn(&self, lease: &Lease, cause: &dyn std::fmt::Display) {
        let (instance, id) = (lease.instance().address(), self.caller.request_id.as_str());
        tracing::warn!(service = self.route.service, %instance, id, %cause, "no answer");
    }
}

/// Whether not a byte of the request can have reached the instance.
pub(crate) fn never_connected(error: &SendRequestError) -> bool {
    // `Disconnected` is what a connection that was used and then lost is called.
    matches!(error, SendRequestError::Connect(cause) if !matches!(cause, ConnectError::Disconnected))
}
