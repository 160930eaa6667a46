//! Keys of what the limits count: hashes of a fixed size, for the names in them can be the client's choice and long.

use crate::mac::sha256;
use crate::origin::Origin;
use crate::ports::LoginAttempt;
use crate::rate_limit::FailureLimit;

/// What stores count by: the first half of a SHA-256. Two names with the same key take work of 2^64 to find, and would
/// share a budget.
pub type RateLimitKey = [u8; 16];

/// What an account's budget knows an origin by.
pub type OriginHash = [u8; 8];

/// The key of `name` among those of one `kind`.
pub fn rate_limit_key(kind: &str, name: &str) -> RateLimitKey {
    let hash = sha256(&[kind.as_bytes(), b"\0", name.as_bytes()].concat());
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    key
}

/// What an attempt is counted under.
#[derive(Clone, Debug)]
pub struct LoginAttemptKeys {
    /// The account's budget.
    pub account: RateLimitKey,
    /// The origin at this account, under the present epoch: whether it is known there, and its own budget if so.
    pub trusted_origin: RateLimitKey,
    /// The budgets of the origin and of the networks around it, narrowest first.
    pub origins: Vec<(RateLimitKey, FailureLimit)>,
    /// The origin's part of the account's budget.
    pub origin_hash: OriginHash,
}

impl LoginAttemptKeys {
    /// The keys of `attempt`.
    pub fn for_attempt(attempt: &LoginAttempt) -> Self {
        let LoginAttempt { account, epoch, origin, limits, .. } = attempt;
        let schedule = match origin {
            Origin::Address(_) => limits.address,
            Origin::App(_) => limits.app,
        };
        let nearest = rate_limit_key("origin", &origin.to_string());
        let around = origin
            .enclosing_networks()
            .map(|(name, times)| (rate_limit_key("origin", &name), schedule.scaled_by(times)));
        let origins = std::iter::once((nearest, schedule)).chain(around).collect();
        // No id and no hash has an @ in it, so no account's key is another's at an origin.
        let known = rate_limit_key("known", &format!("{account}/{epoch}@{origin}"));
        let mut tag = [0; 8];
        tag.copy_from_slice(&nearest[..8]);
        Self { account: rate_limit_key("account", account), trusted_origin: known, origins, origin_hash: tag }
    }
}
