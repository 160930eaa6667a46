//! Keeps the audit trail: a queue in memory, and a writer that empties it into the database in batches.
//!
//! No request waits for it. What happened is in the database within a second, if that answers; repetitions of a failure
//! are counted, and the count is there within a minute more (`merge`). A process that is killed takes with it what it
//! had not written by then, and nothing else is ever lost: while the database cannot be written, the queue grows up to a
//! bound, and beyond that the services refuse every request ([`AuditLogWriter::is_full`]).

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
use self::failure_merging::{FailureMerger, MergeOutcome};

stele_service::settings! {
    /// The audit trail.
    pub const SETTINGS = "STELE_";
    /// how long the audit trail goes back (`stele audit` reads it), a day or more; 0: what is old is never forgotten
    AUDIT_KEEP: Option<Duration> = parsed(parse_retention, "a span: 30d, 8760h", "184d");
    /// audit entries an hour for failures from one address or IPv6 /64 (a MeFP app: ten times as many), for guesses and for
    /// refusals each; further failures are only counted
    AUDIT_ORIGIN: u32 = with_derived_default(|| AuditRateLimits::default().per_origin).range(10, 100_000);
    /// audit entries an hour and process for wrong passwords and codes of existing accounts
    AUDIT_GUESSES: u32 = with_derived_default(|| AuditRateLimits::default().guesses).range(10, 1_000_000);
    /// audit entries an hour and process for all other failures
    AUDIT_REFUSALS: u32 = with_derived_default(|| AuditRateLimits::default().refusals).range(10, 1_000_000);
}

fn parse_retention(text: &str) -> std::result::Result<Option<Duration>, String> {
    match Duration::from_text(text, ValueRange::ANY)? {
        Duration::ZERO => Ok(None),
        short if short < Duration::from_secs(86_400) => Err("must be a day or more, or 0: for good".to_owned()),
        keep => Ok(Some(keep)),
    }
}

/// How long the settings keep the trail (`None`: for good), and its budgets for failures.
pub(crate) fn audit_settings(
    settings: &Settings,
) -> std::result::Result<(Option<Duration>, AuditRateLimits), ConfigError> {
    let (origin, guesses) = (settings.get(&AUDIT_ORIGIN)?, settings.get(&AUDIT_GUESSES)?);
    let budgets = AuditRateLimits { per_origin: origin, guesses, refusals: settings.get(&AUDIT_REFUSALS)? };
    Ok((settings.get(&AUDIT_KEEP)?, budgets))
}

/// How long an event waits for others to be written with.
const BATCH_DELAY: Duration = Duration::from_millis(200);
/// How many are written at once; with so many none waits for more.
const MAX_BATCH: usize = 2_048;
/// With so many unwritten, services let nobody in.
const BACKPRESSURE_THRESHOLD: usize = 32_768;
/// What is kept at most: requests that were under way when it was full end too.
const QUEUE_CAPACITY: usize = 2 * BACKPRESSURE_THRESHOLD;
/// How long it is waited after a write that failed.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long a program that stops waits for what it has not written.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often what is too old is forgotten, and how much at once.
const PURGE: (Duration, u32) = (Duration::from_secs(60), 10_000);

/// The audit trail of a process.
pub struct AuditLogWriter {
    store: Arc<dyn AuditLogStore>,
    clock: Arc<dyn Clock>,
    retention_period: Option<Duration>,
    source: i64,
    operator: String,
    queue: Mutex<Queue>,
    /// In the queue and in `unwritten`.
    pending: AtomicUsize,
    /// Something is in the queue that was empty.
    non_empty: Notify,
    /// A whole batch is.
    batch_ready: Notify,
    unwritten: tokio::sync::Mutex<UnwrittenEntries>,
    /// Whether the last write failed.
    failing: AtomicBool,
    written: Counter,
    lost: Counter,
    merged: Counter,
    suppressed: Family<Labels<1>, Counter>,
}

struct Queue {
    events: Vec<Event>,
    merger: FailureMerger,
}

/// What is out of the queue; a write that failed is tried again with it.
#[derive(Default)]
struct UnwrittenEntries {
    entries: Vec<AuditLogEntry>,
    /// How many have been out of the queue ever.
    last_seq: i64,
}

impl AuditLogWriter {
    /// A trail into `store` that forgets what is older than `keep`, and in which failures have `budgets`. Nothing is written before [`AuditLogWriter::run`] is
    /// polled or [`AuditLogWriter::flush`] is called.
    pub fn new(
        store: Arc<dyn AuditLogStore>,
        clock: Arc<dyn Clock>,
        keep: Option<Duration>,
        budgets: AuditRateLimits,
        metrics: &Metrics,
    ) -> Arc<Self> {
        let mut source = [0; 8];
        OsRandom.fill(&mut source);
        let trail = Arc::new(Self {
            store,
            clock,
            retention_period: keep,
            source: i64::from_le_bytes(source) & i64::MAX,
            operator: operator_identity(),
            queue: Mutex::new(Queue { events: Vec::new(), merger: FailureMerger::new(budgets, Instant::now()) }),
            pending: AtomicUsize::new(0),
            non_empty: Notify::new(),
            batch_ready: Notify::new(),
            unwritten: tokio::sync::Mutex::default(),
            failing: AtomicBool::new(false),
            written: Counter::default(),
            lost: Counter::default(),
            merged: Counter::default(),
            suppressed: Family::default(),
        });
        metrics.register("stele_audit_written", "Entries added to the audit trail", trail.written.clone());
        metrics.register("stele_audit_lost", "Events that found no place in the queue", trail.lost.clone());
        let help = "Repeated failures that the audit trail counts in one entry";
        metrics.register("stele_audit_merged", help, trail.merged.clone());
        let help = "Failures beyond the audit trail's budgets: only counted";
        metrics.register("stele_audit_not_kept", help, trail.suppressed.clone());
        for class in [FailureClass::Guess, FailureClass::Refusal] {
            drop(trail.suppressed.get_or_create(&[("class", class.as_str())]));
        }
        metrics.register_collector(Box::new(PendingCollector(trail.clone())));
        trail
    }

    /// Whether so much is unwritten that nothing more should be begun.
    pub fn is_full(&self) -> bool {
        self.pending.load(Ordering::Relaxed) >= BACKPRESSURE_THRESHOLD
    }

    /// Whether the database did not take what was last written. It is tried again until it does.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}

impl EventSink for AuditLogWriter {
    fn record(&self, event: Event) {
        let retention = AuditLogPolicy::for_event(&event);
        if retention == AuditLogPolicy::Discard {
            return;
        }
        let mut queue = lock_queue(&self.queue);
        let event = match retention {
            AuditLogPolicy::Aggregate(class) => match queue.merger.record(class, event, Instant::now()) {
                MergeOutcome::Recorded(event) => event,
                MergeOutcome::Counted => {
                    self.merged.inc();
                    return;
                }
                MergeOutcome::Suppressed { first } => {
                    self.suppressed.get_or_create(&[("class", class.as_str())]).inc();
                    if first {
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
    /// Writes what has been taken down by now.
    ///
    /// # Errors
    /// The database cannot be written; what is not in it is tried again with the next write.
    pub async fn flush(&self) -> Result<()> {
        self.write_pending(|merger| merger.close_ended_windows(Instant::now())).await
    }

    /// Writes what has been taken down by now, and what `ended` gives of the failures that are being counted.
    async fn write_pending(&self, ended: impl FnOnce(&mut FailureMerger) -> Vec<AuditLogEntry>) -> Result<()> {
        let mut unwritten = self.unwritten.lock().await;
        let UnwrittenEntries { entries, last_seq: seq } = &mut *unwritten;
        let (events, ended) = {
            let mut queue = lock_queue(&self.queue);
            // While nothing can be written, they are counted on.
            let ended = if entries.is_empty() { ended(&mut queue.merger) } else { Vec::new() };
            (std::mem::take(&mut queue.events), ended)
        };
        self.pending.fetch_add(ended.len(), Ordering::Relaxed);
        let events = events.into_iter().map(|event| AuditLogEntry::new(event, self.source, 0, &self.operator));
        for mut entry in events.chain(ended) {
            warn_if_suppressed(&entry);
            *seq += 1;
            (entry.id.source, entry.id.seq) = (self.source, *seq);
            entries.push(entry);
        }
        while !entries.is_empty() {
            let some = entries.len().min(MAX_BATCH);
            let appended = self.store.append(&entries[..some]).await;
            self.failing.store(appended.is_err(), Ordering::Relaxed);
            appended?;
            entries.drain(..some);
            self.pending.fetch_sub(some, Ordering::Relaxed);
            self.written.inc_by(some as u64);
        }
        Ok(())
    }

    /// Writes what happens, and forgets what is too old, for as long as it is polled.
    pub async fn run(&self) {
        tokio::join!(self.run_writer(), self.run_purge());
    }

    async fn run_writer(&self) {
        let mut failed = false;
        loop {
            if !failed {
                self.wait_for_work().await;
            }
            match self.flush().await {
                Ok(()) if failed => {
                    failed = false;
                    tracing::info!("the audit trail is written again; nothing of it is missing");
                }
                Ok(()) => {}
                Err(cause) => {
                    if !failed {
                        tracing::error!(%cause, "the audit trail cannot be written; it waits in memory");
                    }
                    failed = true;
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// Waits until there is something to write, and for what may come with it.
    async fn wait_for_work(&self) {
        let due = lock_queue(&self.queue).merger.next_deadline();
        let ended = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.non_empty.notified() => {
                tokio::select! { () = sleep(BATCH_DELAY) => {}, () = self.batch_ready.notified() => {} }
            }
            () = ended => {}
        }
    }

    async fn run_purge(&self) {
        let Some(keep) = self.retention_period else { return };
        let (every, some) = PURGE;
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            loop {
                match self.store.delete_before(self.clock.now().saturating_sub(keep), some).await {
                    Ok(gone) if gone >= some.into() => sleep(RETRY_DELAY).await,
                    Ok(_) => break,
                    Err(cause) => {
                        tracing::warn!(%cause, "old entries of the audit trail could not be forgotten");
                        break;
                    }
                }
            }
        }
    }

    /// Writes what is left, and what was counted, for seconds at most: for a process that stops.
    pub async fn drain(&self) {
        let cause = match tokio::time::timeout(DRAIN_TIMEOUT, self.write_remaining()).await {
            Ok(Ok(())) => return,
            Ok(Err(cause)) => cause.to_string(),
            Err(late) => late.to_string(),
        };
        let lost = self.pending.load(Ordering::Relaxed);
        tracing::error!(lost, cause, "the audit trail could not be written to its end");
    }

    async fn write_remaining(&self) -> Result<()> {
        // What could not be written before is first; what was counted meanwhile is next.
        self.write_pending(|_| Vec::new()).await?;
        self.write_pending(FailureMerger::close_all_windows).await
    }
}

/// Failures beyond the budgets are many: an operator may want to know without looking into the trail.
fn warn_if_suppressed(entry: &AuditLogEntry) {
    if entry.action == SUPPRESSED_FAILURES {
        let (class, failures, origins) = (&*entry.result, entry.count, entry.origins);
        tracing::warn!(
            class,
            failures,
            origins,
            "more failures than the audit trail keeps (STELE_AUDIT_ORIGIN, …_GUESSES, …_REFUSALS): counted in one entry"
        );
    }
}

/// Who runs this process: what an administrator's acts are signed with.
fn operator_identity() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("uid:{}@{host}", rustix::process::getuid().as_raw())
}

fn lock_queue(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

struct PendingCollector(Arc<AuditLogWriter>);

impl std::fmt::Debug for PendingCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

impl Collector for PendingCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let pending = self.0.pending.load(Ordering::Relaxed) as f64;
        metrics::encode_gauge(
            &mut encoder,
            "stele_audit_pending",
            "Events that are not in the audit trail yet",
            pending,
        )
    }
}

#[cfg(test)]
#[path = "trail_tests.rs"]
mod tests;
