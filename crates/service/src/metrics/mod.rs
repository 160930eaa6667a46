//! Prometheus metrics: the registry of a process, the metrics of HTTP requests, and process metrics.
//!
//! A label value is one of a fixed set (`&'static str`) or a configured name, such as a route pattern or an instance's
//! address. Text from clients never becomes a label value, so clients cannot raise the number of time series
//! (cardinality).

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

/// Media type of the text that [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the request duration histograms' buckets, in seconds.
pub const REQUEST_DURATION_BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Label names and values, all from fixed sets.
pub type Labels<const N: usize> = [(&'static str, &'static str); N];
/// A family of histograms with the same buckets.
pub type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;

type RouteLabel = [(&'static str, Arc<String>); 1];
type StatusLabel = [(&'static str, u16); 1];

/// The metrics of a process. Clones share one registry.
#[derive(Clone)]
pub struct Metrics(Arc<MetricsState>);

struct MetricsState {
    registry: Mutex<Registry>,
    requests: Family<(Labels<2>, (RouteLabel, StatusLabel)), Counter>,
    request_durations: HistogramFamily<(Labels<1>, RouteLabel)>,
}

impl Default for Metrics {
    fn default() -> Self {
        let state = MetricsState {
            registry: Mutex::default(),
            requests: Family::default(),
            request_durations: Family::new_with_constructor(|| Histogram::new(REQUEST_DURATION_BUCKETS)),
        };
        let metrics = Self(Arc::new(state));
        metrics.register_builtin();
        metrics
    }
}

impl Metrics {
    fn register_builtin(&self) {
        let state = &self.0;
        self.register(
            "stele_build",
            "The version of this program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        self.register_collector(Box::new(process::ProcessCollector));
        self.register("stele_http_requests", "Requests that a service has answered", state.requests.clone());
        let help = "Time from the head of a request to the response of a service";
        self.register("stele_http_request_duration_seconds", help, state.request_durations.clone());
    }

    /// Registers `metric` under `name`.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.lock_registry().register(name, help, metric);
    }

    /// Registers `collector`, whose metrics are computed on each scrape.
    pub fn register_collector(&self, collector: Box<dyn Collector>) {
        self.lock_registry().register_collector(collector);
    }

    fn lock_registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All metrics in OpenMetrics text format ([`CONTENT_TYPE`]).
    ///
    /// # Errors
    /// If a collector fails.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut out = String::with_capacity(32 * 1024);
        text::encode(&mut out, &self.lock_registry())?;
        Ok(out)
    }

    /// Records a response of `service`, sent `duration` after the request.
    pub fn record_response(
        &self,
        service: &'static str,
        route: Arc<String>,
        method: &Method,
        status: u16,
        duration: Duration,
    ) {
        let duration_labels = ([("service", service)], [("route", route.clone())]);
        self.0.request_durations.get_or_create(&duration_labels).observe(duration.as_secs_f64());
        let labels = (
            [("service", service), ("method", method_label(method.as_str()))],
            ([("route", route)], [("status", status)]),
        );
        self.0.requests.get_or_create(&labels).inc();
    }
}

/// A request method as a label value or in a span name; `other` for uncommon ones, since a client may send any word.
pub fn method_label(method: &str) -> &'static str {
    match method {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Encodes a gauge whose `value` was computed for this scrape.
///
/// # Errors
/// If the encoder fails.
pub fn encode_gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
