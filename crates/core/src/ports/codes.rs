//! Verification codes and quotas, as the state store checks and counts them.

use std::time::Duration;

use crate::code::CodeKey;
use crate::mac::MacTag;
use crate::rate_limit::Quota;
use crate::time::Timestamp;

/// A code that a client presents, to be verified against stored codes.
#[derive(Clone, Debug)]
pub struct CodeVerification {
    /// The keys of the codes that may match, each with the keyed hash of the presented code under that key.
    pub candidates: Vec<(CodeKey, MacTag)>,
    /// The epoch of the credential, under which the code must have been sent.
    pub epoch: i64,
    /// The effect of a match on the code.
    pub on_match: OnCodeMatch,
    /// The number of wrong guesses that invalidate a code.
    pub max_attempts: u32,
}

/// The effect of a match on the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCodeMatch {
    /// The code stays valid.
    Keep,
    /// The code is consumed, and the account's failures are cleared.
    Consume,
}

/// The result of verifying a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeVerificationResult {
    /// The code matches the candidate with this index.
    Valid(usize),
    /// The code matches no candidate. A failure was counted against every candidate, the account and the origin.
    Invalid,
    /// The rate limits rejected the attempt; nothing was compared or counted.
    RateLimited {
        /// How long attempts are still rejected.
        retry_after: Duration,
    },
}

/// A code to be stored.
#[derive(Clone, Debug)]
pub struct NewCode {
    /// The key under which the code is stored. It replaces an older code with the same key.
    pub key: CodeKey,
    /// The account that the code was sent for: see [`LoginAttempt::account_key`](super::LoginAttempt::account_key). Only
    /// attempts at this account may verify or consume the code; a store may hold the code with the account's counters.
    pub account: String,
    /// The keyed hash of the code.
    pub tag: MacTag,
    /// The epoch of the user's credential; 0 if no user has the identifier yet.
    pub epoch: i64,
    /// When the code expires.
    pub expires: Timestamp,
}

/// One use to be counted against a quota.
#[derive(Clone, Debug)]
pub struct QuotaUse {
    /// The key under which uses are counted.
    pub key: String,
    /// The quota that applies.
    pub quota: Quota,
}

/// A use was rejected because a quota is exhausted; nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// How long until all uses are within their quotas.
    pub retry_after: Duration,
    /// The index of the use whose quota is exhausted; the last one if there are several.
    pub index: usize,
}
