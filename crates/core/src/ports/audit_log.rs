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
    /// Appends `entries`, all or none. An entry that exists already stays as it is, so that a batch can be retried when
    /// its outcome is unknown.
    async fn append(&self, entries: &[AuditLogEntry]) -> Result<()>;

    /// Up to `limit` entries that match `filter`, starting after the entry `after`.
    async fn list(
        &self,
        filter: &AuditLogFilter,
        order: AuditLogOrder,
        after: Option<AuditLogEntryId>,
        limit: u32,
    ) -> Result<Vec<AuditLogEntry>>;

    /// Deletes up to `limit` of the oldest entries before `before`. Returns how many.
    async fn delete_before(&self, before: Timestamp, limit: u32) -> Result<u64>;
}

/// Receives the audit event of every use case: counts it for metrics, writes it to the audit log.
pub trait EventSink: Send + Sync {
    /// Takes an event. Called within the request, so it must neither block nor fail: a sink that writes does so later,
    /// in a batch.
    fn record(&self, event: Event);

    /// Reports that a send in `dialect` was rejected because its total quota of `max` messages an hour is exhausted:
    /// either an attack, or a quota that is too low. The event itself follows by [`EventSink::record`].
    fn global_send_quota_reached(&self, _at: Timestamp, _dialect: DialectName, _max: u32) {}
}

/// Discards all events.
impl EventSink for () {
    fn record(&self, _: Event) {}
}
