//! Rate limits against brute force, and account lockout: the order of the checks, and the counters that an attempt
//! changes.
//!
//! Pure functions over the stored state. The embedded store calls this module; the Lua scripts of the Redis store
//! implement the same rules and are tested against it. In one atomic step, a store reads the counters that
//! [`counter_keys`] names, takes a decision from [`RateLimitState`], and writes the [`CounterUpdate`]s that follow from
//! it. `docs/RATE-LIMITS.md` lists the limits.

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
    /// The counter of all failures.
    pub counter: FailureCounter,
    /// The number of these failures that came from the attempt's origin; 0 where origins are not tracked.
    pub from_origin: u32,
}

/// A change of a counter that the store has to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterUpdate {
    /// Write the counter.
    Store {
        /// The counter's key.
        key: RateLimitKey,
        /// The counter's new value.
        counter: FailureCounter,
        /// When the counter can be deleted.
        expires_at: Timestamp,
        /// The number to store of failures that came from the attempt's origin.
        origin_failures: OriginFailures,
    },
    /// Delete the counter with this key.
    Delete(RateLimitKey),
}

/// The change of the failures per origin that a store records beside a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginFailures {
    /// Record no origins: the counter belongs to a single origin.
    NotTracked,
    /// Record this many failures for the attempt's origin. Failures of other origins stay.
    Set(u32),
    /// Record this many failures for the attempt's origin in a new window. Failures of other origins are deleted.
    Reset(u32),
}

/// Whether an account trusts the origin of an attempt, because a login to the account from that origin has succeeded
/// within the trust's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginTrust {
    /// Failures count against a counter for this origin at this account, so an attacker at another origin cannot lock
    /// the user out (account lockout).
    Trusted,
    /// Failures count against the account's counter, which all untrusted origins share.
    Untrusted,
}

/// Whether a salted proof was accepted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofUse {
    /// The proof was not accepted before, is not a salted proof, or a permit allows this repetition.
    First,
    /// The proof was accepted before, and no permit allows this repetition.
    Replayed,
}

/// The decision about a login attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptDecision {
    /// Reject the attempt and change nothing.
    Reject(AttemptOutcome),
    /// Reject the attempt because its proof is wrong, and apply the updates of [`RateLimitState::record_failure`].
    CountFailure,
    /// Accept the attempt, and apply all [`crate::ports::SuccessEffects`] of its proof.
    Accept,
}

/// The keys of the counters that an attempt counts against: first the account's counter, or if the origin is trusted,
/// that of the origin at this account; then the counters of the origin and of its enclosing networks.
pub fn counter_keys(keys: &LoginAttemptKeys, origin_trust: OriginTrust) -> Vec<RateLimitKey> {
    std::iter::once(account_counter_key(keys, origin_trust)).chain(keys.origins.iter().map(|(key, _)| *key)).collect()
}

fn account_counter_key(keys: &LoginAttemptKeys, origin_trust: OriginTrust) -> RateLimitKey {
    match origin_trust {
        OriginTrust::Trusted => keys.trusted_origin,
        OriginTrust::Untrusted => keys.account,
    }
}

/// The counters that an attempt counts against, with their values at the time of the attempt.
#[derive(Clone, Debug)]
pub struct RateLimitState {
    now: Timestamp,
    origin_trust: OriginTrust,
    account: CounterState,
    origins: Vec<CounterState>,
}

/// One counter with its limit and its value at the time of the attempt.
#[derive(Clone, Copy, Debug)]
struct CounterState {
    key: RateLimitKey,
    limit: FailureLimit,
    counter: FailureCounter,
    from_origin: u32,
    is_stored: bool,
}

impl RateLimitState {
    /// Loads the counters of `attempt`. `find_stored` returns a stored counter, if there is one.
    ///
    /// # Errors
    /// The errors of `find_stored`.
    pub fn load<E>(
        attempt: &LoginAttempt,
        keys: &LoginAttemptKeys,
        origin_trust: OriginTrust,
        mut find_stored: impl FnMut(&RateLimitKey) -> Result<Option<StoredFailures>, E>,
    ) -> Result<Self, E> {
        let now = attempt.now;
        let mut load_counter = |key: RateLimitKey, limit: FailureLimit| {
            let found = find_stored(&key)?;
            let counter = found.map_or_else(|| FailureCounter::new(now), |found| found.counter.advance_to(now, &limit));
            // Failures of an earlier window do not count.
            let from_origin = found.filter(|_| counter.failures > 0).map_or(0, |found| found.from_origin);
            Ok(CounterState { key, limit, counter, from_origin, is_stored: found.is_some() })
        };
        let account = load_counter(account_counter_key(keys, origin_trust), attempt.limits.account)?;
        let origins = keys.origins.iter().map(|&(key, limit)| load_counter(key, limit)).collect::<Result<_, E>>()?;
        Ok(Self { now, origin_trust, account, origins })
    }

    /// How long attempts are still rejected: the longest wait of all counters; `None` if the attempt is allowed.
    pub fn retry_after(&self) -> Option<Duration> {
        let origins = self.origins.iter().map(|state| state.counter.retry_after(self.now));
        origins.fold(self.account.counter.retry_after(self.now), Option::max)
    }

    /// Decides, before a proof is verified, whether the rate limits allow the attempt. The number of failures in the
    /// decision, by which a challenge is required, is that of the account's or trusted origin's counter.
    pub fn decide_admission(&self) -> RateLimitDecision {
        match self.retry_after() {
            Some(retry_after) => RateLimitDecision::RateLimited { retry_after },
            None => RateLimitDecision::Allowed {
                failures: self.account.counter.failures,
                trusted_origin: self.origin_trust == OriginTrust::Trusted,
            },
        }
    }

    /// Decides a login attempt. The checks, in order: the rate limits allow the attempt; the proof is dated after
    /// `created_at`, the creation of the state store; the proof is correct; the proof is not a replay; the code that a
    /// success consumes still exists. `consume_code` is called last, and returns whether the code existed.
    ///
    /// # Errors
    /// The errors of `consume_code`.
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
        // A proof made in the second of the creation or before may have been accepted by a store that this one
        // replaces.
        if attempt.proof_made_at.is_some_and(|made_at| made_at.as_secs() <= created_at.as_secs()) {
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

    /// The updates that count a failure against every counter.
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
        let origins = self
            .origins
            .iter()
            .map(|state| state.store_update(state.with_failure(self.now), OriginFailures::NotTracked));
        std::iter::once(self.account.store_update(account, origin_failures)).chain(origins).collect()
    }

    /// The update that clears the account's failures from this origin, after a successful login; `None` if there are
    /// none. A trusted origin's counter at this account is deleted. The counters of the origin itself and of its
    /// networks stay.
    pub fn clear_origin_failures(&self) -> Option<CounterUpdate> {
        let account = &self.account;
        if !account.is_stored {
            return None;
        }
        match account.counter.without_origin_failures(account.from_origin) {
            Some(remaining) if self.origin_trust == OriginTrust::Untrusted => {
                (account.from_origin > 0).then(|| account.store_update(remaining, OriginFailures::Set(0)))
            }
            Some(_) | None => Some(CounterUpdate::Delete(account.key)),
        }
    }
}

impl CounterState {
    fn with_failure(&self, now: Timestamp) -> FailureCounter {
        self.counter.with_failure(now, &self.limit)
    }

    fn store_update(&self, counter: FailureCounter, origin_failures: OriginFailures) -> CounterUpdate {
        CounterUpdate::Store { key: self.key, counter, expires_at: counter.expires_at(&self.limit), origin_failures }
    }
}
