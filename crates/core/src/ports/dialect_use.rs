//! The store of the use of dialects. [`super::AuditLogStore::append`] writes it.

use async_trait::async_trait;

use crate::Result;
use crate::dialect_use::{DailyUse, UseKind, UsePeriod, UserUse, UserUseCursor, UtcDay};
use crate::time::Timestamp;

/// How often, when and by whom each dialect was used. Durable, and shared by every process on this database.
#[async_trait]
pub trait DialectUseStore: Send + Sync {
    /// The use of each day from `since` on, by day, then by dialect, client and proof.
    async fn daily_use(&self, since: UtcDay) -> Result<Vec<DailyUse>>;

    /// The first and the last use of each dialect, client and proof, in their order.
    async fn use_periods(&self) -> Result<Vec<UsePeriod>>;

    /// How many users used each dialect, client and proof since `since`, in their order.
    async fn count_users_by_kind(&self, since: Timestamp) -> Result<Vec<(UseKind, u64)>>;

    /// How many users used `dialect` since `since`.
    async fn count_users(&self, dialect: &str, since: Timestamp) -> Result<u64>;

    /// How many rows [`DialectUseStore::list_users`] has.
    async fn count_user_rows(&self, dialect: &str, since: Timestamp) -> Result<u64>;

    /// Up to `limit` users' uses of `dialect` that are not older than `since`, newest first, starting after `after`.
    async fn list_users(
        &self,
        dialect: &str,
        since: Timestamp,
        after: Option<&UserUseCursor>,
        limit: u32,
    ) -> Result<Vec<UserUse>>;

    /// Deletes up to `limit` users' uses that ended before `day`, and once none is left, the daily use before `day`.
    /// Returns how many rows were deleted.
    async fn delete_use_before(&self, day: UtcDay, limit: u32) -> Result<u64>;
}
