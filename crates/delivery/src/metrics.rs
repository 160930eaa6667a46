//! Counters of deliveries, retries and pending messages, by channel.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use stele_service::metrics::{Labels, Metrics};

/// The counters of every channel.
#[derive(Default)]
pub(crate) struct DeliveryMetrics {
    deliveries: Family<Labels<2>, Counter>,
    retries: Family<Labels<1>, Counter>,
    pending: Family<Labels<1>, Gauge>,
}

/// The counters of one channel.
pub(crate) struct ChannelMetrics {
    pub(crate) delivered: Counter,
    pub(crate) failed: Counter,
    pub(crate) retries: Counter,
    pub(crate) pending: Gauge,
}

impl DeliveryMetrics {
    /// Registers the counters.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let counters = Self::default();
        let help = "Messages that were delivered or finally failed";
        metrics.register("stele_deliveries", help, counters.deliveries.clone());
        metrics.register("stele_delivery_retries", "Retries of deliveries", counters.retries.clone());
        let help = "Messages in the queue or in flight";
        metrics.register("stele_delivery_pending", help, counters.pending.clone());
        counters
    }

    pub(crate) fn channel(&self, channel: &'static str) -> ChannelMetrics {
        let result = |result| self.deliveries.get_or_create_owned(&[("channel", channel), ("result", result)]);
        ChannelMetrics {
            delivered: result("delivered"),
            failed: result("failed"),
            retries: self.retries.get_or_create_owned(&[("channel", channel)]),
            pending: self.pending.get_or_create_owned(&[("channel", channel)]),
        }
    }
}
