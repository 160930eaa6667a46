//! A request on its way through a service: what it is called, whom it comes from, and the spans around it.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use actix_web::dev::ServiceRequest;
use stele_core::event::{Client, Event, RequestId};
use stele_core::ports::Events;
use stele_core::random::PooledRandom;
use stele_core::session::Dialect;
use stele_core::time::Timestamp;
use tracing::{Instrument as _, Span, field};

use crate::metrics::Metrics;
use crate::trace;
use crate::trail::Trail;
use crate::trust::Trust;

tokio::task_local! {
    static CURRENT: Client;
}

/// Who asked for what is being done; `None` outside of requests.
pub fn current() -> Option<Client> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Whether something is being done for a request.
pub(crate) fn is_one() -> bool {
    CURRENT.try_with(|_| ()).is_ok()
}

/// The pattern of an endpoint's path, as metrics and traces name it.
pub(crate) struct Route(pub(crate) Arc<String>);

/// A request that has come in.
pub(crate) struct Arrival {
    client: Client,
    log: Span,
    /// Its span in the trace.
    pub(crate) trace: Span,
}

impl Arrival {
    pub(crate) fn new(service: &'static str, request: &ServiceRequest, trust: &Trust) -> Self {
        let headers = request.headers();
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let client = Client { address: trust.client(peer, headers), request: request_id(request) };
        let trace = trace::server(request.method(), request.path(), headers);
        let log = log_span(service, &client.request, &trace);
        Self { client, log, trace }
    }

    /// Does `work` as part of this request.
    pub(crate) fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self.client.clone(), work.instrument(self.log.clone())).instrument(self.trace.clone())
    }

    /// What logs have around each line of this request.
    pub(crate) fn log(&self) -> &Span {
        &self.log
    }
}

/// What the gateway calls the request; a name of our own for one that came another way.
fn request_id(request: &ServiceRequest) -> RequestId {
    let told = request.headers().get("x-request-id").and_then(|id| RequestId::parse(id.to_str().ok()?));
    told.unwrap_or_else(|| RequestId::random(&PooledRandom))
}

/// What logs have around each line of a request. At the level of errors, so that it is there at every level.
fn log_span(service: &str, id: &RequestId, trace: &Span) -> Span {
    let span = tracing::error_span!("request", service, id = id.as_str(), trace_id = field::Empty);
    if let Some(trace) = trace::id(trace) {
        span.record("trace_id", field::display(trace));
    }
    span
}

/// Adds to each event who asked, counts it, logs it at the level `debug`, and has the trail take it down.
pub(crate) struct Recorder {
    pub(crate) metrics: Metrics,
    pub(crate) trail: Arc<Trail>,
    /// The second in which it was last logged that the deployment may send no more.
    pub(crate) warned: AtomicI64,
}

impl Events for Recorder {
    fn send_total_reached(&self, at: Timestamp, dialect: Dialect, max: u32) {
        self.metrics.send_total_reached(dialect);
        let (now, before) = (at.as_secs(), self.warned.load(Ordering::Relaxed));
        let due = now.abs_diff(before) >= 60;
        if due && self.warned.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(
                dialect,
                "codes are no longer sent: {max} were asked for within an hour. If that is no attack (`stele audit`), raise \
                 STELE_SEND_TOTAL"
            );
        }
    }

    fn record(&self, mut event: Event) {
        event.client = current();
        self.metrics.count(&event);
        tracing::debug!(
            dialect = event.door.as_ref().map(|door| door.dialect),
            app = event.door.as_ref().map(|door| door.app.as_str()).filter(|app| !app.is_empty()),
            act = event.act.as_str(),
            outcome = event.outcome.as_str(),
            subject = event.subject.as_ref().map(field::debug),
            "event"
        );
        self.trail.record(event);
    }
}
