//! When an instance is left alone, and when it is tried again.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stele_service::random;

/// Failures in a row that open a circuit.
const THRESHOLD: u32 = 3;
/// How long the first opening lasts, in milliseconds; each one after a failed trial lasts twice as long.
const FIRST: u64 = 1_000;
const LONGEST: u64 = 30_000;

const CLOSED: u64 = 0;
const TRIAL: u64 = u64::MAX;

/// Milliseconds of this process. Never 0.
pub(crate) fn now() -> u64 {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(EPOCH.elapsed().as_millis()).unwrap_or(u64::MAX - 1).saturating_add(1)
}

/// Closed: requests pass. Open: none does, for a while. Half-open: one does, and its fate decides.
///
/// All of it is atomic, for every worker asks before every request. Where two of them race, one failure more or less is
/// counted.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// [`CLOSED`], [`TRIAL`], or when it may be tried again.
    until: AtomicU64,
    failures: AtomicU32,
    openings: AtomicU32,
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

impl Circuit {
    pub(super) fn state(&self) -> CircuitState {
        match self.until.load(Ordering::Acquire) {
            CLOSED => CircuitState::Closed,
            TRIAL => CircuitState::HalfOpen,
            _ => CircuitState::Open,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.until.load(Ordering::Acquire) == CLOSED
    }

    fn is_due(&self, now: u64) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until != CLOSED && until <= now
    }

    /// Takes the one request that an open circuit lets through once its time is over.
    pub(super) fn try_trial(&self, now: u64) -> bool {
        let until = self.until.load(Ordering::Acquire);
        self.is_due(now) && self.until.compare_exchange(until, TRIAL, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// A request got its answer. What was sent before the circuit opened does not close it.
    pub(super) fn succeed(&self, trial: bool) {
        if trial {
            self.close();
        } else if self.failures.load(Ordering::Relaxed) != 0 && self.is_closed() {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// The instance is well.
    pub(super) fn close(&self) {
        if self.until.load(Ordering::Acquire) != CLOSED || self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.openings.store(0, Ordering::Relaxed);
            self.until.store(CLOSED, Ordering::Release);
        }
    }

    /// A request failed; whether that opened the circuit.
    pub(super) fn fail(&self, now: u64, trial: bool) -> bool {
        if trial {
            return self.open(TRIAL, now);
        }
        self.is_closed() && self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= THRESHOLD && self.open(CLOSED, now)
    }

    /// A look from outside found nobody there.
    pub(super) fn absent(&self, now: u64) -> bool {
        if self.is_due(now) {
            return self.open(self.until.load(Ordering::Acquire), now);
        }
        self.fail(now, false)
    }

    /// A trial ended without telling anything: its client went away.
    pub(super) fn give_back(&self, now: u64) {
        let _ = self.until.compare_exchange(TRIAL, now, Ordering::AcqRel, Ordering::Relaxed);
    }

    fn open(&self, from: u64, now: u64) -> bool {
        let before = self.openings.load(Ordering::Relaxed);
        let until = now + backoff(before, random::bits128() as u64);
        let opened = self.until.compare_exchange(from, until, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if opened {
            self.openings.store(before.saturating_add(1), Ordering::Relaxed);
        }
        opened
    }

    /// For how long it is still open.
    pub(super) fn left(&self, now: u64) -> Duration {
        match self.until.load(Ordering::Acquire) {
            CLOSED | TRIAL => Duration::ZERO,
            until => Duration::from_millis(until.saturating_sub(now)),
        }
    }
}

/// 1 s, doubled after each opening, 30 s at most, and shorter by up to half, so that gateways do not try in step.
fn backoff(openings: u32, chance: u64) -> u64 {
    let whole = FIRST.saturating_mul(1 << openings.min(16)).min(LONGEST);
    whole - chance % (whole / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(at: u64) -> Circuit {
        let circuit = Circuit::default();
        assert_eq!([1, 2, 3].map(|_| circuit.fail(at, false)), [false, false, true]);
        circuit
    }

    #[test]
    fn it_opens_after_three_failures_in_a_row() {
        let circuit = Circuit::default();
        for _ in 0..10 {
            assert!(!circuit.fail(1, false) && !circuit.fail(1, false));
            circuit.succeed(false);
        }
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert_eq!(opened(1).state(), CircuitState::Open);
        // What was in flight when it opened tells nothing new.
        let circuit = opened(1);
        let left = circuit.left(1);
        assert!(!circuit.fail(1, false));
        circuit.succeed(false);
        assert_eq!((circuit.state(), circuit.left(1)), (CircuitState::Open, left));
    }

    #[test]
    fn one_request_tries_it_when_its_time_is_over() {
        let circuit = opened(1);
        assert!(!circuit.try_trial(1 + FIRST / 2));
        assert!(circuit.try_trial(1 + FIRST) && !circuit.try_trial(1 + FIRST));
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
        circuit.give_back(1 + FIRST);
        assert!(circuit.try_trial(1 + FIRST));
        circuit.succeed(true);
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert!(!circuit.fail(1, false), "its failures are forgotten");
    }

    #[test]
    fn each_failed_trial_doubles_the_wait_up_to_thirty_seconds() {
        let circuit = opened(1);
        let mut now = 1;
        for whole in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let left = u64::try_from(circuit.left(now).as_millis()).unwrap();
            assert!((whole / 2..=whole).contains(&left), "{left} of {whole}");
            now += left;
            assert!(circuit.try_trial(now) && circuit.fail(now, true));
        }
        circuit.close();
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert!(!circuit.fail(now, true), "a trial that comes to its end later than that changes nothing");
    }

    #[test]
    fn whoever_looks_and_finds_nobody_keeps_it_open() {
        let circuit = opened(1);
        let left = circuit.left(1);
        assert!(!circuit.absent(2));
        assert_eq!(circuit.left(1), left);
        assert!(circuit.absent(1 + FIRST));
        assert!(circuit.left(1 + FIRST) >= Duration::from_millis(FIRST));
        circuit.close();
        assert_eq!([1, 2, 3].map(|_| circuit.absent(9)), [false, false, true]);
    }

    #[test]
    fn the_wait_is_never_out_of_bounds() {
        for (openings, chance) in [(0, 0), (0, u64::MAX), (40, 7), (u32::MAX, u64::MAX)] {
            assert!((FIRST / 2..=LONGEST).contains(&backoff(openings, chance)));
        }
    }
}
