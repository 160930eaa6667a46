//! Verification codes and quotas, as the state store checks and counts them.

use std::time::Duration;

use crate::code::CodeKey;
use crate::mac::MacTag;
use crate::rate_limit::Quota;
use crate::time::Timestamp;

/// A guess at a code.
#[derive(Clone, Debug)]
pub struct CodeVerification {
    /// The codes it may match, each with the keyed hash that the guess would have there.
    pub candidates: Vec<(CodeKey, MacTag)>,
    /// The epoch that the code must have been sent under.
    pub epoch: i64,
    /// What a correct guess does to the code.
    pub on_match: OnCodeMatch,
    /// How many wrong guesses invalidate a code.
    pub max_attempts: u32,
}

/// What a correct guess does to the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCodeMatch {
    /// The code stays valid.
    Keep,
    /// The code is consumed, and the account's failures are cleared.
    Consume,
}

/// The result of a guess at a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeVerificationResult {
    /// Right: the index of the candidate.
    Valid(usize),
    /// Wrong: a failure was counted against every candidate, the account and the origin.
    Invalid,
    /// Rejected by the rate limits; nothing was compared or counted.
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
}

/// A code to be stored.
#[derive(Clone, Debug)]
pub struct NewCode {
    /// The key it is found by; it replaces an older code there.
    pub key: CodeKey,
    /// Its keyed hash.
    pub tag: MacTag,
    /// The epoch of its user's credential; 0 if no user has the identifier yet.
    pub epoch: i64,
    /// When it expires.
    pub expires: Timestamp,
}

/// One use to be counted against a quota.
#[derive(Clone, Debug)]
pub struct QuotaUse {
    /// The key that uses are counted under.
    pub key: String,
    /// The quota that applies.
    pub quota: Quota,
}

/// A quota is exhausted; nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// How long until every use is within its quota.
    pub retry_after: Duration,
    /// The index of the use that exceeds its quota; of several, the last.
    pub index: usize,
}
