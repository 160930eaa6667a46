//! Delivery metrics by channel: counters of results and retries, gauge of pending messages.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use stele_service::metrics::{Labels, Metrics};

/// The metrics of every channel.
#[derive(Default)]
pub(crate) struct DeliveryMetrics {
    deliveries: Family<Labels<2>, Counter>,
    retries: Family<Labels<1>, Counter>,
    pending: Family<Labels<1>, Gauge>,
}

/// The metrics of one channel.
pub(crate) struct ChannelMetrics {
    pub(crate) delivered: Counter,
    pub(crate) failed: Counter,
    pub(crate) retries: Counter,
    pub(crate) pending: Gauge,
}

impl DeliveryMetrics {
    /// Registers the metrics.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let delivery_metrics = Self::default();
        let help = "Messages that were delivered or finally failed";
        metrics.register("stele_deliveries", help, delivery_metrics.deliveries.clone());
        metrics.register("stele_delivery_retries", "Retries of deliveries", delivery_metrics.retries.clone());
        let help = "Messages in the queue or in flight";
        metrics.register("stele_delivery_pending", help, delivery_metrics.pending.clone());
        delivery_metrics
    }

    /// The metrics of `channel`, which start at zero.
    pub(crate) fn channel(&self, channel: &'static str) -> ChannelMetrics {
        let delivery_counter =
            |result| self.deliveries.get_or_create_owned(&[("channel", channel), ("result", result)]);
        ChannelMetrics {
            delivered: delivery_counter("delivered"),
            failed: delivery_counter("failed"),
            retries: self.retries.get_or_create_owned(&[("channel", channel)]),
            pending: self.pending.get_or_create_owned(&[("channel", channel)]),
        }
    }
}
