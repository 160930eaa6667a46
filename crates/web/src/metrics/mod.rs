//! What is counted, for Prometheus: a registry for each process, and the handles that count.
//!
//! A label's value is one of a closed list (a `&'static str`), or names something configured: an endpoint's pattern, an
//! instance's address. Nothing that a client sends can become one.

mod process;
mod stores;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::Method;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};
use stele_core::event::{Act, Event, Limit, Outcome};
use stele_core::hasher::Hasher;
use stele_core::proof::ProofKind;

pub(crate) use stores::{watched_state, watched_users};

/// What [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of requests' times, in seconds.
pub const REQUEST_TIMES: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper bounds of store operations' times, in seconds.
const STORE_TIMES: [f64; 10] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 2.0];

/// Labels of closed lists.
pub type Labels<const N: usize> = [(&'static str, &'static str); N];
/// A family of histograms, all with the same bounds.
pub type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The deployment's ceiling, among the limits.
const SEND_TOTAL: &str = "send_total";

type Route = [(&'static str, Arc<String>); 1];
type Status = [(&'static str, u16); 1];

/// The metrics of a process. Clones are the same.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Mutex<Registry>,
    logins: Family<Labels<3>, Counter>,
    events: Family<Labels<3>, Counter>,
    sessions: Family<Labels<1>, Counter>,
    limits: Family<Labels<2>, Counter>,
    requests: Family<(Labels<2>, (Route, Status)), Counter>,
    request_times: Histograms<(Labels<1>, Route)>,
    store_times: Histograms<Labels<3>>,
    store_errors: Family<Labels<4>, Counter>,
    deliveries: Family<Labels<2>, Counter>,
    delivery_retries: Family<Labels<1>, Counter>,
    delivery_pending: Family<Labels<1>, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let inner = Inner {
            registry: Mutex::default(),
            logins: Family::default(),
            events: Family::default(),
            sessions: Family::default(),
            limits: Family::default(),
            requests: Family::default(),
            request_times: Family::new_with_constructor(|| Histogram::new(REQUEST_TIMES)),
            store_times: Family::new_with_constructor(|| Histogram::new(STORE_TIMES)),
            store_errors: Family::default(),
            deliveries: Family::default(),
            delivery_retries: Family::default(),
            delivery_pending: Family::default(),
        };
        let metrics = Self(Arc::new(inner));
        metrics.register_own();
        metrics
    }
}

impl Metrics {
    fn register_own(&self) {
        let inner = &self.0;
        self.register(
            "stele_build",
            "The version of this program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        self.collect(Box::new(process::Process));
        self.register("stele_logins", "Logins, by what proved them and how they ended", inner.logins.clone());
        self.register("stele_events", "What clients and administrators asked, and how it ended", inner.events.clone());
        self.register("stele_sessions_opened", "Sessions opened", inner.sessions.clone());
        self.register("stele_limits_hit", "What a limit refused", inner.limits.clone());
        self.register("stele_http_requests", "Requests answered by a service", inner.requests.clone());
        let help = "How long a service took to answer";
        self.register("stele_http_request_duration_seconds", help, inner.request_times.clone());
        let help = "How long an operation of a store took, waiting for a connection included";
        self.register("stele_store_operation_duration_seconds", help, inner.store_times.clone());
        self.register("stele_store_errors", "Operations of a store that failed", inner.store_errors.clone());
        self.register("stele_deliveries", "Messages that were delivered or given up", inner.deliveries.clone());
        self.register("stele_delivery_retries", "Attempts after the first", inner.delivery_retries.clone());
        self.register(
            "stele_delivery_pending",
            "Messages that wait or are on their way",
            inner.delivery_pending.clone(),
        );
    }

    /// Has `metric` exposed under `name`.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.registry().register(name, help, metric);
    }

    /// Has what `collector` gathers at each look exposed.
    pub fn collect(&self, collector: Box<dyn Collector>) {
        self.registry().register_collector(collector);
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything, as [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// If a collector cannot write.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut out = String::with_capacity(32 * 1024);
        text::encode(&mut out, &self.registry())?;
        Ok(out)
    }

    /// Starts what is worth seeing before it happens at zero, for a service of `dialect` with these proofs.
    pub(crate) fn expect(&self, dialect: &'static str, proofs: &[ProofKind]) {
        for proof in proofs {
            for outcome in [Outcome::Done, Outcome::WrongPassword, Outcome::UnknownUser, Outcome::TooMany] {
                drop(self.0.logins.get_or_create(&login(dialect, *proof, outcome)));
            }
        }
        for limit in Limit::all() {
            drop(self.0.limits.get_or_create(&[("dialect", dialect), ("limit", limit.as_str())]));
        }
        drop(self.0.limits.get_or_create(&[("dialect", dialect), ("limit", SEND_TOTAL)]));
        drop(self.0.sessions.get_or_create(&[("dialect", dialect)]));
    }

    /// Counts what happened.
    pub(crate) fn count(&self, event: &Event) {
        let inner = &self.0;
        let dialect = event.door.as_ref().map_or("none", |door| door.dialect);
        let (act, outcome) = (event.act, event.outcome);
        inner
            .events
            .get_or_create(&[("dialect", dialect), ("event", act.as_str()), ("result", outcome.as_str())])
            .inc();
        if let Act::Login(proof) = act {
            inner.logins.get_or_create(&login(dialect, proof, outcome)).inc();
        }
        let through_app = event.door.as_ref().is_some_and(|door| !door.app.is_empty());
        match (act, outcome) {
            (_, Outcome::TooMany) => {
                inner.limits.get_or_create(&[("dialect", dialect), ("limit", act.limit().as_str())]).inc();
            }
            (Act::Login(_) | Act::ChangePassword(_), Outcome::Done) => {
                inner.sessions.get_or_create(&[("dialect", dialect)]).inc();
            }
            // Whoever registers through an app counts as present there.
            (Act::Register, Outcome::Done) if through_app => {
                inner.sessions.get_or_create(&[("dialect", dialect)]).inc();
            }
            _ => {}
        }
    }

    /// Counts a send that the deployment's ceiling refused.
    pub(crate) fn send_total_reached(&self, dialect: &'static str) {
        self.0.limits.get_or_create(&[("dialect", dialect), ("limit", SEND_TOTAL)]).inc();
    }

    /// Counts a request that a service answered.
    pub(crate) fn answered(
        &self,
        service: &'static str,
        route: Arc<String>,
        method: &Method,
        status: u16,
        time: Duration,
    ) {
        let times = ([("service", service)], [("route", route.clone())]);
        self.0.request_times.get_or_create(&times).observe(time.as_secs_f64());
        let labels =
            ([("service", service), ("method", method_name(method))], ([("route", route)], [("status", status)]));
        self.0.requests.get_or_create(&labels).inc();
    }

    /// Exposes how busy `hasher` is.
    pub(crate) fn hasher(&self, hasher: Hasher) {
        self.collect(Box::new(Hashing(hasher)));
    }

    /// The handles of a delivery channel.
    pub(crate) fn channel(&self, channel: &'static str) -> Channel {
        let inner = &self.0;
        let result = |result| inner.deliveries.get_or_create_owned(&[("channel", channel), ("result", result)]);
        Channel {
            delivered: result("delivered"),
            failed: result("failed"),
            retries: inner.delivery_retries.get_or_create_owned(&[("channel", channel)]),
            pending: inner.delivery_pending.get_or_create_owned(&[("channel", channel)]),
        }
    }
}

/// What a delivery channel counts by.
pub(crate) struct Channel {
    pub(crate) delivered: Counter,
    pub(crate) failed: Counter,
    pub(crate) retries: Counter,
    pub(crate) pending: Gauge,
}

fn login(dialect: &'static str, proof: ProofKind, outcome: Outcome) -> Labels<3> {
    [("dialect", dialect), ("proof", proof.as_str()), ("result", outcome.as_str())]
}

/// A method as a label or in a span's name: a client may send any word.
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

struct Hashing(Hasher);

impl fmt::Debug for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashing")
    }
}

impl Collector for Hashing {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let ((busy, slots), (queue, limit)) = (self.0.slots(), self.0.queue());
        for (name, help, value) in [
            ("stele_hash_slots", "Password hashes computed at once, at most", slots),
            ("stele_hash_slots_busy", "Password hashes being computed", busy),
            ("stele_hash_queue_limit", "Password hashes computed or waiting, at most", limit),
            ("stele_hash_queue_length", "Password hashes computed or waiting", queue),
        ] {
            gauge(&mut encoder, name, help, value as f64)?;
        }
        let computed = ConstCounter::new(self.0.computed());
        computed.encode(encoder.encode_descriptor(
            "stele_hashes_computed",
            "Password hashes computed",
            None,
            MetricType::Counter,
        )?)
    }
}

/// Writes a gauge that is looked up at each look.
pub(crate) fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
