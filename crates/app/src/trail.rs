//! Keeps the audit trail: a queue in memory, and a writer that empties it into the database in batches.
//!
//! No request waits for it. What happened is in the database within a second, if that answers; repetitions of a failure
//! are counted, and the count is there within a minute more (`merge`). A process that is killed takes with it what it
//! had not written by then, and nothing else is ever lost: while the database cannot be written, the queue grows up to a
//! bound, and beyond that the services refuse every request ([`Trail::is_full`]).

mod merge;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use stele_core::Result;
use stele_core::event::Event;
use stele_core::ports::{Events, TrailStore};
use stele_core::random::{OsRandom, Random as _};
use stele_core::time::Clock;
use stele_core::trail::{Entry, FailureClass, NOT_KEPT, Retention};
use stele_service::metrics::{self, Labels, Metrics};
use stele_service::setting::{FromText as _, Range, derived, parsed};
use stele_service::{ConfigError, Settings};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

pub use self::merge::Budgets;
use self::merge::{Merged, Merger};

stele_service::settings! {
    /// The audit trail.
    pub const SETTINGS = "STELE_";
    /// how long the audit trail goes back (`stele audit` reads it), a day or more; 0: what is old is never forgotten
    AUDIT_KEEP: Option<Duration> = parsed(keep, "a span: 30d, 8760h", "184d");
    /// audit entries an hour for failures from one address or IPv6 /64 (a MeFP app: ten times as many), for guesses and for
    /// refusals each; further failures are only counted
    AUDIT_ORIGIN: u32 = derived(|| Budgets::default().origin).range(10, 100_000);
    /// audit entries an hour and process for wrong passwords and codes of existing accounts
    AUDIT_GUESSES: u32 = derived(|| Budgets::default().guesses).range(10, 1_000_000);
    /// audit entries an hour and process for all other failures
    AUDIT_REFUSALS: u32 = derived(|| Budgets::default().refusals).range(10, 1_000_000);
}

fn keep(text: &str) -> std::result::Result<Option<Duration>, String> {
    match Duration::from_text(text, Range::ANY)? {
        Duration::ZERO => Ok(None),
        short if short < Duration::from_secs(86_400) => Err("must be a day or more, or 0: for good".to_owned()),
        keep => Ok(Some(keep)),
    }
}

/// How long the settings keep the trail (`None`: for good), and its budgets for failures.
pub(crate) fn retention(settings: &Settings) -> std::result::Result<(Option<Duration>, Budgets), ConfigError> {
    let (origin, guesses) = (settings.get(&AUDIT_ORIGIN)?, settings.get(&AUDIT_GUESSES)?);
    let budgets = Budgets { origin, guesses, refusals: settings.get(&AUDIT_REFUSALS)? };
    Ok((settings.get(&AUDIT_KEEP)?, budgets))
}

/// How long an event waits for others to be written with.
const GATHER: Duration = Duration::from_millis(200);
/// How many are written at once; with so many none waits for more.
const BATCH: usize = 2_048;
/// With so many unwritten, services let nobody in.
const FULL: usize = 32_768;
/// What is kept at most: requests that were under way when it was full end too.
const MOST: usize = 2 * FULL;
/// How long it is waited after a write that failed.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a program that stops waits for what it has not written.
const LAST: Duration = Duration::from_secs(5);
/// How often what is too old is forgotten, and how much at once.
const FORGET: (Duration, u32) = (Duration::from_secs(60), 10_000);

/// The audit trail of a process.
pub struct Trail {
    store: Arc<dyn TrailStore>,
    clock: Arc<dyn Clock>,
    keep: Option<Duration>,
    source: i64,
    operator: String,
    queue: Mutex<Queue>,
    /// In the queue and in `unwritten`.
    pending: AtomicUsize,
    /// Something is in the queue that was empty.
    some: Notify,
    /// A whole batch is.
    enough: Notify,
    unwritten: tokio::sync::Mutex<Unwritten>,
    /// Whether the last write failed.
    failing: AtomicBool,
    written: Counter,
    lost: Counter,
    merged: Counter,
    not_kept: Family<Labels<1>, Counter>,
}

struct Queue {
    events: Vec<Event>,
    merger: Merger,
}

/// What is out of the queue; a write that failed is tried again with it.
#[derive(Default)]
struct Unwritten {
    entries: Vec<Entry>,
    /// How many have been out of the queue ever.
    seq: i64,
}

impl Trail {
    /// A trail into `store` that forgets what is older than `keep`, and in which failures have `budgets`. Nothing is written before [`Trail::keep_up`] is
    /// polled or [`Trail::flush`] is called.
    pub fn new(
        store: Arc<dyn TrailStore>,
        clock: Arc<dyn Clock>,
        keep: Option<Duration>,
        budgets: Budgets,
        metrics: &Metrics,
    ) -> Arc<Self> {
        let mut source = [0; 8];
        OsRandom.fill(&mut source);
        let trail = Arc::new(Self {
            store,
            clock,
            keep,
            source: i64::from_le_bytes(source) & i64::MAX,
            operator: operator(),
            queue: Mutex::new(Queue { events: Vec::new(), merger: Merger::new(budgets, Instant::now()) }),
            pending: AtomicUsize::new(0),
            some: Notify::new(),
            enough: Notify::new(),
            unwritten: tokio::sync::Mutex::default(),
            failing: AtomicBool::new(false),
            written: Counter::default(),
            lost: Counter::default(),
            merged: Counter::default(),
            not_kept: Family::default(),
        });
        metrics.register("stele_audit_written", "Entries added to the audit trail", trail.written.clone());
        metrics.register("stele_audit_lost", "Events that found no place in the queue", trail.lost.clone());
        let help = "Repeated failures that the audit trail counts in one entry";
        metrics.register("stele_audit_merged", help, trail.merged.clone());
        let help = "Failures beyond the audit trail's budgets: only counted";
        metrics.register("stele_audit_not_kept", help, trail.not_kept.clone());
        for class in [FailureClass::Guess, FailureClass::Refusal] {
            drop(trail.not_kept.get_or_create(&[("class", class.as_str())]));
        }
        metrics.collect(Box::new(Pending(trail.clone())));
        trail
    }

    /// Whether so much is unwritten that nothing more should be begun.
    pub fn is_full(&self) -> bool {
        self.pending.load(Ordering::Relaxed) >= FULL
    }

    /// Whether the database did not take what was last written. It is tried again until it does.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}

impl Events for Trail {
    fn record(&self, event: Event) {
        let retention = Retention::of(&event);
        if retention == Retention::Discard {
            return;
        }
        let mut queue = lock(&self.queue);
        let event = match retention {
            Retention::Merge(class) => match queue.merger.take(class, event, Instant::now()) {
                Merged::Entry(event) => event,
                Merged::Counted => {
                    self.merged.inc();
                    return;
                }
                Merged::NotKept { first } => {
                    self.not_kept.get_or_create(&[("class", class.as_str())]).inc();
                    if first {
                        self.some.notify_one();
                    }
                    return;
                }
            },
            _ => event,
        };
        if self.pending.load(Ordering::Relaxed) >= MOST {
            self.lost.inc();
            return;
        }
        queue.events.push(event);
        self.pending.fetch_add(1, Ordering::Relaxed);
        match queue.events.len() {
            1 => self.some.notify_one(),
            BATCH => self.enough.notify_one(),
            _ => {}
        }
    }
}

impl Trail {
    /// Writes what has been taken down by now.
    ///
    /// # Errors
    /// The database cannot be written; what is not in it is tried again with the next write.
    pub async fn flush(&self) -> Result<()> {
        self.write_out(|merger| merger.end(Instant::now())).await
    }

    /// Writes what has been taken down by now, and what `ended` gives of the failures that are being counted.
    async fn write_out(&self, ended: impl FnOnce(&mut Merger) -> Vec<Entry>) -> Result<()> {
        let mut unwritten = self.unwritten.lock().await;
        let Unwritten { entries, seq } = &mut *unwritten;
        let (events, ended) = {
            let mut queue = lock(&self.queue);
            // While nothing can be written, they are counted on.
            let ended = if entries.is_empty() { ended(&mut queue.merger) } else { Vec::new() };
            (std::mem::take(&mut queue.events), ended)
        };
        self.pending.fetch_add(ended.len(), Ordering::Relaxed);
        let events = events.into_iter().map(|event| Entry::new(event, self.source, 0, &self.operator));
        for mut entry in events.chain(ended) {
            warn_of(&entry);
            *seq += 1;
            (entry.id.source, entry.id.seq) = (self.source, *seq);
            entries.push(entry);
        }
        while !entries.is_empty() {
            let some = entries.len().min(BATCH);
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
    pub async fn keep_up(&self) {
        tokio::join!(self.write(), self.forget());
    }

    async fn write(&self) {
        let mut failed = false;
        loop {
            if !failed {
                self.something().await;
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
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Waits until there is something to write, and for what may come with it.
    async fn something(&self) {
        let due = lock(&self.queue).merger.due();
        let ended = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.some.notified() => {
                tokio::select! { () = sleep(GATHER) => {}, () = self.enough.notified() => {} }
            }
            () = ended => {}
        }
    }

    async fn forget(&self) {
        let Some(keep) = self.keep else { return };
        let (every, some) = FORGET;
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            loop {
                match self.store.forget(self.clock.now().before(keep), some).await {
                    Ok(gone) if gone >= some.into() => sleep(AGAIN).await,
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
        let cause = match tokio::time::timeout(LAST, self.write_all()).await {
            Ok(Ok(())) => return,
            Ok(Err(cause)) => cause.to_string(),
            Err(late) => late.to_string(),
        };
        let lost = self.pending.load(Ordering::Relaxed);
        tracing::error!(lost, cause, "the audit trail could not be written to its end");
    }

    async fn write_all(&self) -> Result<()> {
        // What could not be written before is first; what was counted meanwhile is next.
        self.write_out(|_| Vec::new()).await?;
        self.write_out(Merger::end_all).await
    }
}

/// Failures beyond the budgets are many: an operator may want to know without looking into the trail.
fn warn_of(entry: &Entry) {
    if entry.act == NOT_KEPT {
        let (class, failures, origins) = (&*entry.result, entry.times, entry.origins);
        tracing::warn!(
            class,
            failures,
            origins,
            "more failures than the audit trail keeps (STELE_AUDIT_ORIGIN, …_GUESSES, …_REFUSALS): counted in one entry"
        );
    }
}

/// Who runs this process: what an administrator's acts are signed with.
fn operator() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("uid:{}@{host}", rustix::process::getuid().as_raw())
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Pending(Arc<Trail>);

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

impl Collector for Pending {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let pending = self.0.pending.load(Ordering::Relaxed) as f64;
        metrics::gauge(&mut encoder, "stele_audit_pending", "Events that are not in the audit trail yet", pending)
    }
}

#[cfg(test)]
#[path = "trail_tests.rs"]
mod tests;
