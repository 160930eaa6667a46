//! One channel's queue: bounded, with so many messages on their way at once, so long for each attempt and so many
//! attempts; and a memory of how the provider does, so that a client learns at once that no code will come.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use stele_core::ports::Message;
use stele_core::{Error, Result};
use stele_service::request::RequestId;
use stele_service::{request, trace};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tracing::{Instrument as _, Span};

use crate::attempt::{Provider, Report, deliver};
use crate::metrics::{Channel, DeliveryMetrics};

/// What a channel's queue holds to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Messages that wait or are on their way; more are refused.
    pub pending: usize,
    /// Messages on their way at once.
    pub workers: usize,
    /// How long one attempt may take.
    pub attempt: Duration,
    /// Attempts for one message.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles before each further one.
    pub pause: Duration,
    /// How old a message may be when an attempt starts: later its code is of no use to anyone.
    pub worth: Duration,
    /// How old the oldest message may be, or for how long the provider may have failed, before more are refused.
    pub stale: Duration,
    /// How long a process that stops waits for what it has promised.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            pending: 1024,
            workers: 16,
            attempt: Duration::from_secs(5),
            attempts: 3,
            pause: Duration::from_secs(1),
            worth: Duration::from_secs(300),
            stale: Duration::from_secs(20),
            drain: Duration::from_secs(5),
        }
    }
}

/// The way into a channel.
pub(super) struct Queue {
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedSender<Job>,
}

struct Shared {
    channel: &'static str,
    bounds: Bounds,
    state: Mutex<State>,
    left: watch::Sender<usize>,
    count: Channel,
}

#[derive(Default)]
struct State {
    next: u64,
    /// When what waits or is on its way was taken on, oldest first.
    pending: BTreeMap<u64, Instant>,
    trouble: Option<Trouble>,
}

/// The provider has failed since its last success.
struct Trouble {
    since: Instant,
    last: Instant,
}

/// A message that waits or is on its way, until it is dropped.
struct Job {
    message: Message,
    number: u64,
    since: Instant,
    /// Around the lines of the log: by the id of the request that asked for it.
    log: Span,
    /// Its span in the trace of that request.
    trace: Span,
    shared: Arc<Shared>,
}

impl Queue {
    /// A queue to `provider`, served by tasks of the runtime that this is called in.
    pub(super) fn start<P: Provider>(provider: P, bounds: Bounds, metrics: &DeliveryMetrics) -> Self {
        let shared = Arc::new(Shared {
            channel: P::CHANNEL,
            bounds,
            state: Mutex::default(),
            left: watch::Sender::new(0),
            count: metrics.channel(P::CHANNEL),
        });
        let (jobs, queue) = mpsc::unbounded_channel();
        tokio::spawn(work(Arc::new(provider), bounds, queue));
        Self { shared, jobs }
    }

    /// Whether a message would be taken on.
    pub(super) fn check(&self) -> Result<()> {
        self.shared.check(&self.shared.state())
    }

    /// Takes a message on.
    pub(super) fn take_on(&self, message: Message) -> Result<()> {
        let (number, since) = {
            let mut state = self.shared.state();
            self.shared.check(&state)?;
            let (number, since) = (state.next, Instant::now());
            state.next += 1;
            state.pending.insert(number, since);
            self.shared.tell(&state);
            (number, since)
        };
        let id = request::current().map(|client| client.request);
        let channel = self.shared.channel;
        let log = tracing::error_span!(parent: None, "delivery", channel, id = id.as_ref().map(RequestId::as_str));
        let trace = trace::delivery(channel);
        let job = Job { message, number, since, log, trace, shared: self.shared.clone() };
        self.jobs.send(job).map_err(|_| Error::unavailable(format!("{}: its tasks have ended", self.shared.channel)))
    }

    /// Waits, as long as the bounds allow, until nothing waits or is on its way. Gives how many messages are left.
    pub(super) async fn drain(&self) -> usize {
        let mut left = self.shared.left.subscribe();
        // The sender lives as long as this queue.
        let _ = timeout(self.shared.bounds.drain, left.wait_for(|&left| left == 0)).await;
        *left.borrow()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses more. While the provider fails, one message at a time still goes through, to find out whether it is
    /// well again.
    fn check(&self, state: &State) -> Result<()> {
        let channel = self.channel;
        let Some((_, oldest)) = state.pending.first_key_value() else { return Ok(()) };
        if state.pending.len() >= self.bounds.pending {
            return Err(Error::unavailable(format!("{channel}: the queue is full")));
        }
        let stale = self.bounds.stale;
        // A failure of yesterday says nothing of today.
        let ill = |t: &Trouble| t.since.elapsed() > stale && t.last.elapsed() <= stale;
        if oldest.elapsed() > stale || state.trouble.as_ref().is_some_and(ill) {
            return Err(Error::unavailable(format!("{channel}: the provider has been failing or too slow")));
        }
        Ok(())
    }

    fn tell(&self, state: &State) {
        self.left.send_replace(state.pending.len());
        self.count.pending.set(i64::try_from(state.pending.len()).unwrap_or(i64::MAX));
    }

    fn well(&self) {
        self.state().trouble = None;
    }

    fn book(&self, report: &Report, trace: &Span) {
        self.count.retries.inc_by(u64::from(report.attempts.saturating_sub(1)));
        trace.record("stele.delivery.attempts", report.attempts);
        if report.delivered {
            self.count.delivered.inc();
        } else {
            self.count.failed.inc();
            trace::failed(trace, "undelivered");
        }
    }

    fn ill(&self) {
        let last = Instant::now();
        let mut state = self.state();
        let since = state.trouble.take().filter(|t| t.last.elapsed() <= self.bounds.stale).map_or(last, |t| t.since);
        state.trouble = Some(Trouble { since, last });
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.pending.remove(&self.number);
        self.shared.tell(&state);
    }
}

async fn work<P: Provider>(provider: Arc<P>, bounds: Bounds, mut queue: mpsc::UnboundedReceiver<Job>) {
    let slots = Arc::new(Semaphore::new(bounds.workers));
    while let Some(job) = queue.recv().await {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let provider = provider.clone();
        tokio::spawn(async move {
            let shared = &job.shared;
            let note = |well| if well { shared.well() } else { shared.ill() };
            let work = deliver(provider.as_ref(), &job.message, job.since, &bounds, note);
            let work = AssertUnwindSafe(work).catch_unwind().instrument(job.log.clone()).instrument(job.trace.clone());
            let report = work.await.unwrap_or_else(|_| {
                tracing::error!(parent: &job.log, "delivery panicked");
                Report { delivered: false, attempts: 1 }
            });
            shared.book(&report, &job.trace);
            drop((job, slot));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Shared {
        let bounds = Bounds { stale: Duration::from_secs(20), ..Bounds::default() };
        let count = DeliveryMetrics::default().channel("sms");
        Shared { channel: "sms", bounds, state: Mutex::default(), left: watch::Sender::new(0), count }
    }

    fn ago(seconds: u64) -> Instant {
        Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap()
    }

    fn takes(pending: Option<Instant>, trouble: Option<(Instant, Instant)>) -> bool {
        let trouble = trouble.map(|(since, last)| Trouble { since, last });
        shared()
            .check(&State { next: 1, pending: pending.map(|since| (0, since)).into_iter().collect(), trouble })
            .is_ok()
    }

    #[test]
    fn a_provider_that_fails_or_is_too_slow_gets_one_message_at_a_time() {
        assert!(takes(None, None));
        assert!(takes(Some(ago(19)), None));
        assert!(!takes(Some(ago(21)), None), "too slow");
        assert!(takes(Some(ago(1)), Some((ago(19), ago(0)))), "not for long yet");
        assert!(!takes(Some(ago(1)), Some((ago(21), ago(0)))), "failing for too long");
        assert!(takes(None, Some((ago(21), ago(0)))), "one, to find out");
        assert!(takes(Some(ago(1)), Some((ago(86_400), ago(86_000)))), "failures of yesterday");
    }

    #[test]
    fn trouble_lasts_from_the_first_failure_to_the_next_success() {
        let shared = shared();
        let since = || shared.state().trouble.as_ref().map(|t| t.since);
        shared.ill();
        let first = since().unwrap();
        shared.ill();
        assert_eq!(since(), Some(first));
        shared.well();
        assert_eq!(since(), None);
        shared.state().trouble = Some(Trouble { since: ago(100), last: ago(50) });
        shared.ill();
        assert!(since().unwrap() > first, "what failed long ago is another story");
    }
}
