//! Bounded delivery queue of a channel: limits messages in flight, attempts and their duration. While the provider
//! fails or is slow, the queue rejects new messages at once (load shedding), so that clients learn immediately that no
//! code will come.

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
use crate::retry::{DeliveryReport, Provider, ProviderHealth, deliver_with_retries};

/// Limits and timeouts of a channel's queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueConfig {
    /// The most messages in the queue or in flight; further ones are rejected.
    pub max_pending: usize,
    /// The most messages in flight.
    pub max_in_flight: usize,
    /// Timeout of one attempt.
    pub attempt_timeout: Duration,
    /// The most attempts for one message.
    pub max_attempts: u32,
    /// Backoff before the second attempt; it doubles with each further one.
    pub initial_backoff: Duration,
    /// The age from which a message is no longer attempted, since its code would arrive too late.
    pub max_message_age: Duration,
    /// How long the oldest message may be pending, or the provider may fail, before further messages are rejected.
    pub failure_tolerance: Duration,
    /// How long a stopping process waits for pending messages.
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

/// The sending end of a channel's queue.
pub(super) struct DeliveryQueue {
    shared: Arc<Shared>,
    messages: mpsc::UnboundedSender<QueuedMessage>,
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
    /// When each pending message was enqueued, by number; the first is the oldest.
    pending: BTreeMap<u64, Instant>,
    failure_streak: Option<FailureStreak>,
}

/// Failures of the provider since its last success.
struct FailureStreak {
    first_failure: Instant,
    last_failure: Instant,
}

/// A message in the queue or in flight. Counts as pending until dropped.
struct QueuedMessage {
    message: CodeMessage,
    number: u64,
    enqueued_at: Instant,
    /// Adds the id of the request to log lines.
    log_span: Span,
    /// Span in the trace of the request.
    trace_span: Span,
    shared: Arc<Shared>,
}

impl DeliveryQueue {
    /// Starts a queue whose tasks run on the current runtime.
    pub(super) fn start<P: Provider>(provider: P, config: QueueConfig, metrics: &DeliveryMetrics) -> Self {
        let shared = Arc::new(Shared {
            channel: P::CHANNEL,
            config,
            state: Mutex::default(),
            pending_count: watch::Sender::new(0),
            metrics: metrics.channel(P::CHANNEL),
        });
        let (messages, queue) = mpsc::unbounded_channel();
        tokio::spawn(run_workers(Arc::new(provider), config, queue));
        Self { shared, messages }
    }

    /// Checks whether a message would be accepted now.
    pub(super) fn check_available(&self) -> Result<()> {
        self.shared.check_available(&self.shared.lock_state())
    }

    /// Accepts a message for delivery.
    pub(super) fn enqueue(&self, message: CodeMessage) -> Result<()> {
        let (number, enqueued_at) = {
            let mut state = self.shared.lock_state();
            self.shared.check_available(&state)?;
            let (number, enqueued_at) = (state.next_number, Instant::now());
            state.next_number += 1;
            state.pending.insert(number, enqueued_at);
            self.shared.publish_pending_count(&state);
            (number, enqueued_at)
        };
        let id = request_context::current_client().map(|client| client.request_id);
        let channel = self.shared.channel;
        let log_span = tracing::error_span!(parent: None, "delivery", channel, id = id.as_ref().map(RequestId::as_str));
        let trace_span = trace::delivery_span(channel);
        let queued = QueuedMessage { message, number, enqueued_at, log_span, trace_span, shared: self.shared.clone() };
        self.messages
            .send(queued)
            .map_err(|_| Error::unavailable(format!("{channel}: the delivery tasks have stopped")))
    }

    /// Waits, up to `drain_timeout`, until no message is pending. Returns the number of messages still pending.
    pub(super) async fn drain(&self) -> usize {
        let mut pending = self.shared.pending_count.subscribe();
        // `wait_for` cannot fail: the sender lives as long as this queue.
        let _ = timeout(self.shared.config.drain_timeout, pending.wait_for(|&pending| pending == 0)).await;
        *pending.borrow()
    }
}

impl Shared {
    fn lock_state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Load shedding: fails if the queue is full, or the provider has been failing or slow. Meanwhile, a message is
    /// accepted only if no other one is pending, as a circuit breaker's trial request.
    fn check_available(&self, state: &QueueState) -> Result<()> {
        let channel = self.channel;
        let Some((_, oldest)) = state.pending.first_key_value() else { return Ok(()) };
        if state.pending.len() >= self.config.max_pending {
            return Err(Error::unavailable(format!("{channel}: the queue is full")));
        }
        let tolerance = self.config.failure_tolerance;
        // Old failures say nothing about the provider's present state.
        let is_failing = |streak: &FailureStreak| {
            streak.first_failure.elapsed() > tolerance && streak.last_failure.elapsed() <= tolerance
        };
        if oldest.elapsed() > tolerance || state.failure_streak.as_ref().is_some_and(is_failing) {
            return Err(Error::unavailable(format!("{channel}: the provider has been failing or too slow")));
        }
        Ok(())
    }

    fn publish_pending_count(&self, state: &QueueState) {
        self.pending_count.send_replace(state.pending.len());
        self.metrics.pending.set(i64::try_from(state.pending.len()).unwrap_or(i64::MAX));
    }

    fn record_success(&self) {
        self.lock_state().failure_streak = None;
    }

    fn record_report(&self, report: &DeliveryReport, trace_span: &Span) {
        self.metrics.retries.inc_by(u64::from(report.attempts.saturating_sub(1)));
        trace_span.record("stele.delivery.attempts", report.attempts);
        if report.is_delivered {
            self.metrics.delivered.inc();
        } else {
            self.metrics.failed.inc();
            trace::record_error(trace_span, "undelivered");
        }
    }

    fn record_failure(&self) {
        let now = Instant::now();
        let mut state = self.lock_state();
        let first_failure = state
            .failure_streak
            .take()
            .filter(|streak| streak.last_failure.elapsed() <= self.config.failure_tolerance)
            .map_or(now, |streak| streak.first_failure);
        state.failure_streak = Some(FailureStreak { first_failure, last_failure: now });
    }
}

impl Drop for QueuedMessage {
    fn drop(&mut self) {
        let mut state = self.shared.lock_state();
        state.pending.remove(&self.number);
        self.shared.publish_pending_count(&state);
    }
}

async fn run_workers<P: Provider>(
    provider: Arc<P>,
    config: QueueConfig,
    mut queue: mpsc::UnboundedReceiver<QueuedMessage>,
) {
    let slots = Arc::new(Semaphore::new(config.max_in_flight));
    while let Some(queued) = queue.recv().await {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let provider = provider.clone();
        tokio::spawn(async move {
            let shared = &queued.shared;
            let record_health = |health| match health {
                ProviderHealth::Working => shared.record_success(),
                ProviderHealth::Failing => shared.record_failure(),
            };
            let delivery =
                deliver_with_retries(provider.as_ref(), &queued.message, queued.enqueued_at, &config, record_health);
            let delivery = AssertUnwindSafe(delivery)
                .catch_unwind()
                .instrument(queued.log_span.clone())
                .instrument(queued.trace_span.clone());
            let report = delivery.await.unwrap_or_else(|_| {
                tracing::error!(parent: &queued.log_span, "delivery panicked");
                DeliveryReport { is_delivered: false, attempts: 1 }
            });
            shared.record_report(&report, &queued.trace_span);
            drop((queued, slot));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared_state() -> Shared {
        Shared {
            channel: "sms",
            config: QueueConfig { failure_tolerance: Duration::from_secs(20), ..QueueConfig::default() },
            state: Mutex::default(),
            pending_count: watch::Sender::new(0),
            metrics: DeliveryMetrics::default().channel("sms"),
        }
    }

    fn ago(seconds: u64) -> Instant {
        Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap()
    }

    /// Whether a message is accepted while another one is pending since `pending`, after failures from the first to the
    /// second time of `failures`.
    fn accepts(pending: Option<Instant>, failures: Option<(Instant, Instant)>) -> bool {
        let failure_streak =
            failures.map(|(first_failure, last_failure)| FailureStreak { first_failure, last_failure });
        let pending = pending.map(|enqueued_at| (0, enqueued_at)).into_iter().collect();
        shared_state().check_available(&QueueState { next_number: 1, pending, failure_streak }).is_ok()
    }

    #[test]
    fn a_failing_or_slow_provider_gets_one_trial_message_at_a_time() {
        assert!(accepts(None, None));
        assert!(accepts(Some(ago(19)), None));
        assert!(!accepts(Some(ago(21)), None), "too slow");
        assert!(accepts(Some(ago(1)), Some((ago(19), ago(0)))), "failing for less than the tolerance");
        assert!(!accepts(Some(ago(1)), Some((ago(21), ago(0)))), "failing for too long");
        assert!(accepts(None, Some((ago(21), ago(0)))), "one trial message");
        assert!(accepts(Some(ago(1)), Some((ago(86_400), ago(86_000)))), "old failures");
    }

    #[test]
    fn a_failure_streak_lasts_from_first_failure_to_next_success() {
        let shared = shared_state();
        let streak_start = || shared.lock_state().failure_streak.as_ref().map(|streak| streak.first_failure);
        shared.record_failure();
        let first = streak_start().unwrap();
        shared.record_failure();
        assert_eq!(streak_start(), Some(first));
        shared.record_success();
        assert_eq!(streak_start(), None);
        shared.lock_state().failure_streak = Some(FailureStreak { first_failure: ago(100), last_failure: ago(50) });
        shared.record_failure();
        assert!(streak_start().unwrap() > first, "a failure long after the last one starts a new streak");
    }
}
