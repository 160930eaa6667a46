//! The store of the audit log, and the sink of audit events.

use async_trait::async_trait;

use crate::Result;
use crate::audit_log::{AuditLogEntry, AuditLogEntryId, AuditLogFilter, AuditLogOrder};
use crate::event::Event;
use crate::session::DialectName;
use crate::time::Timestamp;

/// The audit log: durable and append-only.
#[async_trait]
pub trait AuditLogStore: Send + Sync {
    /// Appends `entries` and counts their uses of dialects, all or none. An entry that exists already is left unchanged
    /// and not counted again, so a batch whose outcome is unknown can be retried.
    async fn append(&self, entries: &[AuditLogEntry]) -> Result<()>;

    /// Up to `limit` entries that match `filter`, in `order`, starting after the entry `after`.
    async fn list(
        &self,
        filter: &AuditLogFilter,
        order: AuditLogOrder,
        after: Option<AuditLogEntryId>,
        limit: u32,
    ) -> Result<Vec<AuditLogEntry>>;

    /// Deletes up to `limit` of the oldest entries whose time is before `before`. Returns how many were deleted.
    async fn delete_before(&self, before: Timestamp, limit: u32) -> Result<u64>;
}

/// Receives the audit event of every use case, for metrics and the audit log.
pub trait EventSink: Send + Sync {
    /// Takes an event. It is called within the request, so it must neither block nor fail. A sink that writes to a
    /// database queues the event and writes it later, in a batch.
    fn record(&self, event: Event);

    /// Reports that a send in `dialect` was rejected because the total quota of `max` messages per window is exhausted,
    /// by an attack or because the quota is too low. The audit event of the send follows by [`EventSink::record`].
    fn total_send_quota_reached(&self, _at: Timestamp, _dialect: DialectName, _max: u32) {}

    /// Reports that the use case of this event set a common password, which the policy accepts. The event follows by
    /// [`EventSink::record`].
    fn common_password_set(&self, _event: &Event) {}
}

/// Discards all events.
impl EventSink for () {
    fn record(&self, _: Event) {}
}
