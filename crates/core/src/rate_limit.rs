//! Rate limits on guessing: the order of checks and what an attempt changes, as pure functions over the stored state.
//!
//! The embedded store calls this module; Redis's scripts do the same in Lua and are tested against it. A store reads the
//! budgets that [`budgets_of`] names, asks [`RateLimitState`], and writes the [`Change`]s it gives, all in one step.

mod budget;

use std::time::Duration;

use crate::code::CodeKey;
use crate::limit_key::{AttemptKeys, LimitKey};
use crate::ports::{Admission, Attempt, Settlement, Verdict};
use crate::time::Timestamp;

pub use budget::{Budget, Cost, Quota, Schedule, Window};

/// A budget as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBudget {
    /// All its failures.
    pub budget: Budget,
    /// Those of them that came from the attempt's origin, where that is kept.
    pub own: u32,
}

/// A change that a store is to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write a budget.
    Write {
        /// Where.
        key: LimitKey,
        /// The budget.
        budget: Budget,
        /// When it can be forgotten.
        expires: Timestamp,
        /// What is kept of the origins of its failures.
        origins: OriginShares,
    },
    /// Forget a budget.
    Remove(LimitKey),
}

/// What is kept of the origins of a budget's failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginShares {
    /// Nothing: all its failures are of one origin, or it is an origin's.
    NotKept,
    /// The failures of the attempt's origin; those of others stay.
    Set(u32),
    /// The same, in a new window: those of others are void.
    Reset(u32),
}

/// What an attempt to log in comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is refused, and nothing changes.
    Refuse(Settlement),
    /// The proof is wrong: [`RateLimitState::fail`].
    CountFailure,
    /// It is accepted, with all that its verdict brings about.
    Accept,
}

/// The budgets that an attempt counts against: the account's, or the origin's own budget there where the origin is known
/// to the account; then those of the origin and of the networks around it.
pub fn budgets_of(keys: &AttemptKeys, known: bool) -> Vec<LimitKey> {
    std::iter::once(account_key(keys, known)).chain(keys.origins.iter().map(|(key, _)| *key)).collect()
}

fn account_key(keys: &AttemptKeys, known: bool) -> LimitKey {
    if known { keys.known } else { keys.account }
}

/// The budgets that an attempt counts against, as they stand.
#[derive(Clone, Debug)]
pub struct RateLimitState {
    now: Timestamp,
    known: bool,
    account: Counter,
    origins: Vec<Counter>,
}

/// One budget as it stands.
#[derive(Clone, Copy, Debug)]
struct Counter {
    key: LimitKey,
    schedule: Schedule,
    budget: Budget,
    own: u32,
    stored: bool,
}

impl RateLimitState {
    /// The state of `attempt`, whose origin is `known` to the account or not; `stored` looks a budget up.
    ///
    /// # Errors
    /// What `stored` fails with.
    pub fn read<E>(
        attempt: &Attempt,
        keys: &AttemptKeys,
        known: bool,
        mut stored: impl FnMut(&LimitKey) -> Result<Option<StoredBudget>, E>,
    ) -> Result<Self, E> {
        let now = attempt.now;
        let mut counter = |key: LimitKey, schedule: Schedule| {
            let found = stored(&key)?;
            let budget = found.map_or_else(|| Budget::fresh(now), |found| found.budget.at(now, &schedule));
            // What an earlier window counted is over.
            let own = found.filter(|_| budget.failures > 0).map_or(0, |found| found.own);
            Ok(Counter { key, schedule, budget, own, stored: found.is_some() })
        };
        let account = counter(account_key(keys, known), attempt.limits.account)?;
        let origins = keys.origins.iter().map(|&(key, schedule)| counter(key, schedule)).collect::<Result<_, E>>()?;
        Ok(Self { now, known, account, origins })
    }

    /// How long everything is refused: the longest wait of all its budgets; `None` if nothing is.
    pub fn wait(&self) -> Option<Duration> {
        let origins = self.origins.iter().map(|counter| counter.budget.wait(self.now));
        origins.fold(self.account.budget.wait(self.now), Option::max)
    }

    /// What the limits say before anything is verified. A challenge is asked for by the failures of the first budget.
    pub fn admission(&self) -> Admission {
        match self.wait() {
            Some(retry_after) => Admission::Blocked { retry_after },
            None => Admission::Open { failures: self.account.budget.failures, known: self.known },
        }
    }

    /// Decides an attempt to log in: within the limits, made after the store's `birth`, right, not `replayed` (without a
    /// permit to), and its code, if it uses one up, still there. `take_code` is asked last and takes the code.
    ///
    /// # Errors
    /// What `take_code` fails with.
    pub fn decide<E>(
        &self,
        attempt: &Attempt,
        verdict: &Verdict,
        birth: Timestamp,
        replayed: bool,
        take_code: impl FnOnce(&CodeKey) -> Result<bool, E>,
    ) -> Result<Decision, E> {
        if let Some(retry_after) = self.wait() {
            return Ok(Decision::Refuse(Settlement::Blocked { retry_after }));
        }
        // A proof from before the birth, or the very second of it, may have been accepted by a store that is gone.
        if attempt.proof_made.is_some_and(|made| made.as_secs() <= birth.as_secs()) {
            return Ok(Decision::Refuse(Settlement::Stale));
        }
        let Verdict::Right(success) = verdict else { return Ok(Decision::CountFailure) };
        if replayed {
            return Ok(Decision::Refuse(Settlement::Replayed));
        }
        match &success.code {
            Some(code) if !take_code(code)? => Ok(Decision::Refuse(Settlement::CodeGone)),
            Some(_) | None => Ok(Decision::Accept),
        }
    }

    /// Counts a failure against every budget.
    pub fn fail(&self) -> Vec<Change> {
        let account = self.account.fail(self.now);
        let shares = match (self.known, self.account.budget.failures) {
            (true, _) => OriginShares::NotKept,
            (false, 0) => OriginShares::Reset(account.attribute(self.account.own)),
            (false, _) => OriginShares::Set(account.attribute(self.account.own)),
        };
        let origins = self.origins.iter().map(|counter| counter.write(counter.fail(self.now), OriginShares::NotKept));
        std::iter::once(self.account.write(account, shares)).chain(origins).collect()
    }

    /// Forgives those of the account's failures that came from this origin; what the origin itself has failed stays.
    pub fn forgive(&self) -> Option<Change> {
        let counter = &self.account;
        if !counter.stored {
            return None;
        }
        match counter.budget.forgive(counter.own) {
            Some(left) if !self.known => (counter.own > 0).then(|| counter.write(left, OriginShares::Set(0))),
            Some(_) | None => Some(Change::Remove(counter.key)),
        }
    }
}

impl Counter {
    fn fail(&self, now: Timestamp) -> Budget {
        self.budget.fail(now, &self.schedule)
    }

    fn write(&self, budget: Budget, origins: OriginShares) -> Change {
        Change::Write { key: self.key, budget, expires: budget.expires(&self.schedule), origins }
    }
}
