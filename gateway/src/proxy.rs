//! One request: found its route, checked, passed on, answered, logged.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{HeaderValue, ORIGIN};
use actix_web::http::{Method, StatusCode};
use serde_json::json;
use stele_service::headers::Headers as _;
use stele_service::log_text::LineBudget;
use stele_service::{drain, trace};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use crate::access::Entry;
use crate::answer::{Answer, Length, Manner};
use crate::client::Client;
use crate::config::Config;
use crate::download::Download;
use crate::exchange::{Exchange, Failed, connect};
use crate::headers::{self, Caller, ForService};
use crate::live::{Gateway, Live};
use crate::pipe::Pipe;
use crate::refusal::{self, Cause};
use crate::table::Route;
use crate::upload::Upload;
use crate::upstreams::instance::{Instance, Lease};
use crate::upstreams::links::{Links, Loan};
use crate::wire::Version;
use crate::wire::body::{Body, Coding};
use crate::wire::fields::Kind;
use crate::wire::request::{Framing, Request};
use crate::wire::response::Response;
use crate::{docs, path};

/// What a worker needs to answer requests.
pub(crate) struct Gate {
    pub(crate) live: Arc<Live>,
    pub(crate) hop: Option<HeaderValue>,
    pub(crate) links: Links,
}

/// How a connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// With the client's next request.
    Keep,
    /// It is closed; `unread`: the client may be saying more.
    Close { unread: bool },
    /// It is cut, for what the client was told is not the whole.
    Cut,
}

/// A request, and all that is known of it.
struct Turn<'a> {
    gate: &'a Gate,
    config: &'a Config,
    request: &'a Request<'a>,
    caller: &'a Caller,
    route: Option<&'a Route>,
    trace: &'a Span,
    begun: Instant,
    /// It came although the gateway is going to stop.
    counted: bool,
}

/// While an instance is away every request may log a line.
static NO_ANSWER: LineBudget = LineBudget::new(300);

/// An answer that a service has begun.
struct Passed<'a> {
    answer: Begun,
    pipe: Pipe,
    loan: Loan<'a>,
    lease: Lease,
    patience: Duration,
    gate: &'a Gate,
}

/// What its head says.
struct Begun {
    status: StatusCode,
    body: Body,
    coding: Coding,
    /// Whether the client learns by the end of its connection alone that the answer ends.
    until_close: bool,
    /// Whether the connection to the service may be used again, and the client's.
    reusable: bool,
    keeps: bool,
}

/// What becomes of a request.
enum Outcome<'a> {
    Passed(Passed<'a>),
    Own { answer: Answer, last: bool },
    Gone,
}

/// Answers every request there is: the one of this head, whose body `client` is sending. `out` is room to write in.
pub(crate) async fn answer(gate: &Gate, client: &mut Client, head: &[u8], out: &mut Vec<u8>) -> Then {
    out.clear();
    let request = match Request::parse(head) {
        Ok(request) => request,
        Err(fault) => {
            // Who is gone need not be told.
            let _ = client.tell(fault.answer()).await;
            return Then::Close { unread: true };
        }
    };
    let config = gate.live.config();
    let caller = Caller::of(client.peer, &request.fields, &config.trust);
    // Whoever looks after the gateway asks every second: nothing to see.
    let trace = match drain::is_health(request.path()) {
        true => Span::none(),
        false => trace::server(&request.method, request.path(), &request.fields),
    };
    let route = config.table.find(request.path());
    let entry = Entry::new(&request, &caller, route, &trace, &gate.live);
    let begun = entry.started();
    let (request, caller) = (&request, &caller);
    let turn = Turn { gate, config: &config, request, caller, route, trace: &trace, begun, counted: false };
    // No span for the log: the two lines that a request may have name it themselves, and a span costs as much as all of
    // them together.
    let answering = turn.take(entry, client, out);
    if trace.is_none() { answering.await } else { answering.instrument(trace.clone()).await }
}

impl Turn<'_> {
    async fn take(mut self, entry: Entry<'_>, client: &mut Client, out: &mut Vec<u8>) -> Then {
        let Self { gate, config, request, route, .. } = self;
        let health = gate.health(request);
        self.counted = health.is_none() && gate.live.drain.admit();
        let limits = &config.limits;
        let mut upload = Upload::new(request.framing, limits.body, self.begun, limits.body_time);
        let own = match health {
            None if route.is_none() => docs::answer(request, config).await,
            health => health,
        };
        let outcome = match (own, route) {
            (Some(answer), _) => Outcome::Own { answer, last: false },
            (None, Some(route)) => self.pass(route, client, &mut upload, out).await,
            (None, None) => Outcome::Own { answer: refusal::no_route(), last: false },
        };
        match outcome {
            Outcome::Gone => Then::Cut,
            Outcome::Own { answer, last } => {
                let keeps = !last && self.keeps(client, &upload);
                out.clear();
                answer.write(request.method == Method::HEAD, &self.manner(keeps), out);
                self.log(entry, answer.status);
                let told = client.tell(out).await;
                match told {
                    Ok(()) if keeps => Then::Keep,
                    _ => Then::Close { unread: last || !upload.is_over() },
                }
            }
            Outcome::Passed(passed) => {
                self.log(entry, passed.answer.status);
                passed.run(client, out, !upload.is_over()).await
            }
        }
    }

    /// Logs the request, now that it is known how it is answered.
    fn log(&self, mut entry: Entry<'_>, status: StatusCode) {
        entry.status = status.as_u16();
        trace::answered(self.trace, entry.status);
        if let Some(route) = self.route {
            trace::named(self.trace, &self.request.method, &route.service);
        }
    }

    /// Whether the client may send further requests after this answer.
    fn keeps(&self, client: &mut Client, upload: &Upload) -> bool {
        let live = &self.gate.live;
        let more = !client.has_ended() || !client.come().is_empty();
        // Asked anew: what came before the end was announced may be answered after it.
        let stays = !self.counted && !live.drain.is_draining() && !live.held.is_crowded();
        // The rest of a body that nobody reads is not worth waiting for.
        self.request.keeps() && more && stays && upload.is_over()
    }

    fn manner(&self, keeps: bool) -> Manner<'_> {
        let origin = || self.request.fields.first(ORIGIN.as_str());
        let cors = self.route.map(|_| (&self.config.cors, origin()));
        Manner { version: self.request.version, keeps, request_id: self.caller.request_id.as_str(), cors }
    }

    async fn pass(&self, route: &Route, client: &mut Client, upload: &mut Upload, out: &mut Vec<u8>) -> Outcome<'_> {
        let refused = |cause| {
            self.gate.live.count.refused(&route.service, cause);
            let last = matches!(cause, Cause::BadRequest | Cause::HeadersTooLarge);
            Outcome::Own { answer: route.refusals.answer(cause), last }
        };
        if let Err(cause) = check(self.request, self.config.limits.body) {
            return refused(cause);
        }
        if let Some(answer) = self.config.cors.preflight(self.request) {
            return Outcome::Own { answer, last: false };
        }
        match self.forward(route, client, upload, out).await {
            Ok(passed) => Outcome::Passed(passed),
            Err(Some(cause)) => refused(cause),
            Err(None) => Outcome::Gone,
        }
    }

    /// Asks an instance; `None`: the client went.
    ///
    /// Another instance is asked only if this one cannot have seen the request: it could not even be connected to. A
    /// connection that was kept and turns out to be closed proves nothing, for the instance may have acted before it
    /// died, and no request is known here to be harmless when it is done twice.
    async fn forward(
        &self,
        route: &Route,
        client: &mut Client,
        upload: &mut Upload,
        out: &mut Vec<u8>,
    ) -> Result<Passed<'_>, Option<Cause>> {
        if self.request.waits() && client.tell(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
            return Err(None);
        }
        let due = Instant::now() + self.config.limits.upstream_time;
        let mut tried = Vec::new();
        while let Some(mut lease) = route.upstreams.lease(&tried) {
            let instance = Arc::clone(lease.instance());
            if !tried.is_empty() {
                self.gate.live.count.retried(&route.service);
            }
            let (kept, loan) = self.gate.links.take(instance.address());
            let connected = match kept {
                Some(pipe) => Ok(pipe),
                None => connect(client, instance.address(), due).await,
            };
            let mut pipe = match connected {
                Ok(pipe) => pipe,
                Err(Failed::Gone) => return Err(None),
                Err(failed) => {
                    self.warn(route, &instance, &failed);
                    let is_over = Instant::now() >= due;
                    // A time that others have used up says nothing of this one.
                    if !is_over || tried.is_empty() {
                        lease.unreachable();
                        self.gate.live.alarm.notify_one();
                    }
                    if is_over {
                        return Err(Some(Cause::SlowService));
                    }
                    tried.push(instance);
                    continue;
                }
            };
            let answer = self.ask(&instance, client, &mut pipe, upload, out).await;
            let answer = answer.map_err(|failed| self.judge(route, &mut lease, &failed))?;
            lease.succeeded();
            let patience = self.config.limits.upstream_time;
            return Ok(Passed { answer, pipe, loan, lease, patience, gate: self.gate });
        }
        Err(Some(Cause::Unavailable))
    }

    /// Asks over this connection, and writes the head of the client's answer.
    async fn ask(
        &self,
        instance: &Instance,
        client: &mut Client,
        pipe: &mut Pipe,
        upload: &mut Upload,
        out: &mut Vec<u8>,
    ) -> Result<Begun, Failed> {
        let request = self.request;
        let span = trace::client(&request.method, instance.address());
        let (caller, host, hop) = (self.caller, instance.host(), self.gate.hop.as_ref());
        out.clear();
        headers::for_service(request, &ForService { caller, host, hop, span: &span }, out);
        let mut exchange = Exchange::new(client, pipe, upload, self.config.limits.upstream_time);
        let answered = exchange.run(&request.method, out, |exchange, response, out| {
            // Nobody asked to switch protocols, nor to hear more than one answer; there is nothing sensible to do with it.
            if response.status.is_informational() {
                return Err(Failed::Malformed);
            }
            Ok(self.begin(exchange, response, out))
        });
        let answered = if span.is_none() { answered.await } else { answered.instrument(span.clone()).await };
        match answered.flatten() {
            Ok(begun) => {
                trace::answered(&span, begun.status.as_u16());
                Ok(begun)
            }
            Err(failed) => {
                trace::failed(&span, "no_answer");
                Err(failed)
            }
        }
    }

    /// Writes the head of the client's answer.
    fn begin(&self, exchange: &mut Exchange<'_>, response: Response<'_>, out: &mut Vec<u8>) -> Begun {
        let bodiless = response.body.is_over();
        let length = match (response.length, self.request.version) {
            (None, _) if bodiless => Length::None,
            (Some(_), _) if response.status == StatusCode::NO_CONTENT => Length::None,
            (Some(length), _) => Length::Told(length),
            (None, Version::Http11) => Length::Chunked,
            (None, Version::Http10) => Length::Closed,
        };
        let (whole, until_close) = (exchange.is_sent(), length == Length::Closed);
        let keeps = !until_close && self.keeps(exchange.client, exchange.upload);
        let manner = self.manner(keeps);
        manner.begin(response.status, out);
        let dated = headers::for_client(&response, out);
        manner.end(length, dated, out);
        let coding = if length == Length::Chunked { Coding::Chunked } else { Coding::Plain };
        let Response { status, body, keeps: reusable, .. } = response;
        Begun { status, body, coding, until_close, reusable: reusable && whole, keeps }
    }

    /// What a client is told of a request that was not answered; what it means for the instance is noted.
    fn judge(&self, route: &Route, lease: &mut Lease, failed: &Failed) -> Option<Cause> {
        let cause = match failed {
            // The client's doing, not the instance's.
            Failed::Refused(cause) => return Some(*cause),
            Failed::Gone => return None,
            Failed::Late => {
                lease.late();
                Cause::SlowService
            }
            Failed::Broken(_) | Failed::Malformed => {
                lease.failed();
                Cause::Unavailable
            }
        };
        self.warn(route, lease.instance(), failed);
        Some(cause)
    }

    fn warn(&self, route: &Route, instance: &Instance, cause: &Failed) {
        let Some(left_out) = NO_ANSWER.take(Instant::now()) else { return };
        let (instance, id, left_out) = (instance.address(), self.caller.request_id.as_str(), left_out.field());
        tracing::warn!(service = route.service, %instance, id, %cause, left_out, "no answer");
    }
}

/// What can be judged before a service is asked, whose bodies may have `most` bytes.
pub(crate) fn check(request: &Request<'_>, most: u64) -> Result<(), Cause> {
    if !path::is_plain(request.path()) {
        return Err(Cause::NotFound);
    }
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        return Err(Cause::Method);
    }
    if headers::too_large(request) {
        return Err(Cause::HeadersTooLarge);
    }
    if !headers::names_a_host(request) {
        return Err(Cause::BadRequest);
    }
    // What follows such a head is no request, for who sends it.
    if request.fields.of_kind(Kind::Upgrade).any(|value| value.trim_ascii().eq_ignore_ascii_case(b"websocket")) {
        return Err(Cause::BadRequest);
    }
    match request.framing {
        Framing::Sized(length) if length > most => Err(Cause::TooLarge),
        Framing::None | Framing::Sized(_) | Framing::Chunked => Ok(()),
    }
}

impl Passed<'_> {
    /// Hands the answer on, whose head is in `out`.
    async fn run(self, client: &mut Client, out: &mut Vec<u8>, unread: bool) -> Then {
        let Self { answer, mut pipe, loan, lease, patience, gate } = self;
        let mut download = Download { body: answer.body, coding: answer.coding, patience };
        let handed_on = download.run(&mut pipe, client, out).await;
        let address = lease.instance().address();
        match handed_on {
            Ok(()) => {
                drop(loan);
                if answer.reusable {
                    gate.links.keep(address, pipe, Instant::now());
                }
                if answer.keeps { Then::Keep } else { Then::Close { unread } }
            }
            Err(cause) => {
                tracing::debug!(instance = %address, %cause, "an answer was not handed on whole");
                // Where only the end of the connection tells the end of an answer, a plain one would.
                if answer.until_close { Then::Cut } else { Then::Close { unread } }
            }
        }
    }
}

impl Gate {
    fn health(&self, request: &Request<'_>) -> Option<Answer> {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return None;
        }
        match request.path() {
            "/healthz" => Some(Answer::new(StatusCode::OK).body("ok")),
            "/readyz" => {
                let gateway = Gateway(Arc::clone(&self.live));
                let (ready, missing) = (gateway.is_ready(), gateway.missing());
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                Some(Answer::json(status, json!({"missing": missing, "ready": ready}).to_string()))
            }
            _ => None,
        }
    }
}
