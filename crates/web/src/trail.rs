//! Keeps the audit trail: a queue in memory, and a writer that empties it into the database in batches.
//!
//! No request waits for it. What happened is in the database within a second, if that answers; a process that is killed
//! takes with it what it had not written by then, and nothing else is ever lost: while the database cannot be written,
//! the queue grows up to a bound, and beyond that the services let nobody in ([`Trail::is_full`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use stele_core::Result;
use stele_core::event::{Act, Event, Outcome, Subject};
use stele_core::ports::{Events, TrailStore};
use stele_core::random::{OsRandom, Random as _};
use stele_core::session::Dialect;
use stele_core::time::Clock;
use stele_core::trail::Entry;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::metrics::{self, Metrics};

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
    written: Counter,
    lost: Counter,
}

#[derive(Default)]
struct Queue {
    events: Vec<(Event, u32)>,
    /// Where the failures are, so that the same one over and over takes one place.
    failures: HashMap<Failure, usize>,
}

/// What makes two failures the same: the trail says how often it happened rather than repeating itself.
#[derive(PartialEq, Eq, Hash)]
struct Failure {
    act: Act,
    outcome: Outcome,
    subject: Option<Subject>,
    dialect: Option<Dialect>,
    app: String,
    address: Option<IpAddr>,
}

/// What is out of the queue; a write that failed is tried again with it.
#[derive(Default)]
struct Unwritten {
    entries: Vec<Entry>,
    /// How many have been out of the queue ever.
    seq: i64,
}

impl Trail {
    /// A trail into `store` that forgets what is older than `keep`. Nothing is written before [`Trail::keep_up`] is
    /// polled or [`Trail::flush`] is called.
    pub fn new(
        store: Arc<dyn TrailStore>,
        clock: Arc<dyn Clock>,
        keep: Option<Duration>,
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
            queue: Mutex::default(),
            pending: AtomicUsize::new(0),
            some: Notify::new(),
            enough: Notify::new(),
            unwritten: tokio::sync::Mutex::default(),
            written: Counter::default(),
            lost: Counter::default(),
        });
        metrics.register("stele_audit_written", "Entries added to the audit trail", trail.written.clone());
        metrics.register("stele_audit_lost", "Events that found no place in the queue", trail.lost.clone());
        metrics.collect(Box::new(Pending(trail.clone())));
        trail
    }

    /// Whether so much is unwritten that nothing more should be begun.
    pub fn is_full(&self) -> bool {
        self.pending.load(Ordering::Relaxed) >= FULL
    }
}

impl Events for Trail {
    fn record(&self, event: Event) {
        // Drawing a picture is no act on anybody's account.
        if (event.act, event.outcome) == (Act::IssueCaptcha, Outcome::Done) {
            return;
        }
        let mut queue = lock(&self.queue);
        let queue = &mut *queue;
        if event.outcome != Outcome::Done {
            let place = *queue.failures.entry(Failure::of(&event)).or_insert(queue.events.len());
            if let Some((_, times)) = queue.events.get_mut(place) {
                *times = times.saturating_add(1);
                return;
            }
        }
        if self.pending.load(Ordering::Relaxed) >= MOST {
            queue.failures.remove(&Failure::of(&event));
            self.lost.inc();
            return;
        }
        queue.events.push((event, 1));
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
        let mut unwritten = self.unwritten.lock().await;
        let Unwritten { entries, seq } = &mut *unwritten;
        let Queue { events, .. } = std::mem::take(&mut *lock(&self.queue));
        for (event, times) in events {
            *seq += 1;
            entries.push(Entry::new(event, times, self.source, *seq, &self.operator));
        }
        while !entries.is_empty() {
            let some = entries.len().min(BATCH);
            self.store.append(&entries[..some]).await?;
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
                self.some.notified().await;
                tokio::select! { () = sleep(GATHER) => {}, () = self.enough.notified() => {} }
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

    /// Writes what is left, for seconds at most: for a process that stops.
    pub async fn drain(&self) {
        let cause = match tokio::time::timeout(LAST, self.flush()).await {
            Ok(Ok(())) => return,
            Ok(Err(cause)) => cause.to_string(),
            Err(late) => late.to_string(),
        };
        let lost = self.pending.load(Ordering::Relaxed);
        tracing::error!(lost, cause, "the audit trail could not be written to its end");
    }
}

impl Failure {
    fn of(event: &Event) -> Self {
        let door = event.door.as_ref();
        Self {
            act: event.act,
            outcome: event.outcome,
            subject: event.subject.clone(),
            dialect: door.map(|door| door.dialect),
            app: door.map(|door| door.app.clone()).unwrap_or_default(),
            address: event.client.as_ref().map(|client| client.address),
        }
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
