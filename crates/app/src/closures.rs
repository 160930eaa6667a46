//! Closures of dialects in a running process: reads the schedule every few seconds, and decides from memory which
//! requests are refused (ADR 61).

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use stele_core::Result;
use stele_core::dialect_closure::{ClosureKind, ClosureSchedule};
use stele_core::ports::ClosureStore;
use stele_core::session::DialectName;
use stele_core::time::Clock;
use stele_service::ConfigError;
use stele_service::metrics::{Labels, Metrics};
use tokio::time::MissedTickBehavior;

/// How often the schedule is read. A closure that is scheduled later than this ahead begins everywhere on time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// The closures of this process.
pub struct ClosureMonitor {
    store: Arc<dyn ClosureStore>,
    clock: Arc<dyn Clock>,
    schedule: ClosureSchedule,
    refused: Family<Labels<2>, Counter>,
}

impl ClosureMonitor {
    /// Reads the schedule for the first time, so that a restart does not open a closed dialect.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn open(
        store: Arc<dyn ClosureStore>,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> std::result::Result<Arc<Self>, ConfigError> {
        let (schedule, refused) = (ClosureSchedule::default(), Family::default());
        let monitor = Self { store, clock, schedule, refused };
        let help = "Requests refused because an operator closed the dialect";
        metrics.register("stele_closed_requests", help, monitor.refused.clone());
        monitor.refresh().await.map_err(|error| ConfigError::new(error.to_string()))?;
        Ok(Arc::new(monitor))
    }

    /// Pre-registers the counters of `dialect`, so that they start at zero.
    pub fn preregister(&self, dialect: DialectName) {
        for kind in ClosureKind::all() {
            drop(self.refused.get_or_create(&labels(dialect, kind)));
        }
    }

    /// Reads the schedule.
    ///
    /// # Errors
    /// If the database cannot be read; the schedule that was read last stays in force.
    pub async fn refresh(&self) -> Result<()> {
        self.schedule.replace(self.store.scheduled_closures(self.clock.now()).await?);
        Ok(())
    }

    /// After how many seconds a refused client may retry, which is counted; `None` if `dialect` is open to the client
    /// of this name (`None`: a client without a name).
    pub fn check(&self, dialect: DialectName, client: Option<&str>) -> Option<u64> {
        let refusal = self.schedule.find(dialect, client, || self.clock.now())?;
        self.refused.get_or_create(&labels(dialect, refusal.kind)).inc();
        Some(refusal.retry_after.as_secs())
    }

    /// Reads the schedule every 5 s. Runs until dropped.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut has_failed = false;
        loop {
            ticks.tick().await;
            let result = self.refresh().await;
            let failed_before = std::mem::replace(&mut has_failed, result.is_err());
            match result {
                Err(cause) if !failed_before => tracing::warn!(
                    %cause,
                    "cannot read which dialects are closed (stele sunset); those that were read last stay closed"
                ),
                Ok(()) if failed_before => tracing::info!("the closures of dialects are read again"),
                _ => {}
            }
        }
    }
}

fn labels(dialect: DialectName, kind: ClosureKind) -> Labels<2> {
    [("dialect", dialect), ("closure", kind.as_str())]
}

#[cfg(test)]
#[path = "closures_tests.rs"]
mod tests;
