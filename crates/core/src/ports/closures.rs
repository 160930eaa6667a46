//! The store of closures of dialects.

use async_trait::async_trait;

use crate::Result;
use crate::dialect_closure::{DialectClosure, NewClosure};
use crate::time::Timestamp;

/// The brown-outs and switch-offs of dialects. Durable, and shared by every process on this database.
#[async_trait]
pub trait ClosureStore: Send + Sync {
    /// The closures that are not canceled and end after `now` or never, by id.
    async fn scheduled_closures(&self, now: Timestamp) -> Result<Vec<DialectClosure>>;

    /// Up to `limit` closures of every kind and age, newest first, starting before the id `before`.
    async fn list_closures(&self, before: Option<i64>, limit: u32) -> Result<Vec<DialectClosure>>;

    /// Schedules a closure. Returns its id; `None` and changes nothing if `max_scheduled` closures are scheduled.
    async fn add_closure(&self, closure: &NewClosure, max_scheduled: usize) -> Result<Option<i64>>;

    /// Cancels the closure `id`, and returns it; `None` and changes nothing if no such closure is scheduled.
    async fn cancel_closure(&self, id: i64, now: Timestamp) -> Result<Option<DialectClosure>>;
}
