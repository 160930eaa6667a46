//! The audit trail's place.

use async_trait::async_trait;

use crate::Result;
use crate::audit_log::{AuditLogEntry, AuditLogEntryId, AuditLogFilter, AuditLogOrder};
use crate::time::Timestamp;

/// The audit trail: durable, and added to only.
#[async_trait]
pub trait AuditLogStore: Send + Sync {
    /// Adds `entries`, all or none. One that is there already stays as it is, so that a batch whose fate is not known
    /// can be added again.
    async fn append(&self, entries: &[AuditLogEntry]) -> Result<()>;

    /// Up to `limit` entries that `filter` lets through, after the one named `after`.
    async fn list(
        &self,
        filter: &AuditLogFilter,
        order: AuditLogOrder,
        after: Option<AuditLogEntryId>,
        limit: u32,
    ) -> Result<Vec<AuditLogEntry>>;

    /// Forgets up to `limit` of the oldest entries before `before`. Gives how many.
    async fn delete_before(&self, before: Timestamp, limit: u32) -> Result<u64>;
}
