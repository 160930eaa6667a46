//! Circuit breaker of an old server: closed, open after consecutive failures, half-open for one trial question.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Consecutive failures that open the circuit.
pub(crate) const FAILURE_THRESHOLD: u32 = 5;
/// How long the circuit stays open the first time. The time doubles after each failed trial.
const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
/// The longest time that the circuit stays open.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// After this time another trial is permitted, if a trial has not reported.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Closed: questions pass. Open: none passes until the backoff is over. Half-open: one trial passes, whose result closes
/// or opens the circuit.
#[derive(Default)]
pub(crate) struct CircuitBreaker(Mutex<State>);

#[derive(Default)]
struct State {
    /// Failures since the last success.
    failures: u32,
    /// When the next trial may start; `None` while the circuit is closed.
    next_trial: Option<Instant>,
    /// How long the circuit is open next.
    backoff: Duration,
}

/// How a question passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The circuit was closed.
    Regular,
    /// As the trial of a half-open circuit.
    Trial,
}

/// How the state of the circuit has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    None,
    Opened,
    Closed,
}

impl CircuitBreaker {
    /// How a question may be asked now; `None` if it may not be asked. In an open circuit whose backoff is over, it is
    /// the trial.
    pub(crate) fn try_pass(&self, now: Instant) -> Option<Pass> {
        let mut state = self.state();
        match state.next_trial {
            None => Some(Pass::Regular),
            Some(at) if now < at => None,
            Some(_) => {
                state.next_trial = Some(now + TRIAL_TIMEOUT);
                Some(Pass::Trial)
            }
        }
    }

    /// Records that the server answered. A question that was asked before the circuit opened does not close it.
    pub(crate) fn record_success(&self, pass: Pass) -> Transition {
        let mut state = self.state();
        if state.next_trial.is_some() && pass == Pass::Regular {
            return Transition::None;
        }
        *state = State::default();
        if pass == Pass::Trial { Transition::Closed } else { Transition::None }
    }

    /// Records that the server did not answer, or said that it cannot answer now. Once the circuit is open, only a trial lengthens the
    /// backoff.
    pub(crate) fn record_failure(&self, now: Instant, pass: Pass) -> Transition {
        let mut state = self.state();
        if state.next_trial.is_some() && pass == Pass::Regular {
            return Transition::None;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURE_THRESHOLD && pass == Pass::Regular {
            return Transition::None;
        }
        state.backoff = (state.backoff * 2).clamp(INITIAL_BACKOFF, MAX_BACKOFF);
        state.next_trial = Some(now + state.backoff);
        if pass == Pass::Trial { Transition::None } else { Transition::Opened }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_consecutive_failures_and_closes_after_a_trial() {
        use Pass::{Regular, Trial};
        let (breaker, start) = (CircuitBreaker::default(), Instant::now());
        for _ in 1..FAILURE_THRESHOLD {
            assert_eq!(breaker.record_failure(start, Regular), Transition::None);
        }
        assert_eq!(breaker.record_success(Regular), Transition::None);
        for _ in 1..FAILURE_THRESHOLD {
            assert_eq!(breaker.record_failure(start, Regular), Transition::None, "counted from the last success");
        }
        assert_eq!(breaker.try_pass(start), Some(Regular));
        assert_eq!(breaker.record_failure(start, Regular), Transition::Opened);
        // Questions that were in flight neither lengthen the backoff nor close the circuit.
        for _ in 0..32 {
            assert_eq!(breaker.record_failure(start, Regular), Transition::None);
        }
        assert_eq!(breaker.record_success(Regular), Transition::None);
        assert_eq!(breaker.try_pass(start + INITIAL_BACKOFF - Duration::from_millis(1)), None);
        // One trial, and no second one beside it.
        let trial = start + INITIAL_BACKOFF;
        assert_eq!((breaker.try_pass(trial), breaker.try_pass(trial)), (Some(Trial), None));
        assert_eq!(breaker.record_failure(trial, Trial), Transition::None);
        assert_eq!(breaker.try_pass(trial + INITIAL_BACKOFF), None, "the backoff has doubled");
        assert_eq!(breaker.try_pass(trial + INITIAL_BACKOFF * 2), Some(Trial));
        assert_eq!(breaker.record_success(Trial), Transition::Closed);
        assert_eq!((breaker.try_pass(trial), breaker.try_pass(trial)), (Some(Regular), Some(Regular)));
    }

    #[test]
    fn the_backoff_is_bounded_and_a_lost_trial_does_not_block() {
        let (breaker, start) = (CircuitBreaker::default(), Instant::now());
        for _ in 0..FAILURE_THRESHOLD {
            breaker.record_failure(start, Pass::Regular);
        }
        for _ in 0..100 {
            breaker.record_failure(start, Pass::Trial);
        }
        assert_eq!(breaker.try_pass(start + MAX_BACKOFF - Duration::from_millis(1)), None);
        let trial = start + MAX_BACKOFF;
        assert_eq!(breaker.try_pass(trial), Some(Pass::Trial));
        assert_eq!(breaker.try_pass(trial + Duration::from_secs(1)), None);
        assert_eq!(breaker.try_pass(trial + TRIAL_TIMEOUT), Some(Pass::Trial));
    }
}
