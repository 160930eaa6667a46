//! What the gateway counts. Services are those of the routing table, `none` where no route leads; instances are those
//! that the settings name, or that the names lead to.

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

/// The handles that count.
pub(crate) struct Counters {
    requests: Family<RequestLabels, Counter>,
    durations: HistogramFamily<ServiceLabel>,
    rejections: Family<(ServiceLabel, CauseLabel), Counter>,
    retries: Family<ServiceLabel, Counter>,
    unlogged: Counter,
    rejected_connections: Counter,
}

impl Counters {
    /// Handles that `metrics` exposes.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let counters = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(REQUEST_DURATION_BUCKETS)),
            rejections: Family::default(),
            retries: Family::default(),
            unlogged: Counter::default(),
            rejected_connections: Counter::default(),
        };
        let help = "Requests that came to the gateway; 499: left alone by their client";
        metrics.register("stele_gateway_requests", help, counters.requests.clone());
        let help = "How long a client waited for the head of its answer";
        metrics.register("stele_gateway_request_duration_seconds", help, counters.durations.clone());
        let help = "Requests that the gateway answered in place of a service";
        metrics.register("stele_gateway_refusals", help, counters.rejections.clone());
        let help = "Requests given to a further instance, for one could not be connected to";
        metrics.register("stele_gateway_retries", help, counters.retries.clone());
        let help = "Refused requests that the access log leaves out: too many of one client, or in all";
        metrics.register("stele_gateway_unlogged_requests", help, counters.unlogged.clone());
        let help = "Connections closed at once, for their address holds its share";
        metrics.register("stele_gateway_connections_refused", help, counters.rejected_connections.clone());
        counters
    }

    pub(crate) fn count_rejected_connection(&self) {
        self.rejected_connections.inc();
    }

    /// Starts what is worth seeing before it happens at zero.
    pub(crate) fn preregister(&self, service: &str) {
        let service = service_label(service);
        drop(self.durations.get_or_create(&service));
        drop(self.retries.get_or_create(&service));
        for cause in Rejection::ALL {
            drop(self.rejections.get_or_create(&(service.clone(), [("cause", cause.as_str())])));
        }
    }

    pub(crate) fn count_response(&self, service: &Arc<String>, method: &Method, status: u16, time: Duration) {
        let service = [("service", service.clone())];
        self.durations.get_or_create(&service).observe(time.as_secs_f64());
        let labels = (service, ([("method", method_label(method.as_str()))], [("status", status)]));
        self.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn count_rejection(&self, service: &str, cause: Rejection) {
        self.rejections.get_or_create(&(service_label(service), [("cause", cause.as_str())])).inc();
    }

    pub(crate) fn count_unlogged(&self) {
        self.unlogged.inc();
    }

    pub(crate) fn count_retry(&self, service: &str) {
        self.retries.get_or_create(&service_label(service)).inc();
    }
}

fn service_label(service: &str) -> ServiceLabel {
    [("service", Arc::new(service.to_owned()))]
}

/// How many clients there are and how the instances do, looked at when somebody asks.
pub(crate) struct GatewayCollector(pub(crate) Weak<SharedState>);

impl fmt::Debug for GatewayCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instances")
    }
}

impl Collector for GatewayCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(live) = self.0.upgrade() else { return Ok(()) };
        let gateway = Gateway(live);
        let held = i64::try_from(gateway.connections()).unwrap_or(i64::MAX);
        let help = "Connections that clients hold";
        let family = encoder.encode_descriptor("stele_gateway_connections", help, None, MetricType::Gauge)?;
        ConstGauge::new(held).encode(family)?;
        let instances = gateway.instances();
        let up = |one: &InstanceView| i64::from(one.healthy);
        let busy = |one: &InstanceView| i64::try_from(one.in_flight).unwrap_or(i64::MAX);
        for (name, help, value) in [
            (
                "stele_gateway_upstream_up",
                "Whether the instance is given requests",
                &up as &dyn Fn(&InstanceView) -> i64,
            ),
            ("stele_gateway_upstream_in_flight", "Requests that the instance has not answered yet", &busy),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for one in &instances {
                let labels = [("service", one.service.clone()), ("instance", one.address.to_string())];
                ConstGauge::new(value(one)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
