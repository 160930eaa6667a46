//! Retention of the use of dialects: deletes what is older than `STELE_USE_KEEP`.

use std::sync::Arc;
use std::time::Duration;

use stele_core::dialect_use::UtcDay;
use stele_core::ports::DialectUseStore;
use stele_core::time::Clock;
use stele_service::setting::{SettingFromText as _, ValueRange, parsed};

stele_service::settings! {
    /// The use of dialects.
    pub const SETTINGS = "STELE_";
    /// retention of the use of dialects (`stele sunset`): who logged in through which dialect on which days, at least 62
    /// days; 0: it is never deleted
    pub(crate) USE_KEEP: Option<Duration> = parsed(parse_retention, "a duration such as 731d", "731d");
}

/// The shortest retention: the preview of a switch-off needs 30 days, twice.
const MIN_RETENTION: Duration = Duration::from_secs(62 * 86_400);
/// Interval of deleting what is too old.
const PURGE_INTERVAL: Duration = Duration::from_secs(600);
/// Delay between two batches.
const BATCH_DELAY: Duration = Duration::from_millis(500);
/// The most rows deleted by one statement.
const PURGE_BATCH: u32 = 5_000;

fn parse_retention(text: &str) -> Result<Option<Duration>, String> {
    match Duration::from_text(text, ValueRange::ANY)? {
        Duration::ZERO => Ok(None),
        retention if retention < MIN_RETENTION => Err("must be at least 62d, or 0 to keep everything".to_owned()),
        retention => Ok(Some(retention)),
    }
}

/// Deletes the use of dialects that is older than the retention.
pub struct UseRetention {
    pub(crate) store: Arc<dyn DialectUseStore>,
    pub(crate) clock: Arc<dyn Clock>,
    /// `None`: nothing is deleted.
    pub(crate) retention: Option<Duration>,
}

impl UseRetention {
    /// Deletes what is too old every 10 minutes. Runs until dropped.
    pub async fn run(&self) {
        let Some(retention) = self.retention else { return };
        let mut ticks = tokio::time::interval(PURGE_INTERVAL);
        loop {
            ticks.tick().await;
            if let Err(cause) = self.purge(retention).await {
                tracing::warn!(%cause, "old use of dialects cannot be deleted; retrying in ten minutes");
            }
        }
    }

    async fn purge(&self, retention: Duration) -> stele_core::Result<()> {
        let first_kept = UtcDay::of(self.clock.now().saturating_sub(retention));
        while self.store.delete_use_before(first_kept, PURGE_BATCH).await? > 0 {
            tokio::time::sleep(BATCH_DELAY).await;
        }
        Ok(())
    }
}
