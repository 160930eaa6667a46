//! Turning a dialect off: the report of its use, and its closures (ADR 61).

use super::Administration;
use crate::Result;
use crate::dialect_closure::{DialectClosure, MAX_SCHEDULED, NewClosure};
use crate::dialect_use::report::{ReportWindow, UseReportLine, build_report};
use crate::dialect_use::{LAST_USE_PRECISION, UserUse, UserUseCursor};
use crate::time::Timestamp;

/// The report of the use of dialects.
#[derive(Clone, Debug, PartialEq)]
pub struct UseReport {
    /// The counted days.
    pub window: ReportWindow,
    /// The first recorded use of any dialect; `None` if none is recorded.
    pub recorded_since: Option<Timestamp>,
    /// One line for each dialect, client and proof, in their order.
    pub lines: Vec<UseReportLine>,
}

#[expect(clippy::missing_errors_doc, reason = "the type's documentation names them for all methods")]
impl Administration {
    /// The use of all dialects in the `days` days that end with today.
    pub async fn use_report(&self, days: u32) -> Result<UseReport> {
        let store = &self.deps.dialect_use;
        let periods = store.use_periods().await?;
        let window = ReportWindow::new(days, self.now(), &periods);
        let daily = store.daily_use(window.first).await?;
        let users = store.count_users_by_kind(window.first.start()).await?;
        let recorded_since = periods.iter().map(|period| period.first_at).min();
        Ok(UseReport { window, recorded_since, lines: build_report(window, &periods, &daily, &users) })
    }

    /// How many users used `dialect` since `since`.
    pub async fn count_dialect_users(&self, dialect: &str, since: Timestamp) -> Result<u64> {
        self.deps.dialect_use.count_users(dialect, since.saturating_sub(LAST_USE_PRECISION)).await
    }

    /// How many rows [`Administration::dialect_users`] has in all.
    pub async fn count_dialect_user_rows(&self, dialect: &str, since: Timestamp) -> Result<u64> {
        self.deps.dialect_use.count_user_rows(dialect, since.saturating_sub(LAST_USE_PRECISION)).await
    }

    /// Up to `limit` users' uses of `dialect` since `since`, newest first, starting after `after`. A user has a row for
    /// each client and proof. The stored time of a use may lie an hour behind, so uses of an hour before `since` are
    /// listed too.
    pub async fn dialect_users(
        &self,
        dialect: &str,
        since: Timestamp,
        after: Option<&UserUseCursor>,
        limit: u32,
    ) -> Result<Vec<UserUse>> {
        self.deps.dialect_use.list_users(dialect, since.saturating_sub(LAST_USE_PRECISION), after, limit).await
    }

    /// The closures that refuse requests now or will do so, by id.
    pub async fn scheduled_closures(&self) -> Result<Vec<DialectClosure>> {
        self.deps.closures.scheduled_closures(self.now()).await
    }

    /// Up to `limit` closures of every kind and age, newest first, starting before the id `before`.
    pub async fn list_closures(&self, before: Option<i64>, limit: u32) -> Result<Vec<DialectClosure>> {
        self.deps.closures.list_closures(before, limit).await
    }

    /// Schedules a closure, which services follow within 5 s. Returns its id; `None` if [`MAX_SCHEDULED`] are scheduled.
    pub async fn schedule_closure(&self, closure: &NewClosure) -> Result<Option<i64>> {
        self.deps.closures.add_closure(closure, MAX_SCHEDULED).await
    }

    /// Cancels the closure `id`, which services follow within 5 s. Returns it; `None` if no such closure is scheduled.
    pub async fn cancel_closure(&self, id: i64) -> Result<Option<DialectClosure>> {
        self.deps.closures.cancel_closure(id, self.now()).await
    }
}
