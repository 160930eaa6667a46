//! Keys of rate-limit counters: hashes of a fixed size, because the names that they identify may be long and chosen by
//! the client.

use crate::mac::sha256;
use crate::origin::Origin;
use crate::ports::LoginAttempt;
use crate::rate_limit::FailureLimit;

/// A counter's key: the first half of a SHA-256 hash. Finding a collision takes 2^64 computations, and only makes two
/// names share a counter.
pub type RateLimitKey = [u8; 16];

/// Identifies an origin within an account's counter: the first 8 bytes of the key of the origin's counter.
pub type OriginHash = [u8; 8];

/// The key of the counter for `name`, which is unique among the names of this `kind`.
pub fn rate_limit_key(kind: &str, name: &str) -> RateLimitKey {
    let hash = sha256(&[kind.as_bytes(), b"\0", name.as_bytes()].concat());
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    key
}

/// The keys of all records that a login attempt reads or changes.
#[derive(Clone, Debug)]
pub struct LoginAttemptKeys {
    /// The account's counter.
    pub account: RateLimitKey,
    /// The key of the origin at this account under the current epoch: of the record that the origin is trusted, and of
    /// the trusted origin's counter.
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
        // Account keys contain no `@`, so the key of one account's origin cannot be that of another account's.
        let trusted_origin = rate_limit_key("known", &format!("{account}/{epoch}@{origin}"));
        let mut origin_hash = [0; 8];
        origin_hash.copy_from_slice(&nearest[..8]);
        Self { account: rate_limit_key("account", account), trusted_origin, origins, origin_hash }
    }
}
