//! Audit log writer: a bounded queue in memory, written to the database in batches (ADR 13).
//!
//! No request waits for the writer. An event is in the database within a second, if the database responds; repeated
//! failures are counted, and their count is written within a further minute (`failure_merging`). A killed process loses
//! only its unwritten events. While the database cannot be written, the queue grows up to a bound; beyond it,
//! the services apply backpressure and reject every request ([`AuditLogWriter::is_full`]).

mod failure_merging;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use stele_core::Result;
use stele_core::audit_log::{AuditLogEntry, AuditLogPolicy, FailureClass, SUPPRESSED_FAILURES};
use stele_core::event::Event;
use stele_core::ports::{AuditLogStore, EventSink};
use stele_core::random::{OsRandom, Random as _};
use stele_core::time::Clock;
use stele_service::metrics::{self, Labels, Metrics};
use stele_service::setting::{SettingFromText as _, ValueRange, parsed, with_derived_default};
use stele_service::{ConfigError, Settings};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

pub use self::failure_merging::AuditRateLimits;
use self::failure_merging::{FailureMerger, MergeOutcome, Suppression};

stele_service::settings! {
    /// The audit log.
    pub const SETTINGS = "STELE_";
    /// retention of the audit log (`stele audit`), at least a day; 0: entries are never deleted
    AUDIT_KEEP: Option<Duration> = parsed(parse_retention, "a duration such as 30d or 8760h", "184d");
    /// audit log entries an hour for failures from one address or IPv6 /64 (a MeFP app: ten times as many), for guesses
    /// and for other rejections each; further failures are only counted
    AUDIT_ORIGIN: u32 = with_derived_default(|| AuditRateLimits::default().per_origin).range(10, 100_000);
    /// audit log entries an hour and process for guesses: wrong passwords and codes of existing accounts
    AUDIT_GUESSES: u32 = with_derived_default(|| AuditRateLimits::default().guesses).range(10, 1_000_000);
    /// audit log entries an hour and process for all other failures
    AUDIT_REFUSALS: u32 = with_derived_default(|| AuditRateLimits::default().refusals).range(10, 1_000_000);
}

fn parse_retention(text: &str) -> std::result::Result<Option<Duration>, String> {
    match Duration::from_text(text, ValueRange::ANY)? {
        Duration::ZERO => Ok(None),
        retention if retention < Duration::from_secs(86_400) => {
            Err("must be at least a day, or 0 to keep all entries".to_owned())
        }
        retention => Ok(Some(retention)),
    }
}

/// Configuration of the audit log.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditLogConfig {
    /// The age at which entries are deleted; `None`: never.
    pub retention: Option<Duration>,
    /// The most entries an hour for failures.
    pub rate_limits: AuditRateLimits,
}

impl AuditLogConfig {
    /// Reads `STELE_AUDIT_KEEP`, `STELE_AUDIT_ORIGIN`, `STELE_AUDIT_GUESSES` and `STELE_AUDIT_REFUSALS`.
    ///
    /// # Errors
    /// The first invalid setting.
    pub(crate) fn from_settings(settings: &Settings) -> std::result::Result<Self, ConfigError> {
        let rate_limits = AuditRateLimits {
            per_origin: settings.get(&AUDIT_ORIGIN)?,
            guesses: settings.get(&AUDIT_GUESSES)?,
            refusals: settings.get(&AUDIT_REFUSALS)?,
        };
        Ok(Self { retention: settings.get(&AUDIT_KEEP)?, rate_limits })
    }
}

/// How long an event waits for others of the same batch.
const BATCH_DELAY: Duration = Duration::from_millis(200);
/// The most entries in one write. A full batch is written without waiting.
const MAX_BATCH: usize = 2_048;
/// With this many unwritten events, the services reject requests (backpressure).
const BACKPRESSURE_THRESHOLD: usize = 32_768;
/// Capacity of the queue: beyond the threshold, requests in flight can still record their events.
const QUEUE_CAPACITY: usize = 2 * BACKPRESSURE_THRESHOLD;
/// Delay before a failed write is retried.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long a stopping program waits for unwritten entries.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval of deleting expired entries.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
/// The most entries deleted by one statement.
const PURGE_BATCH: u32 = 10_000;

/// Writes the audit log of a process.
pub struct AuditLogWriter {
    store: Arc<dyn AuditLogStore>,
    clock: Arc<dyn Clock>,
    retention: Option<Duration>,
    /// Random id of this process, which is part of the id of each entry.
    source: i64,
    /// Operating system user and host, recorded as the author of administrative actions.
    operator: String,
    queue: Mutex<Queue>,
    /// Number of events in `queue` and `unwritten`.
    pending: AtomicUsize,
    /// Notified when the queue is no longer empty.
    non_empty: Notify,
    /// Notified when the queue holds a full batch.
    batch_ready: Notify,
    unwritten: tokio::sync::Mutex<UnwrittenEntries>,
    /// Whether the last write failed.
    is_failing: AtomicBool,
    written: Counter,
    lost: Counter,
    merged: Counter,
    suppressed: Family<Labels<1>, Counter>,
}

struct Queue {
    events: Vec<Event>,
    merger: FailureMerger,
}

/// Entries taken from the queue and not yet written; a failed write is retried with them.
#[derive(Default)]
struct UnwrittenEntries {
    entries: Vec<AuditLogEntry>,
    /// The sequence number of the last entry taken from the queue.
    last_seq: i64,
}

impl AuditLogWriter {
    /// Creates a writer to `store`. The writer writes nothing until [`AuditLogWriter::run`] is polled or
    /// [`AuditLogWriter::flush`] is called.
    pub fn new(
        store: Arc<dyn AuditLogStore>,
        clock: Arc<dyn Clock>,
        config: AuditLogConfig,
        metrics: &Metrics,
    ) -> Arc<Self> {
        let mut source = [0; 8];
        OsRandom.fill(&mut source);
        let now = Instant::now();
        let writer = Arc::new(Self {
            store,
            clock,
            retention: config.retention,
            source: i64::from_le_bytes(source) & i64::MAX,
            operator: operator_identity(),
            queue: Mutex::new(Queue { events: Vec::new(), merger: FailureMerger::new(config.rate_limits, now) }),
            pending: AtomicUsize::new(0),
            non_empty: Notify::new(),
            batch_ready: Notify::new(),
            unwritten: tokio::sync::Mutex::default(),
            is_failing: AtomicBool::new(false),
            written: Counter::default(),
            lost: Counter::default(),
            merged: Counter::default(),
            suppressed: Family::default(),
        });
        metrics.register("stele_audit_written", "Entries written to the audit log", writer.written.clone());
        metrics.register("stele_audit_lost", "Events lost because the audit log's queue was full", writer.lost.clone());
        let help = "Repeated failures that are counted in one entry of the audit log";
        metrics.register("stele_audit_merged", help, writer.merged.clone());
        let help = "Failures beyond the rate limits of the audit log, which are only counted";
        metrics.register("stele_audit_not_kept", help, writer.suppressed.clone());
        for class in [FailureClass::Guess, FailureClass::Refusal] {
            drop(writer.suppressed.get_or_create(&[("class", class.as_str())]));
        }
        metrics.register_collector(Box::new(PendingCollector(writer.clone())));
        writer
    }

    /// Backpressure: whether so many events are unwritten that new requests must be rejected.
    pub fn is_full(&self) -> bool {
        self.pending.load(Ordering::Relaxed) >= BACKPRESSURE_THRESHOLD
    }

    /// Whether the last write failed. The writer retries it until it succeeds.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }
}

impl EventSink for AuditLogWriter {
    fn record(&self, event: Event) {
        let policy = AuditLogPolicy::for_event(&event);
        if policy == AuditLogPolicy::Discard {
            return;
        }
        let mut queue = lock_queue(&self.queue);
        let event = match policy {
            AuditLogPolicy::Aggregate(class) => match queue.merger.record(class, event, Instant::now()) {
                MergeOutcome::OwnEntry(event) => event,
                MergeOutcome::Counted => {
                    self.merged.inc();
                    return;
                }
                MergeOutcome::Suppressed(suppression) => {
                    self.suppressed.get_or_create(&[("class", class.as_str())]).inc();
                    if suppression == Suppression::WindowOpened {
                        self.non_empty.notify_one();
                    }
                    return;
                }
            },
            _ => event,
        };
        if self.pending.load(Ordering::Relaxed) >= QUEUE_CAPACITY {
            self.lost.inc();
            return;
        }
        queue.events.push(event);
        self.pending.fetch_add(1, Ordering::Relaxed);
        match queue.events.len() {
            1 => self.non_empty.notify_one(),
            MAX_BATCH => self.batch_ready.notify_one(),
            _ => {}
        }
    }
}

impl AuditLogWriter {
    /// Writes all recorded events.
    ///
    /// # Errors
    /// If the database cannot be written; the next write retries the unwritten entries.
    pub async fn flush(&self) -> Result<()> {
        self.write_pending(|merger| merger.close_ended_windows(Instant::now())).await
    }

    /// Writes all recorded events, and the entries that `close_windows` makes of counted failures.
    async fn write_pending(&self, close_windows: impl FnOnce(&mut FailureMerger) -> Vec<AuditLogEntry>) -> Result<()> {
        let mut unwritten = self.unwritten.lock().await;
        let UnwrittenEntries { entries, last_seq: seq } = &mut *unwritten;
        let (events, closed_windows) = {
            let mut queue = lock_queue(&self.queue);
            // While entries of a failed write remain, windows stay open and count further failures.
            let closed_windows = if entries.is_empty() { close_windows(&mut queue.merger) } else { Vec::new() };
            (std::mem::take(&mut queue.events), closed_windows)
        };
        self.pending.fetch_add(closed_windows.len(), Ordering::Relaxed);
        let events = events.into_iter().map(|event| AuditLogEntry::new(event, self.source, 0, &self.operator));
        for mut entry in events.chain(closed_windows) {
            warn_if_suppressed(&entry);
            *seq += 1;
            (entry.id.source, entry.id.seq) = (self.source, *seq);
            entries.push(entry);
        }
        while !entries.is_empty() {
            let batch_len = entries.len().min(MAX_BATCH);
            let result = self.store.append(&entries[..batch_len]).await;
            self.is_failing.store(result.is_err(), Ordering::Relaxed);
            result?;
            entries.drain(..batch_len);
            self.pending.fetch_sub(batch_len, Ordering::Relaxed);
            self.written.inc_by(batch_len as u64);
        }
        Ok(())
    }

    /// Writes recorded events and deletes expired entries. Runs until dropped.
    pub async fn run(&self) {
        tokio::join!(self.run_writer(), self.run_purge());
    }

    async fn run_writer(&self) {
        let mut has_failed = false;
        loop {
            if !has_failed {
                self.wait_for_work().await;
            }
            match self.flush().await {
                Ok(()) if has_failed => {
                    has_failed = false;
                    tracing::info!("the audit log is written again, with the entries that waited");
                }
                Ok(()) => {}
                Err(cause) => {
                    if !has_failed {
                        tracing::error!(%cause, "the audit log cannot be written; entries wait in memory");
                    }
                    has_failed = true;
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// Waits for an event and the rest of its batch, or until a window of counted failures ends.
    async fn wait_for_work(&self) {
        let deadline = lock_queue(&self.queue).merger.next_deadline();
        let window_end = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.non_empty.notified() => {
                tokio::select! { () = sleep(BATCH_DELAY) => {}, () = self.batch_ready.notified() => {} }
            }
            () = window_end => {}
        }
    }

    async fn run_purge(&self) {
        let Some(retention) = self.retention else { return };
        let mut ticks = tokio::time::interval(PURGE_INTERVAL);
        loop {
            ticks.tick().await;
            loop {
                match self.store.delete_before(self.clock.now().saturating_sub(retention), PURGE_BATCH).await {
                    Ok(deleted) if deleted >= PURGE_BATCH.into() => sleep(RETRY_DELAY).await,
                    Ok(_) => break,
                    Err(cause) => {
                        tracing::warn!(%cause, "expired audit log entries cannot be deleted; retrying in a minute");
                        break;
                    }
                }
            }
        }
    }

    /// Graceful shutdown: writes the remaining events and the counted failures, within 5 s.
    pub async fn drain(&self) {
        let cause = match tokio::time::timeout(DRAIN_TIMEOUT, self.write_remaining()).await {
            Ok(Ok(())) => return,
            Ok(Err(cause)) => cause.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        let lost = self.pending.load(Ordering::Relaxed);
        tracing::error!(lost, cause, "the last entries of the audit log could not be written");
    }

    async fn write_remaining(&self) -> Result<()> {
        // First the unwritten events, then the failures counted meanwhile.
        self.write_pending(|_| Vec::new()).await?;
        self.write_pending(FailureMerger::close_all_windows).await
    }
}

/// Logs suppressed failures, so that operators learn of a flood without reading the audit log.
fn warn_if_suppressed(entry: &AuditLogEntry) {
    if entry.action == SUPPRESSED_FAILURES {
        let (class, failures, origins) = (&*entry.result, entry.count, entry.origins);
        tracing::warn!(
            class,
            failures,
            origins,
            "more failures than the audit log records (STELE_AUDIT_ORIGIN, …_GUESSES, …_REFUSALS); counted in one entry"
        );
    }
}

/// The operating system user and host of this process, recorded as the author of administrative actions.
pub fn operator_identity() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("uid:{}@{host}", rustix::process::getuid().as_raw())
}

fn lock_queue(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gauge of the events that are not yet written.
struct PendingCollector(Arc<AuditLogWriter>);

impl std::fmt::Debug for PendingCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingCollector")
    }
}

impl Collector for PendingCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let pending = self.0.pending.load(Ordering::Relaxed) as f64;
        metrics::encode_gauge(
            &mut encoder,
            "stele_audit_pending",
            "Events that are not yet written to the audit log",
            pending,
        )
    }
}

#[cfg(test)]
#[path = "audit_log_tests.rs"]
mod tests;
