//! Event sink of the use cases: passes each event to the metrics, the debug log and the audit log, and warns when the
//! deployment's send quota is exceeded.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use stele_core::dialect_use::ClientName;
use stele_core::event::{Event, RequestId, RequestSource};
use stele_core::ports::EventSink;
use stele_core::session::DialectName;
use stele_core::time::Timestamp;
use stele_service::request_context;
use tracing::field;

use crate::audit_log::AuditLogWriter;
use crate::metrics::DomainMetrics;

/// Adds the client's address and name and the request id to each event, counts it, logs it at level `debug`, and records it in the audit log.
pub(crate) struct EventRecorder {
    metrics: DomainMetrics,
    audit_log: Arc<AuditLogWriter>,
    /// When the warning about the deployment's quota (`STELE_SEND_TOTAL`) was last logged, in Unix seconds.
    last_warned_at: AtomicI64,
}

impl EventRecorder {
    pub(crate) fn new(metrics: DomainMetrics, audit_log: Arc<AuditLogWriter>) -> Self {
        Self { metrics, audit_log, last_warned_at: AtomicI64::new(0) }
    }
}

impl EventSink for EventRecorder {
    fn total_send_quota_reached(&self, at: Timestamp, dialect: DialectName, max: u32) {
        self.metrics.record_send_total_reached(dialect);
        let (now, last) = (at.as_secs(), self.last_warned_at.load(Ordering::Relaxed));
        let is_due = now.abs_diff(last) >= 60;
        if is_due && self.last_warned_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(
                dialect,
                "codes are no longer sent: {max} were requested within an hour. If this is not an attack \
                 (see `stele audit`), raise STELE_SEND_TOTAL"
            );
        }
    }

    /// The log names no user: it must not show whose account is easy to guess.
    fn common_password_set(&self, event: &Event) {
        self.metrics.record_common_password_set(event);
        let dialect = event.entry_point.as_ref().map(|entry_point| entry_point.dialect);
        tracing::warn!(dialect, act = event.action.as_str(), "a common password was set (STELE_PASSWORD_LIST)");
    }

    fn record(&self, mut event: Event) {
        event.client = request_context::current_client().and_then(|client| {
            Some(RequestSource {
                address: client.address,
                request_id: RequestId::parse(client.request_id)?,
                client_name: client.name.and_then(ClientName::parse),
            })
        });
        self.metrics.record(&event);
        tracing::debug!(
            dialect = event.entry_point.as_ref().map(|entry_point| entry_point.dialect),
            app = event.entry_point.as_ref().map(|entry_point| entry_point.app.as_str()).filter(|app| !app.is_empty()),
            act = event.action.as_str(),
            outcome = event.outcome.as_str(),
            subject = event.subject.as_ref().map(field::debug),
            "event"
        );
        self.audit_log.record(event);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn domain_spans_use_the_exported_trace_target() {
        assert_eq!(stele_core::TRACE_TARGET, stele_service::trace::TRACE_TARGET);
    }
}
