//! Where the use cases' events go: to the counters, the log and the audit trail.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use stele_core::event::{Client, Event, RequestId};
use stele_core::ports::Events;
use stele_core::session::Dialect;
use stele_core::time::Timestamp;
use stele_service::request;
use tracing::field;

use crate::metrics::DomainMetrics;
use crate::trail::Trail;

/// Adds to each event who asked, counts it, logs it at the level `debug`, and has the trail take it down.
pub(crate) struct Recorder {
    metrics: DomainMetrics,
    trail: Arc<Trail>,
    /// The second in which it was last logged that the deployment may send no more.
    warned: AtomicI64,
}

impl Recorder {
    pub(crate) fn new(metrics: DomainMetrics, trail: Arc<Trail>) -> Self {
        Self { metrics, trail, warned: AtomicI64::new(0) }
    }
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
        event.client = request::current()
            .and_then(|client| Some(Client { address: client.address, request: RequestId::parse(client.request)? }));
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

#[cfg(test)]
mod tests {
    #[test]
    fn the_domains_spans_have_the_target_that_is_exported() {
        assert_eq!(stele_core::TRACE, stele_service::trace::TRACE);
    }
}
