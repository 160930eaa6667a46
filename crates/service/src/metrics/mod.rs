//! What is counted, for Prometheus: a registry for each process, and the handles that count.
//!
//! A label's value is one of a closed list (a `&'static str`), or names something configured: an endpoint's pattern, an
//! instance's address. Nothing that a client sends can become one.

mod process;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::Method;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

/// What [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of requests' times, in seconds.
pub const REQUEST_TIMES: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Labels of closed lists.
pub type Labels<const N: usize> = [(&'static str, &'static str); N];
/// A family of histograms, all with the same bounds.
pub type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

type Route = [(&'static str, Arc<String>); 1];
type Status = [(&'static str, u16); 1];

/// The metrics of a process. Clones are the same.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Mutex<Registry>,
    requests: Family<(Labels<2>, (Route, Status)), Counter>,
    request_times: Histograms<(Labels<1>, Route)>,
}

impl Default for Metrics {
    fn default() -> Self {
        let inner = Inner {
            registry: Mutex::default(),
            requests: Family::default(),
            request_times: Family::new_with_constructor(|| Histogram::new(REQUEST_TIMES)),
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
        self.register("stele_http_requests", "Requests answered by a service", inner.requests.clone());
        let help = "How long a service took to answer";
        self.register("stele_http_request_duration_seconds", help, inner.request_times.clone());
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

    /// Counts a request that a service answered.
    pub fn answered(&self, service: &'static str, route: Arc<String>, method: &Method, status: u16, time: Duration) {
        let times = ([("service", service)], [("route", route.clone())]);
        self.0.request_times.get_or_create(&times).observe(time.as_secs_f64());
        let labels = (
            [("service", service), ("method", method_name(method.as_str()))],
            ([("route", route)], [("status", status)]),
        );
        self.0.requests.get_or_create(&labels).inc();
    }
}

/// A method as a label or in a span's name: a client may send any word.
pub fn method_name(method: &str) -> &'static str {
    match method {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Writes a gauge that is looked up at each look.
///
/// # Errors
/// If the encoder cannot write.
pub fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
