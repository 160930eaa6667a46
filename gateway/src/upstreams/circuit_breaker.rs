//! When an instance is left alone, and when it is tried again.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stele_service::random;

/// Failures in a row that open a circuit.
const FAILURE_THRESHOLD: u32 = 3;
/// How long the first opening lasts, in milliseconds; each one after a failed trial lasts twice as long.
const INITIAL_BACKOFF_MS: u64 = 1_000;
const MAX_BACKOFF_MS: u64 = 30_000;

const CLOSED: u64 = 0;
const HALF_OPEN: u64 = u64::MAX;

/// Milliseconds of this process. Never 0.
pub(crate) fn monotonic_millis() -> u64 {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(EPOCH.elapsed().as_millis()).unwrap_or(u64::MAX - 1).saturating_add(1)
}

/// Closed: requests pass. Open: none does, for a while. Half-open: one does, and its fate decides.
///
/// All of it is atomic, for every worker asks before every request. Where two of them race, one failure more or less is
/// counted.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    /// [`CLOSED`], [`TRIAL`], or when it may be tried again.
    open_until: AtomicU64,
    failures: AtomicU32,
    consecutive_opens: AtomicU32,
}

/// What a circuit lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Everything.
    Closed,
    /// One request, which is on its way.
    HalfOpen,
    /// Nothing.
    Open,
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

    fn is_trial_due(&self, now: u64) -> bool {
        let until = self.open_until.load(Ordering::Acquire);
        until != CLOSED && until <= now
    }

    /// Takes the one request that an open circuit lets through once its time is over.
    pub(super) fn try_start_trial(&self, now: u64) -> bool {
        let until = self.open_until.load(Ordering::Acquire);
        self.is_trial_due(now)
            && self.open_until.compare_exchange(until, HALF_OPEN, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// A request got its answer. What was sent before the circuit opened does not close it.
    pub(super) fn record_success(&self, trial: bool) {
        if trial {
            self.close();
        } else if self.failures.load(Ordering::Relaxed) != 0 && self.is_closed() {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// The instance is well.
    pub(super) fn close(&self) {
        if self.open_until.load(Ordering::Acquire) != CLOSED || self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.consecutive_opens.store(0, Ordering::Relaxed);
            self.open_until.store(CLOSED, Ordering::Release);
        }
    }

    /// A request failed; whether that opened the circuit.
    pub(super) fn record_failure(&self, now: u64, trial: bool) -> bool {
        if trial {
            return self.open(HALF_OPEN, now);
        }
        self.is_closed()
            && self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURE_THRESHOLD
            && self.open(CLOSED, now)
    }

    /// A look from outside found nobody there.
    pub(super) fn record_failed_probe(&self, now: u64) -> bool {
        if self.is_trial_due(now) {
            return self.open(self.open_until.load(Ordering::Acquire), now);
        }
        self.record_failure(now, false)
    }

    /// A trial ended without telling anything: its client went away.
    pub(super) fn abandon_trial(&self, now: u64) {
        let _ = self.open_until.compare_exchange(HALF_OPEN, now, Ordering::AcqRel, Ordering::Relaxed);
    }

    fn open(&self, from: u64, now: u64) -> bool {
        let before = self.consecutive_opens.load(Ordering::Relaxed);
        let until = now + backoff(before, random::random_u128() as u64);
        let opened = self.open_until.compare_exchange(from, until, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if opened {
            self.consecutive_opens.store(before.saturating_add(1), Ordering::Relaxed);
        }
        opened
    }

    /// For how long it is still open.
    pub(super) fn remaining_backoff(&self, now: u64) -> Duration {
        match self.open_until.load(Ordering::Acquire) {
            CLOSED | HALF_OPEN => Duration::ZERO,
            until => Duration::from_millis(until.saturating_sub(now)),
        }
    }
}

/// 1 s, doubled after each opening, 30 s at most, and shorter by up to half, so that gateways do not try in step.
fn backoff(openings: u32, chance: u64) -> u64 {
    let whole = INITIAL_BACKOFF_MS.saturating_mul(1 << openings.min(16)).min(MAX_BACKOFF_MS);
    whole - chance % (whole / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened_at(at: u64) -> CircuitBreaker {
        let circuit = CircuitBreaker::default();
        assert_eq!([1, 2, 3].map(|_| circuit.record_failure(at, false)), [false, false, true]);
        circuit
    }

    #[test]
    fn the_circuit_opens_after_three_consecutive_failures() {
        let circuit = CircuitBreaker::default();
        for _ in 0..10 {
            assert!(!circuit.record_failure(1, false) && !circuit.record_failure(1, false));
            circuit.record_success(false);
        }
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert_eq!(opened_at(1).state(), CircuitState::Open);
        // What was in flight when it opened tells nothing new.
        let circuit = opened_at(1);
        let left = circuit.remaining_backoff(1);
        assert!(!circuit.record_failure(1, false));
        circuit.record_success(false);
        assert_eq!((circuit.state(), circuit.remaining_backoff(1)), (CircuitState::Open, left));
    }

    #[test]
    fn one_trial_request_passes_after_the_backoff() {
        let circuit = opened_at(1);
        assert!(!circuit.try_start_trial(1 + INITIAL_BACKOFF_MS / 2));
        assert!(circuit.try_start_trial(1 + INITIAL_BACKOFF_MS) && !circuit.try_start_trial(1 + INITIAL_BACKOFF_MS));
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
        circuit.abandon_trial(1 + INITIAL_BACKOFF_MS);
        assert!(circuit.try_start_trial(1 + INITIAL_BACKOFF_MS));
        circuit.record_success(true);
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert!(!circuit.record_failure(1, false), "its failures are forgotten");
    }

    #[test]
    fn each_failed_trial_doubles_the_backoff_up_to_30_seconds() {
        let circuit = opened_at(1);
        let mut now = 1;
        for whole in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let left = u64::try_from(circuit.remaining_backoff(now).as_millis()).unwrap();
            assert!((whole / 2..=whole).contains(&left), "{left} of {whole}");
            now += left;
            assert!(circuit.try_start_trial(now) && circuit.record_failure(now, true));
        }
        circuit.close();
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert!(!circuit.record_failure(now, true), "a trial that comes to its end later than that changes nothing");
    }

    #[test]
    fn a_failed_probe_keeps_the_circuit_open() {
        let circuit = opened_at(1);
        let left = circuit.remaining_backoff(1);
        assert!(!circuit.record_failed_probe(2));
        assert_eq!(circuit.remaining_backoff(1), left);
        assert!(circuit.record_failed_probe(1 + INITIAL_BACKOFF_MS));
        assert!(circuit.remaining_backoff(1 + INITIAL_BACKOFF_MS) >= Duration::from_millis(INITIAL_BACKOFF_MS));
        circuit.close();
        assert_eq!([1, 2, 3].map(|_| circuit.record_failed_probe(9)), [false, false, true]);
    }

    #[test]
    fn the_backoff_stays_within_bounds() {
        for (openings, chance) in [(0, 0), (0, u64::MAX), (40, 7), (u32::MAX, u64::MAX)] {
            assert!((INITIAL_BACKOFF_MS / 2..=MAX_BACKOFF_MS).contains(&backoff(openings, chance)));
        }
    }
}
