//! Keys of rate-limit counters: hashes of a fixed size, because the names in them may be long and chosen by the client.

use crate::mac::sha256;
use crate::origin::Origin;
use crate::ports::LoginAttempt;
use crate::rate_limit::FailureLimit;

/// A counter's key: the first half of a SHA-256. A collision takes work of 2^64 to find, and only makes two names share
/// a counter.
pub type RateLimitKey = [u8; 16];

/// How an account's counter identifies an origin.
pub type OriginHash = [u8; 8];

/// The key of `name` among the names of one `kind`.
pub fn rate_limit_key(kind: &str, name: &str) -> RateLimitKey {
    let hash = sha256(&[kind.as_bytes(), b"\0", name.as_bytes()].concat());
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    key
}

/// The keys of all counters that an attempt touches.
#[derive(Clone, Debug)]
pub struct LoginAttemptKeys {
    /// The account's counter.
    pub account: RateLimitKey,
    /// The origin at this account under the current epoch: records that it is trusted, and its own counter there.
    pub trusted_origin: RateLimitKey,
    /// The counters of the origin and of its enclosing networks, narrowest first, with their limits.
    pub origins: Vec<(RateLimitKey, FailureLimit)>,
    /// Identifies the origin within the account's counter.
    pub origin_hash: OriginHash,
}

impl LoginAttemptKeys {
    /// The keys of `attempt`.
    pub fn for_attempt(attempt: &LoginAttempt) -> Self {
        let LoginAttempt { account, epoch, origin, limits, .. } = attempt;
        let limit = match origin {
            Origin::Address(_) => limits.address,
            Origin::App(_) => limits.app,
        };
        let nearest = rate_limit_key("origin", &origin.to_string());
        let enclosing = origin
            .enclosing_networks()
            .map(|(name, factor)| (rate_limit_key("origin", &name), limit.scaled_by(factor)));
        let origins = std::iter::once((nearest, limit)).chain(enclosing).collect();
        // Neither ids nor hashes contain `@`, so these keys cannot collide with those of another account.
        let trusted_origin = rate_limit_key("known", &format!("{account}/{epoch}@{origin}"));
        let mut origin_hash = [0; 8];
        origin_hash.copy_from_slice(&nearest[..8]);
        Self { account: rate_limit_key("account", account), trusted_origin, origins, origin_hash }
    }
}
