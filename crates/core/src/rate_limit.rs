//! Rate limits on guessing: the order of checks and what an attempt changes, as pure functions over the stored state.
//!
//! The embedded store calls this module; Redis's scripts do the same in Lua and are tested against it. A store reads the
//! budgets that [`counter_keys`] names, asks [`RateLimitState`], and writes the [`CounterUpdate`]s it gives, all in one step.

mod fixed_window;

use std::time::Duration;

use crate::code::CodeKey;
use crate::ports::{AttemptOutcome, LoginAttempt, ProofResult, RateLimitDecision};
use crate::rate_limit_key::{LoginAttemptKeys, RateLimitKey};
use crate::time::Timestamp;

pub use fixed_window::{FailureCounter, FailureLimit, Penalty, Quota, QuotaWindow};

/// A budget as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFailures {
    /// All its failures.
    pub counter: FailureCounter,
    /// Those of them that came from the attempt's origin, where that is kept.
    pub from_origin: u32,
}

/// A change that a store is to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterUpdate {
    /// Write a budget.
    Store {
        /// Where.
        key: RateLimitKey,
        /// The budget.
        counter: FailureCounter,
        /// When it can be forgotten.
        expires_at: Timestamp,
        /// What is kept of the origins of its failures.
        origin_failures: OriginFailures,
    },
    /// Forget a budget.
    Delete(RateLimitKey),
}

/// What is kept of the origins of a budget's failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginFailures {
    /// Nothing: all its failures are of one origin, or it is an origin's.
    NotTracked,
    /// The failures of the attempt's origin; those of others stay.
    Set(u32),
    /// The same, in a new window: those of others are void.
    Reset(u32),
}

/// Whether an account trusts the origin of an attempt: a login to the account from there succeeded lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginTrust {
    /// Failures count against the origin's own counter at this account, so an attacker elsewhere cannot lock its user out.
    Trusted,
    /// Failures count against the counter that all untrusted origins of the account share.
    Untrusted,
}

/// Whether a salted proof was accepted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofUse {
    /// It was not, or a permit allows this repetition.
    First,
    /// It was, and no permit allows this repetition.
    Replayed,
}

/// What an attempt to log in comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptDecision {
    /// It is refused, and nothing changes.
    Reject(AttemptOutcome),
    /// The proof is wrong: [`RateLimitState::record_failure`].
    CountFailure,
    /// It is accepted, with all that its verdict brings about.
    Accept,
}

/// The budgets that an attempt counts against: the account's, or the origin's own budget there where the origin is known
/// to the account; then those of the origin and of the networks around it.
pub fn counter_keys(keys: &LoginAttemptKeys, origin_trust: OriginTrust) -> Vec<RateLimitKey> {
    std::iter::once(account_counter_key(keys, origin_trust)).chain(keys.origins.iter().map(|(key, _)| *key)).collect()
}

fn account_counter_key(keys: &LoginAttemptKeys, origin_trust: OriginTrust) -> RateLimitKey {
    match origin_trust {
        OriginTrust::Trusted => keys.trusted_origin,
        OriginTrust::Untrusted => keys.account,
    }
}

/// The budgets that an attempt counts against, as they stand.
#[derive(Clone, Debug)]
pub struct RateLimitState {
    now: Timestamp,
    origin_trust: OriginTrust,
    account: CounterState,
    origins: Vec<CounterState>,
}

/// One budget as it stands.
#[derive(Clone, Copy, Debug)]
struct CounterState {
    key: RateLimitKey,
    limit: FailureLimit,
    counter: FailureCounter,
    from_origin: u32,
    is_stored: bool,
}

impl RateLimitState {
    /// The state of `attempt`, whose origin is `known` to the account or not; `stored` looks a budget up.
    ///
    /// # Errors
    /// What `stored` fails with.
    pub fn load<E>(
        attempt: &LoginAttempt,
        keys: &LoginAttemptKeys,
        origin_trust: OriginTrust,
        mut stored: impl FnMut(&RateLimitKey) -> Result<Option<StoredFailures>, E>,
    ) -> Result<Self, E> {
        let now = attempt.now;
        let mut counter = |key: RateLimitKey, schedule: FailureLimit| {
            let found = stored(&key)?;
            let budget =
                found.map_or_else(|| FailureCounter::new(now), |found| found.counter.advance_to(now, &schedule));
            // What an earlier window counted is over.
            let own = found.filter(|_| budget.failures > 0).map_or(0, |found| found.from_origin);
            Ok(CounterState { key, limit: schedule, counter: budget, from_origin: own, is_stored: found.is_some() })
        };
        let account = counter(account_counter_key(keys, origin_trust), attempt.limits.account)?;
        let origins = keys.origins.iter().map(|&(key, schedule)| counter(key, schedule)).collect::<Result<_, E>>()?;
        Ok(Self { now, origin_trust, account, origins })
    }

    /// How long everything is refused: the longest wait of all its budgets; `None` if nothing is.
    pub fn retry_after(&self) -> Option<Duration> {
        let origins = self.origins.iter().map(|counter| counter.counter.retry_after(self.now));
        origins.fold(self.account.counter.retry_after(self.now), Option::max)
    }

    /// What the limits say before anything is verified. A challenge is asked for by the failures of the first budget.
    pub fn decide_admission(&self) -> RateLimitDecision {
        match self.retry_after() {
            Some(retry_after) => RateLimitDecision::RateLimited { retry_after },
            None => RateLimitDecision::Allowed {
                failures: self.account.counter.failures,
                trusted_origin: self.origin_trust == OriginTrust::Trusted,
            },
        }
    }

    /// Decides an attempt to log in: within the limits, made after the store's `birth`, right, not `replayed` (without a
    /// permit to), and its code, if it uses one up, still there. `take_code` is asked last and takes the code.
    ///
    /// # Errors
    /// What `take_code` fails with.
    pub fn decide_attempt<E>(
        &self,
        attempt: &LoginAttempt,
        verdict: &ProofResult,
        birth: Timestamp,
        proof_use: ProofUse,
        take_code: impl FnOnce(&CodeKey) -> Result<bool, E>,
    ) -> Result<AttemptDecision, E> {
        if let Some(retry_after) = self.retry_after() {
            return Ok(AttemptDecision::Reject(AttemptOutcome::RateLimited { retry_after }));
        }
        // A proof from before the birth, or the very second of it, may have been accepted by a store that is gone.
        if attempt.proof_made_at.is_some_and(|made| made.as_secs() <= birth.as_secs()) {
            return Ok(AttemptDecision::Reject(AttemptOutcome::ProofStale));
        }
        let ProofResult::Valid(success) = verdict else { return Ok(AttemptDecision::CountFailure) };
        if proof_use == ProofUse::Replayed {
            return Ok(AttemptDecision::Reject(AttemptOutcome::ProofReplayed));
        }
        match &success.consumed_code {
            Some(code) if !take_code(code)? => Ok(AttemptDecision::Reject(AttemptOutcome::CodeConsumed)),
            Some(_) | None => Ok(AttemptDecision::Accept),
        }
    }

    /// Counts a failure against every budget.
    pub fn record_failure(&self) -> Vec<CounterUpdate> {
        let account = self.account.with_failure(self.now);
        let shares = match (self.origin_trust, self.account.counter.failures) {
            (OriginTrust::Trusted, _) => OriginFailures::NotTracked,
            (OriginTrust::Untrusted, 0) => {
                OriginFailures::Reset(account.origin_failures_after_failure(self.account.from_origin))
            }
            (OriginTrust::Untrusted, _) => {
                OriginFailures::Set(account.origin_failures_after_failure(self.account.from_origin))
            }
        };
        let origins = self
            .origins
            .iter()
            .map(|counter| counter.update(counter.with_failure(self.now), OriginFailures::NotTracked));
        std::iter::once(self.account.update(account, shares)).chain(origins).collect()
    }

    /// Forgives those of the account's failures that came from this origin; what the origin itself has failed stays.
    pub fn clear_origin_failures(&self) -> Option<CounterUpdate> {
        let counter = &self.account;
        if !counter.is_stored {
            return None;
        }
        match counter.counter.without_origin_failures(counter.from_origin) {
            Some(left) if self.origin_trust == OriginTrust::Untrusted => {
                (counter.from_origin > 0).then(|| counter.update(left, OriginFailures::Set(0)))
            }
            Some(_) | None => Some(CounterUpdate::Delete(counter.key)),
        }
    }
}

impl CounterState {
    fn with_failure(&self, now: Timestamp) -> FailureCounter {
        self.counter.with_failure(now, &self.limit)
    }

    fn update(&self, budget: FailureCounter, origins: OriginFailures) -> CounterUpdate {
        CounterUpdate::Store {
            key: self.key,
            counter: budget,
            expires_at: budget.expires_at(&self.limit),
            origin_failures: origins,
        }
    }
}
