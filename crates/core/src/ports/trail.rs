//! The audit trail's place.

use async_trait::async_trait;

use crate::Result;
use crate::time::Timestamp;
use crate::trail::{Entry, EntryId, Filter, Order};

/// The audit trail: durable, and added to only.
#[async_trait]
pub trait TrailStore: Send + Sync {
    /// Adds `entries`, all or none. One that is there already stays as it is, so that a batch whose fate is not known
    /// can be added again.
    async fn append(&self, entries: &[Entry]) -> Result<()>;

    /// Up to `limit` entries that `filter` lets through, after the one named `after`.
    async fn page(&self, filter: &Filter, order: Order, after: Option<EntryId>, limit: u32) -> Result<Vec<Entry>>;

    /// Forgets up to `limit` of the oldest entries before `before`. Gives how many.
    async fn forget(&self, before: Timestamp, limit: u32) -> Result<u64>;
}
