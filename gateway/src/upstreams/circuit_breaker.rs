//! Circuit breaker of an instance: closed, open after consecutive failures, half-open for one trial request. A successful
//! trial closes it, and so does any answered health check.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stele_service::random;

/// Consecutive failures that open a circuit.
const FAILURE_THRESHOLD: u32 = 3;
/// How long a circuit stays open the first time, in milliseconds, before jitter. The time doubles after each failed
/// trial.
const INITIAL_BACKOFF_MS: u64 = 1_000;
/// The longest time that a circuit stays open, in milliseconds.
const MAX_BACKOFF_MS: u64 = 30_000;

/// Values of [`CircuitBreaker::open_until`] that are no time.
const CLOSED: u64 = 0;
const HALF_OPEN: u64 = u64::MAX;

/// Milliseconds since the first call in this process, plus one, so that 0 can mean "never".
pub(crate) fn monotonic_millis() -> u64 {
    static FIRST_CALL: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(FIRST_CALL.elapsed().as_millis()).unwrap_or(u64::MAX - 1).saturating_add(1)
}

/// Closed: requests pass. Open: none passes until the backoff is over. Half-open: one trial request passes, whose
/// result closes or opens the circuit.
///
/// Lock-free, because every worker checks it before every request. A race between workers may miscount one failure.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    /// [`CLOSED`], [`HALF_OPEN`], or the end of the backoff in [`monotonic_millis`].
    open_until: AtomicU64,
    /// Failures since the last success, while the circuit is closed.
    consecutive_failures: AtomicU32,
    /// Openings since the circuit was last closed, which determine the backoff.
    consecutive_opens: AtomicU32,
}

/// The state of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// All requests pass.
    Closed,
    /// One trial request is in flight; no other passes.
    HalfOpen,
    /// No request passes.
    Open,
}

/// Whether a request was the trial of a half-open circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    Regular,
    Trial,
}

impl CircuitBreaker {
    pub(super) fn state(&self) -> CircuitState {
        match self.open_until.load(Ordering::Acquire) {
            CLOSED => CircuitState::Closed,
            HALF_OPEN => CircuitState::HalfOpen,
            _ => CircuitState::Open,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.open_until.load(Ordering::Acquire) == CLOSED
    }

    /// The end of the backoff, if the circuit is open and the backoff is over, so that a trial is due.
    fn expired_backoff(&self, now: u64) -> Option<u64> {
        let until = self.open_until.load(Ordering::Acquire);
        (until != CLOSED && until <= now).then_some(until)
    }

    /// Changes an open circuit whose backoff is over to half-open, for one trial request. False if the trial is not
    /// due, or another worker started it.
    pub(super) fn try_start_trial(&self, now: u64) -> bool {
        self.expired_backoff(now).is_some_and(|until| {
            self.open_until.compare_exchange(until, HALF_OPEN, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }

    /// Records a request that got its response. A regular request does not close an open circuit, because it was sent
    /// before the circuit opened.
    pub(super) fn record_success(&self, kind: RequestKind) {
        if kind == RequestKind::Trial {
            self.close();
        } else if self.consecutive_failures.load(Ordering::Relaxed) != 0 && self.is_closed() {
            self.consecutive_failures.store(0, Ordering::Relaxed);
        }
    }

    /// Closes the circuit and resets its failures and backoff.
    pub(super) fn close(&self) {
        if self.open_until.load(Ordering::Acquire) != CLOSED || self.consecutive_failures.load(Ordering::Relaxed) != 0 {
            self.consecutive_failures.store(0, Ordering::Relaxed);
            self.consecutive_opens.store(0, Ordering::Relaxed);
            self.open_until.store(CLOSED, Ordering::Release);
        }
    }

    /// Records a failed request. Returns whether the failure opened the circuit.
    pub(super) fn record_failure(&self, now: u64, kind: RequestKind) -> bool {
        if kind == RequestKind::Trial {
            return self.open(HALF_OPEN, now);
        }
        self.is_closed()
            && self.consecutive_failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURE_THRESHOLD
            && self.open(CLOSED, now)
    }

    /// Records a health check that could not connect: it counts as a failed trial if one is due, else as a failed
    /// request. Returns whether the failure opened the circuit.
    pub(super) fn record_failed_probe(&self, now: u64) -> bool {
        match self.expired_backoff(now) {
            Some(until) => self.open(until, now),
            None => self.record_failure(now, RequestKind::Regular),
        }
    }

    /// Ends a trial without a result, for instance because the client aborted the request. The next trial is due at
    /// once.
    pub(super) fn abandon_trial(&self, now: u64) {
        let _ = self.open_until.compare_exchange(HALF_OPEN, now, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Opens the circuit if `open_until` is still `expected`. Returns whether it was.
    fn open(&self, expected: u64, now: u64) -> bool {
        let previous_opens = self.consecutive_opens.load(Ordering::Relaxed);
        let until = now + backoff(previous_opens, random::random_u128() as u64);
        let is_opened = self.open_until.compare_exchange(expected, until, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if is_opened {
            self.consecutive_opens.store(previous_opens.saturating_add(1), Ordering::Relaxed);
        }
        is_opened
    }

    /// How much longer the circuit stays open; zero unless it is open.
    pub(super) fn remaining_backoff(&self, now: u64) -> Duration {
        match self.open_until.load(Ordering::Acquire) {
            CLOSED | HALF_OPEN => Duration::ZERO,
            until => Duration::from_millis(until.saturating_sub(now)),
        }
    }
}

/// Exponential backoff in milliseconds: 1 s, doubled after each opening, at most 30 s. Jitter shortens the backoff by
/// up to half, so that several gateways do not send their trials at the same time.
fn backoff(openings: u32, random: u64) -> u64 {
    let full = INITIAL_BACKOFF_MS.saturating_mul(1 << openings.min(16)).min(MAX_BACKOFF_MS);
    full - random % (full / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit_opened_at(at: u64) -> CircuitBreaker {
        let circuit = CircuitBreaker::default();
        assert_eq!([1, 2, 3].map(|_| circuit.record_failure(at, RequestKind::Regular)), [false, false, true]);
        circuit
    }

    #[test]
    fn the_circuit_opens_after_three_consecutive_failures() {
        let circuit = CircuitBreaker::default();
        for _ in 0..10 {
            assert!(
                !circuit.record_failure(1, RequestKind::Regular) && !circuit.record_failure(1, RequestKind::Regular)
            );
            circuit.record_success(RequestKind::Regular);
        }
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert_eq!(circuit_opened_at(1).state(), CircuitState::Open);
        // Requests that were in flight when the circuit opened change nothing.
        let circuit = circuit_opened_at(1);
        let remaining = circuit.remaining_backoff(1);
        assert!(!circuit.record_failure(1, RequestKind::Regular));
        circuit.record_success(RequestKind::Regular);
        assert_eq!((circuit.state(), circuit.remaining_backoff(1)), (CircuitState::Open, remaining));
    }

    #[test]
    fn one_trial_request_passes_after_the_backoff() {
        let circuit = circuit_opened_at(1);
        assert!(!circuit.try_start_trial(1 + INITIAL_BACKOFF_MS / 2));
        assert!(circuit.try_start_trial(1 + INITIAL_BACKOFF_MS) && !circuit.try_start_trial(1 + INITIAL_BACKOFF_MS));
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
        circuit.abandon_trial(1 + INITIAL_BACKOFF_MS);
        assert!(circuit.try_start_trial(1 + INITIAL_BACKOFF_MS));
        circuit.record_success(RequestKind::Trial);
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert!(!circuit.record_failure(1, RequestKind::Regular), "the failure count was reset");
    }

    #[test]
    fn each_failed_trial_doubles_the_backoff_up_to_30_seconds() {
        let circuit = circuit_opened_at(1);
        let mut now = 1;
        for full in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let remaining = u64::try_from(circuit.remaining_backoff(now).as_millis()).unwrap();
            assert!((full / 2..=full).contains(&remaining), "{remaining} of {full}");
            now += remaining;
            assert!(circuit.try_start_trial(now) && circuit.record_failure(now, RequestKind::Trial));
        }
        circuit.close();
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert!(
            !circuit.record_failure(now, RequestKind::Trial),
            "a trial that fails after the circuit closed changes nothing"
        );
    }

    #[test]
    fn a_failed_probe_keeps_the_circuit_open() {
        let circuit = circuit_opened_at(1);
        let remaining = circuit.remaining_backoff(1);
        assert!(!circuit.record_failed_probe(2));
        assert_eq!(circuit.remaining_backoff(1), remaining);
        assert!(circuit.record_failed_probe(1 + INITIAL_BACKOFF_MS));
        assert!(circuit.remaining_backoff(1 + INITIAL_BACKOFF_MS) >= Duration::from_millis(INITIAL_BACKOFF_MS));
        circuit.close();
        assert_eq!([1, 2, 3].map(|_| circuit.record_failed_probe(9)), [false, false, true]);
    }

    #[test]
    fn the_backoff_stays_within_bounds() {
        for (openings, random) in [(0, 0), (0, u64::MAX), (40, 7), (u32::MAX, u64::MAX)] {
            assert!((INITIAL_BACKOFF_MS / 2..=MAX_BACKOFF_MS).contains(&backoff(openings, random)));
        }
    }
}
