//! Metrics of the gateway. The label `service` is a service of the routing table, or `none` without a route; the
//! label `instance` is an instance's address.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::Method;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use stele_service::metrics::{HistogramFamily, Metrics, REQUEST_DURATION_BUCKETS, method_label};

use crate::error_pages::Rejection;
use crate::shared_state::{Gateway, InstanceView, SharedState};

type ServiceLabel = [(&'static str, Arc<String>); 1];
type CauseLabel = [(&'static str, &'static str); 1];
type RequestLabels = (ServiceLabel, ([(&'static str, &'static str); 1], [(&'static str, u16); 1]));

/// The counters and histograms.
pub(crate) struct Counters {
    requests: Family<RequestLabels, Counter>,
    durations: HistogramFamily<ServiceLabel>,
    rejections: Family<(ServiceLabel, CauseLabel), Counter>,
    retries: Family<ServiceLabel, Counter>,
    unlogged: Counter,
    rejected_connections: Counter,
}

impl Counters {
    /// Creates the metrics and registers them in `metrics`.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let counters = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(REQUEST_DURATION_BUCKETS)),
            rejections: Family::default(),
            retries: Family::default(),
            unlogged: Counter::default(),
            rejected_connections: Counter::default(),
        };
        let help = "Requests received by the gateway; status 499: closed by the client";
        metrics.register("stele_gateway_requests", help, counters.requests.clone());
        let help = "Time from the request head to the response head";
        metrics.register("stele_gateway_request_duration_seconds", help, counters.durations.clone());
        let help = "Requests rejected by the gateway";
        metrics.register("stele_gateway_refusals", help, counters.rejections.clone());
        let help = "Requests retried on another instance after a failed connect";
        metrics.register("stele_gateway_retries", help, counters.retries.clone());
        let help = "Rejected requests that the rate limit of the access log left out";
        metrics.register("stele_gateway_unlogged_requests", help, counters.unlogged.clone());
        let help = "Connections rejected by the per-client limit";
        metrics.register("stele_gateway_connections_refused", help, counters.rejected_connections.clone());
        counters
    }

    pub(crate) fn count_rejected_connection(&self) {
        self.rejected_connections.inc();
    }

    /// Pre-registers the label sets of a service, so that its counters start at zero.
    pub(crate) fn preregister(&self, service: &str) {
        let service = service_label(service);
        drop(self.durations.get_or_create(&service));
        drop(self.retries.get_or_create(&service));
        for rejection in Rejection::ALL {
            drop(self.rejections.get_or_create(&(service.clone(), [("cause", rejection.as_str())])));
        }
    }

    pub(crate) fn count_request(&self, service: &Arc<String>, method: &Method, status: u16, time: Duration) {
        let service = [("service", service.clone())];
        self.durations.get_or_create(&service).observe(time.as_secs_f64());
        let labels = (service, ([("method", method_label(method.as_str()))], [("status", status)]));
        self.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn count_rejection(&self, service: &str, rejection: Rejection) {
        self.rejections.get_or_create(&(service_label(service), [("cause", rejection.as_str())])).inc();
    }

    pub(crate) fn count_unlogged_request(&self) {
        self.unlogged.inc();
    }

    pub(crate) fn count_retry(&self, service: &str) {
        self.retries.get_or_create(&service_label(service)).inc();
    }
}

fn service_label(service: &str) -> ServiceLabel {
    [("service", Arc::new(service.to_owned()))]
}

/// Gauges of connections and instances, read when the metrics are scraped.
pub(crate) struct GatewayCollector(pub(crate) Weak<SharedState>);

impl fmt::Debug for GatewayCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatewayCollector")
    }
}

impl Collector for GatewayCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        let gateway = Gateway(shared);
        let connections = i64::try_from(gateway.connections()).unwrap_or(i64::MAX);
        let help = "Open client connections";
        let family = encoder.encode_descriptor("stele_gateway_connections", help, None, MetricType::Gauge)?;
        ConstGauge::new(connections).encode(family)?;
        let instances = gateway.instances();
        let health_value = |instance: &InstanceView| i64::from(instance.is_healthy);
        let in_flight_value = |instance: &InstanceView| i64::try_from(instance.in_flight).unwrap_or(i64::MAX);
        for (name, help, value) in [
            (
                "stele_gateway_upstream_up",
                "Whether the instance is healthy: ready, and its circuit closed",
                &health_value as &dyn Fn(&InstanceView) -> i64,
            ),
            ("stele_gateway_upstream_in_flight", "Requests in flight to the instance", &in_flight_value),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for instance in &instances {
                let labels = [("service", instance.service.clone()), ("instance", instance.address.to_string())];
                ConstGauge::new(value(instance)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
