//! Rate limits against brute force, and account lockout: the order of checks, and what an attempt changes.
//!
//! Pure functions over the stored state. The embedded store calls this module; the Lua scripts of the Redis store do
//! the same and are tested against it. A store reads the counters that [`counter_keys`] names, asks [`RateLimitState`]
//! for a decision, and writes the [`CounterUpdate`]s it returns, all in one step. Limits: `docs/RATE-LIMITS.md`.

mod fixed_window;

use std::time::Duration;

use crate::code::CodeKey;
use crate::ports::{AttemptOutcome, LoginAttempt, ProofResult, RateLimitDecision};
use crate::rate_limit_key::{LoginAttemptKeys, RateLimitKey};
use crate::time::Timestamp;

pub use fixed_window::{FailureCounter, FailureLimit, Penalty, Quota, QuotaWindow};

/// A failure counter as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFailures {
    /// All failures.
    pub counter: FailureCounter,
    /// Those that came from the attempt's origin, where that is tracked.
    pub from_origin: u32,
}

/// A change that the store has to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterUpdate {
    /// Write a counter.
    Store {
        /// Its key.
        key: RateLimitKey,
        /// Its new value.
        counter: FailureCounter,
        /// When it can be deleted.
        expires_at: Timestamp,
        /// What to store about the origins of its failures.
        origin_failures: OriginFailures,
    },
    /// Delete a counter.
    Delete(RateLimitKey),
}

/// What a store keeps about the origins of a counter's failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginFailures {
    /// Nothing: the counter belongs to a single origin.
    NotTracked,
    /// This many failures of the attempt's origin; those of other origins stay.
    Set(u32),
    /// This many failures of the attempt's origin in a new window; those of other origins are deleted.
    Reset(u32),
}

/// Whether an account trusts the origin of an attempt: a login to the account from there succeeded lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginTrust {
    /// Failures count against the origin's own counter at this account, so an attacker elsewhere cannot lock its user
    /// out.
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

/// What to do with a login attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptDecision {
    /// Reject it; nothing changes.
    Reject(AttemptOutcome),
    /// The proof is wrong: call [`RateLimitState::record_failure`].
    CountFailure,
    /// Accept it, and apply all of its [`crate::ports::SuccessEffects`].
    Accept,
}

/// The counters that an attempt counts against: the account's, or the origin's own at this account if the origin is
/// trusted; then those of the origin and of its enclosing networks.
pub fn counter_keys(keys: &LoginAttemptKeys, origin_trust: OriginTrust) -> Vec<RateLimitKey> {
    std::iter::once(account_counter_key(keys, origin_trust)).chain(keys.origins.iter().map(|(key, _)| *key)).collect()
}

fn account_counter_key(keys: &LoginAttemptKeys, origin_trust: OriginTrust) -> RateLimitKey {
    match origin_trust {
        OriginTrust::Trusted => keys.trusted_origin,
        OriginTrust::Untrusted => keys.account,
    }
}

/// The counters that an attempt counts against, with their current values.
#[derive(Clone, Debug)]
pub struct RateLimitState {
    now: Timestamp,
    origin_trust: OriginTrust,
    account: CounterState,
    origins: Vec<CounterState>,
}

/// One counter with its current value.
#[derive(Clone, Copy, Debug)]
struct CounterState {
    key: RateLimitKey,
    limit: FailureLimit,
    counter: FailureCounter,
    from_origin: u32,
    is_stored: bool,
}

impl RateLimitState {
    /// The state of `attempt`. `stored` looks a counter up.
    ///
    /// # Errors
    /// Those of `stored`.
    pub fn load<E>(
        attempt: &LoginAttempt,
        keys: &LoginAttemptKeys,
        origin_trust: OriginTrust,
        mut stored: impl FnMut(&RateLimitKey) -> Result<Option<StoredFailures>, E>,
    ) -> Result<Self, E> {
        let now = attempt.now;
        let mut counter_state = |key: RateLimitKey, limit: FailureLimit| {
            let found = stored(&key)?;
            let counter = found.map_or_else(|| FailureCounter::new(now), |found| found.counter.advance_to(now, &limit));
            // Failures of an earlier window do not count.
            let from_origin = found.filter(|_| counter.failures > 0).map_or(0, |found| found.from_origin);
            Ok(CounterState { key, limit, counter, from_origin, is_stored: found.is_some() })
        };
        let account = counter_state(account_counter_key(keys, origin_trust), attempt.limits.account)?;
        let origins = keys.origins.iter().map(|&(key, limit)| counter_state(key, limit)).collect::<Result<_, E>>()?;
        Ok(Self { now, origin_trust, account, origins })
    }

    /// How long every attempt is rejected: the longest wait of all counters; `None` if it is allowed.
    pub fn retry_after(&self) -> Option<Duration> {
        let origins = self.origins.iter().map(|state| state.counter.retry_after(self.now));
        origins.fold(self.account.counter.retry_after(self.now), Option::max)
    }

    /// What the limits decide before anything is verified. Whether a challenge is required depends on the failures of
    /// the account's counter.
    pub fn decide_admission(&self) -> RateLimitDecision {
        match self.retry_after() {
            Some(retry_after) => RateLimitDecision::RateLimited { retry_after },
            None => RateLimitDecision::Allowed {
                failures: self.account.counter.failures,
                trusted_origin: self.origin_trust == OriginTrust::Trusted,
            },
        }
    }

    /// Decides a login attempt. The checks, in order: within the limits; the proof is dated after `created_at` of the
    /// store; it is correct; it is not a replay; the code that it consumes still exists. `consume_code` is called last.
    ///
    /// # Errors
    /// Those of `consume_code`.
    pub fn decide_attempt<E>(
        &self,
        attempt: &LoginAttempt,
        proof_result: &ProofResult,
        created_at: Timestamp,
        proof_use: ProofUse,
        consume_code: impl FnOnce(&CodeKey) -> Result<bool, E>,
    ) -> Result<AttemptDecision, E> {
        if let Some(retry_after) = self.retry_after() {
            return Ok(AttemptDecision::Reject(AttemptOutcome::RateLimited { retry_after }));
        }
        // A proof from that second or before may have been accepted by the store that this one replaces.
        if attempt.proof_made_at.is_some_and(|made| made.as_secs() <= created_at.as_secs()) {
            return Ok(AttemptDecision::Reject(AttemptOutcome::ProofStale));
        }
        let ProofResult::Valid(success) = proof_result else { return Ok(AttemptDecision::CountFailure) };
        if proof_use == ProofUse::Replayed {
            return Ok(AttemptDecision::Reject(AttemptOutcome::ProofReplayed));
        }
        match &success.consumed_code {
            Some(code) if !consume_code(code)? => Ok(AttemptDecision::Reject(AttemptOutcome::CodeConsumed)),
            Some(_) | None => Ok(AttemptDecision::Accept),
        }
    }

    /// Counts a failure against every counter.
    pub fn record_failure(&self) -> Vec<CounterUpdate> {
        let account = self.account.with_failure(self.now);
        let origin_failures = match (self.origin_trust, self.account.counter.failures) {
            (OriginTrust::Trusted, _) => OriginFailures::NotTracked,
            (OriginTrust::Untrusted, 0) => {
                OriginFailures::Reset(account.origin_failures_after_failure(self.account.from_origin))
            }
            (OriginTrust::Untrusted, _) => {
                OriginFailures::Set(account.origin_failures_after_failure(self.account.from_origin))
            }
        };
        let origins =
            self.origins.iter().map(|state| state.update(state.with_failure(self.now), OriginFailures::NotTracked));
        std::iter::once(self.account.update(account, origin_failures)).chain(origins).collect()
    }

    /// Clears the account's failures that came from this origin. The origin's own counter stays.
    pub fn clear_origin_failures(&self) -> Option<CounterUpdate> {
        let account = &self.account;
        if !account.is_stored {
            return None;
        }
        match account.counter.without_origin_failures(account.from_origin) {
            Some(remaining) if self.origin_trust == OriginTrust::Untrusted => {
                (account.from_origin > 0).then(|| account.update(remaining, OriginFailures::Set(0)))
            }
            Some(_) | None => Some(CounterUpdate::Delete(account.key)),
        }
    }
}

impl CounterState {
    fn with_failure(&self, now: Timestamp) -> FailureCounter {
        self.counter.with_failure(now, &self.limit)
    }

    fn update(&self, counter: FailureCounter, origin_failures: OriginFailures) -> CounterUpdate {
        CounterUpdate::Store { key: self.key, counter, expires_at: counter.expires_at(&self.limit), origin_failures }
    }
}
