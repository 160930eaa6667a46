//! Clock check: compares this machine's clock with the clocks of the stores' servers at the start and every minute. An
//! offset is logged and exposed as a metric; if this machine's clock is wrong, the process is not ready (ADR 47).

mod comparison;

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use stele_core::UseCases;
use stele_service::drain::Readiness;
use stele_service::metrics::{Labels, Metrics};
use tokio::time::{Instant, sleep, timeout};

use comparison::{ClockComparison, Severity, StoreServer};

/// Time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Time between two checks while the process is not ready, or while a clock cannot be read.
const RECHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two log lines about the same offset.
const LOG_INTERVAL: Duration = Duration::from_secs(600);

/// Timeout of the first check within a readiness check: as of a store's ping, below the gateway's health check timeout.
const FIRST_CHECK_TIMEOUT: Duration = Duration::from_millis(700);

/// The clock check of a process.
pub struct ClockCheck {
    use_cases: UseCases,
    gauge: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    /// Held during a check, so that there is one at a time.
    turn: tokio::sync::Mutex<()>,
    last_check: Mutex<LastCheck>,
}

struct LastCheck {
    /// Whether the clocks have been checked at all.
    is_done: bool,
    /// Whether a clock could not be read.
    is_incomplete: bool,
    comparison: ClockComparison,
    not_ready_reason: Option<String>,
    /// What was last logged about each store, and when.
    logged: [Option<(Severity, Instant)>; 2],
}

impl ClockCheck {
    /// A check that exposes `stele_store_clock_offset_seconds` in `metrics`.
    pub(crate) fn new(use_cases: UseCases, metrics: &Metrics) -> Self {
        let gauge = Family::default();
        let help = "Seconds that this machine's clock is ahead of the store's server; negative if it is behind";
        metrics.register("stele_store_clock_offset_seconds", help, gauge.clone());
        let last_check = LastCheck {
            is_done: false,
            is_incomplete: false,
            comparison: ClockComparison::new(use_cases.max_clock_skew()),
            not_ready_reason: None,
            logged: [None, None],
        };
        Self { use_cases, gauge, turn: tokio::sync::Mutex::default(), last_check: Mutex::new(last_check) }
    }

    /// Checks now and periodically. Runs until dropped.
    pub async fn run(&self) {
        loop {
            self.check().await;
            sleep(self.next_interval()).await;
        }
    }

    /// Compares the clocks once. A store that does not respond keeps its last offset.
    pub async fn check(&self) {
        let _turn = self.turn.lock().await;
        self.compare_clocks().await;
    }

    /// Ready unless this machine's clock is wrong. Checks the clocks if they have not been checked yet.
    pub(crate) async fn readiness(&self) -> Readiness {
        if !self.last_check().is_done {
            let first_check = async {
                let _turn = self.turn.lock().await;
                // Another caller may have checked meanwhile.
                if !self.last_check().is_done {
                    self.compare_clocks().await;
                }
            };
            let _ = timeout(FIRST_CHECK_TIMEOUT, first_check).await;
        }
        let last = self.last_check();
        if !last.is_done {
            return Err("the clocks of the stores' servers have not been read yet".to_owned());
        }
        last.not_ready_reason.clone().map_or(Ok(()), Err)
    }

    /// The offsets worth a warning that the last check found, each with the remedy.
    pub fn warnings(&self) -> Vec<String> {
        let last = self.last_check();
        StoreServer::ALL.into_iter().filter_map(|store| last.comparison.warning(store)).map(|(_, text)| text).collect()
    }

    async fn compare_clocks(&self) {
        let (users, state) =
            tokio::join!(self.use_cases.user_store_clock_offsets(), self.use_cases.state_store_clock_offsets());
        let mut last = self.last_check();
        last.is_incomplete = users.is_err() || state.is_err();
        for (store, result) in [(StoreServer::Users, users), (StoreServer::State, state)] {
            match result {
                Ok(offsets) => last.comparison.set(store, offsets),
                Err(error) => tracing::debug!(cause = %error, "cannot read the clock of {store}"),
            }
            if let Some(seconds) = last.comparison.largest_offset_seconds(store) {
                self.gauge.get_or_create(&[("store", store.label())]).set(seconds);
            }
        }
        last.log_changes();
        last.not_ready_reason = last.comparison.not_ready_reason();
        last.is_done = true;
    }

    fn next_interval(&self) -> Duration {
        let last = self.last_check();
        if last.is_incomplete || last.not_ready_reason.is_some() { RECHECK_INTERVAL } else { CHECK_INTERVAL }
    }

    fn last_check(&self) -> MutexGuard<'_, LastCheck> {
        self.last_check.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LastCheck {
    /// Logs an offset when it crosses a threshold, and every [`LOG_INTERVAL`] while it is over one.
    fn log_changes(&mut self) {
        for (store, logged) in StoreServer::ALL.into_iter().zip(&mut self.logged) {
            match (self.comparison.warning(store), &*logged) {
                (None, None) => {}
                (None, Some(_)) => {
                    tracing::info!(store = store.label(), "this machine's clock agrees with {store} again");
                    *logged = None;
                }
                (Some((severity, _)), Some((before, at))) if severity == *before && at.elapsed() < LOG_INTERVAL => {}
                (Some((severity, text)), _) => {
                    let offset_seconds = self.comparison.largest_offset_seconds(store).unwrap_or_default();
                    tracing::warn!(store = store.label(), offset_seconds, "{text}");
                    *logged = Some((severity, Instant::now()));
                }
            }
        }
    }
}
