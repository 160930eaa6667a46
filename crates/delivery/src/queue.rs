//! One channel's queue: bounded, with so many messages on their way at once, so long for each attempt and so many
//! attempts; and a memory of how the provider does, so that a client learns at once that no code will come.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use stele_core::ports::CodeMessage;
use stele_core::{Error, Result};
use stele_service::request_context::RequestId;
use stele_service::{request_context, trace};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tracing::{Instrument as _, Span};

use crate::metrics::{ChannelMetrics, DeliveryMetrics};
use crate::retry::{DeliveryReport, Provider, deliver_with_retries};

/// What a channel's queue holds to.
#[derive(Clone, Copy, Debug)]
pub struct QueueConfig {
    /// Messages that wait or are on their way; more are refused.
    pub max_pending: usize,
    /// Messages on their way at once.
    pub max_in_flight: usize,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
    /// Attempts for one message.
    pub max_attempts: u32,
    /// The pause before the second attempt; it doubles before each further one.
    pub initial_backoff: Duration,
    /// How old a message may be when an attempt starts: later its code is of no use to anyone.
    pub max_message_age: Duration,
    /// How old the oldest message may be, or for how long the provider may have failed, before more are refused.
    pub failure_tolerance: Duration,
    /// How long a process that stops waits for what it has promised.
    pub drain_timeout: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            max_pending: 1024,
            max_in_flight: 16,
            attempt_timeout: Duration::from_secs(5),
            max_attempts: 3,
            initial_backoff: Duration::from_secs(1),
            max_message_age: Duration::from_secs(300),
            failure_tolerance: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// The way into a channel.
pub(super) struct DeliveryQueue {
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedSender<QueuedMessage>,
}

struct Shared {
    channel: &'static str,
    config: QueueConfig,
    state: Mutex<QueueState>,
    pending_count: watch::Sender<usize>,
    metrics: ChannelMetrics,
}

#[derive(Default)]
struct QueueState {
    next_number: u64,
    /// When what waits or is on its way was taken on, oldest first.
    pending: BTreeMap<u64, Instant>,
    failure_streak: Option<FailureStreak>,
}

/// The provider has failed since its last success.
struct FailureStreak {
    first_failure: Instant,
    last_failure: Instant,
}

/// A message that waits or is on its way, until it is dropped.
struct QueuedMessage {
    message: CodeMessage,
    number: u64,
    enqueued_at: Instant,
    /// Around the lines of the log: by the id of the request that asked for it.
    log_span: Span,
    /// Its span in the trace of that request.
    trace_span: Span,
    shared: Arc<Shared>,
}

impl DeliveryQueue {
    /// A queue to `provider`, served by tasks of the runtime that this is called in.
    pub(super) fn start<P: Provider>(provider: P, bounds: QueueConfig, metrics: &DeliveryMetrics) -> Self {
        let shared = Arc::new(Shared {
            channel: P::CHANNEL,
            config: bounds,
            state: Mutex::default(),
            pending_count: watch::Sender::new(0),
            metrics: metrics.channel(P::CHANNEL),
        });
        let (jobs, queue) = mpsc::unbounded_channel();
        tokio::spawn(run_workers(Arc::new(provider), bounds, queue));
        Self { shared, jobs }
    }

    /// Whether a message would be taken on.
    pub(super) fn check_available(&self) -> Result<()> {
        self.shared.check_available(&self.shared.state())
    }

    /// Takes a message on.
    pub(super) fn enqueue(&self, message: CodeMessage) -> Result<()> {
        let (number, since) = {
            let mut state = self.shared.state();
            self.shared.check_available(&state)?;
            let (number, since) = (state.next_number, Instant::now());
            state.next_number += 1;
            state.pending.insert(number, since);
            self.shared.publish_pending_count(&state);
            (number, since)
        };
        let id = request_context::current_client().map(|client| client.request_id);
        let channel = self.shared.channel;
        let log = tracing::error_span!(parent: None, "delivery", channel, id = id.as_ref().map(RequestId::as_str));
        let trace = trace::delivery_span(channel);
        let job = QueuedMessage {
            message,
            number,
            enqueued_at: since,
            log_span: log,
            trace_span: trace,
            shared: self.shared.clone(),
        };
        self.jobs.send(job).map_err(|_| Error::unavailable(format!("{}: its tasks have ended", self.shared.channel)))
    }

    /// Waits, as long as the bounds allow, until nothing waits or is on its way. Gives how many messages are left.
    pub(super) async fn drain(&self) -> usize {
        let mut left = self.shared.pending_count.subscribe();
        // The sender lives as long as this queue.
        let _ = timeout(self.shared.config.drain_timeout, left.wait_for(|&left| left == 0)).await;
        *left.borrow()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses more. While the provider fails, one message at a time still goes through, to find out whether it is
    /// well again.
    fn check_available(&self, state: &QueueState) -> Result<()> {
        let channel = self.channel;
        let Some((_, oldest)) = state.pending.first_key_value() else { return Ok(()) };
        if state.pending.len() >= self.config.max_pending {
            return Err(Error::unavailable(format!("{channel}: the queue is full")));
        }
        let stale = self.config.failure_tolerance;
        // A failure of yesterday says nothing of today.
        let ill = |t: &FailureStreak| t.first_failure.elapsed() > stale && t.last_failure.elapsed() <= stale;
        if oldest.elapsed() > stale || state.failure_streak.as_ref().is_some_and(ill) {
            return Err(Error::unavailable(format!("{channel}: the provider has been failing or too slow")));
        }
        Ok(())
    }

    fn publish_pending_count(&self, state: &QueueState) {
        self.pending_count.send_replace(state.pending.len());
        self.metrics.pending.set(i64::try_from(state.pending.len()).unwrap_or(i64::MAX));
    }

    fn record_success(&self) {
        self.state().failure_streak = None;
    }

    fn record_report(&self, report: &DeliveryReport, trace: &Span) {
        self.metrics.retries.inc_by(u64::from(report.attempts.saturating_sub(1)));
        trace.record("stele.delivery.attempts", report.attempts);
        if report.delivered {
            self.metrics.delivered.inc();
        } else {
            self.metrics.failed.inc();
            trace::record_error(trace, "undelivered");
        }
    }

    fn record_failure(&self) {
        let last = Instant::now();
        let mut state = self.state();
        let since = state
            .failure_streak
            .take()
            .filter(|t| t.last_failure.elapsed() <= self.config.failure_tolerance)
            .map_or(last, |t| t.first_failure);
        state.failure_streak = Some(FailureStreak { first_failure: since, last_failure: last });
    }
}

impl Drop for QueuedMessage {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.pending.remove(&self.number);
        self.shared.publish_pending_count(&state);
    }
}

async fn run_workers<P: Provider>(
    provider: Arc<P>,
    bounds: QueueConfig,
    mut queue: mpsc::UnboundedReceiver<QueuedMessage>,
) {
    let slots = Arc::new(Semaphore::new(bounds.max_in_flight));
    while let Some(job) = queue.recv().await {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let provider = provider.clone();
        tokio::spawn(async move {
            let shared = &job.shared;
            let note = |well| if well { shared.record_success() } else { shared.record_failure() };
            let work = deliver_with_retries(provider.as_ref(), &job.message, job.enqueued_at, &bounds, note);
            let work = AssertUnwindSafe(work)
                .catch_unwind()
                .instrument(job.log_span.clone())
                .instrument(job.trace_span.clone());
            let report = work.await.unwrap_or_else(|_| {
                tracing::error!(parent: &job.log_span, "delivery panicked");
                DeliveryReport { delivered: false, attempts: 1 }
            });
            shared.record_report(&report, &job.trace_span);
            drop((job, slot));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared_state() -> Shared {
        let bounds = QueueConfig { failure_tolerance: Duration::from_secs(20), ..QueueConfig::default() };
        let count = DeliveryMetrics::default().channel("sms");
        Shared {
            channel: "sms",
            config: bounds,
            state: Mutex::default(),
            pending_count: watch::Sender::new(0),
            metrics: count,
        }
    }

    fn ago(seconds: u64) -> Instant {
        Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap()
    }

    fn accepts(pending: Option<Instant>, trouble: Option<(Instant, Instant)>) -> bool {
        let trouble = trouble.map(|(since, last)| FailureStreak { first_failure: since, last_failure: last });
        shared_state()
            .check_available(&QueueState {
                next_number: 1,
                pending: pending.map(|since| (0, since)).into_iter().collect(),
                failure_streak: trouble,
            })
            .is_ok()
    }

    #[test]
    fn a_failing_or_slow_provider_gets_one_probe_message_at_a_time() {
        assert!(accepts(None, None));
        assert!(accepts(Some(ago(19)), None));
        assert!(!accepts(Some(ago(21)), None), "too slow");
        assert!(accepts(Some(ago(1)), Some((ago(19), ago(0)))), "not for long yet");
        assert!(!accepts(Some(ago(1)), Some((ago(21), ago(0)))), "failing for too long");
        assert!(accepts(None, Some((ago(21), ago(0)))), "one, to find out");
        assert!(accepts(Some(ago(1)), Some((ago(86_400), ago(86_000)))), "failures of yesterday");
    }

    #[test]
    fn a_failure_streak_lasts_from_first_failure_to_next_success() {
        let shared = shared_state();
        let since = || shared.state().failure_streak.as_ref().map(|t| t.first_failure);
        shared.record_failure();
        let first = since().unwrap();
        shared.record_failure();
        assert_eq!(since(), Some(first));
        shared.record_success();
        assert_eq!(since(), None);
        shared.state().failure_streak = Some(FailureStreak { first_failure: ago(100), last_failure: ago(50) });
        shared.record_failure();
        assert!(since().unwrap() > first, "what failed long ago is another story");
    }
}
