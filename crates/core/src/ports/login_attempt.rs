//! A login attempt as the state store checks, counts and records it: rate limits, replay protection, trusted origins.

use std::time::Duration;

use crate::code::CodeKey;
use crate::origin::Origin;
use crate::policy::LoginLimits;
use crate::session::NewSession;
use crate::time::Timestamp;
use crate::user::UserId;

/// An attempt with a password or code, with the keys and limits by which it is counted.
#[derive(Clone, Debug)]
pub struct LoginAttempt {
    /// The key under which the account's failures are counted: see [`LoginAttempt::account_key`].
    pub account: String,
    /// The epoch of the account's credential; 0 for an unknown account. An origin is trusted under one epoch only, so a
    /// change or reset of the password also revokes the trust that an attacker's login has gained.
    pub epoch: i64,
    /// The origin of the attempt.
    pub origin: Origin,
    /// When the attempt is made.
    pub now: Timestamp,
    /// When the client claims to have made the salted proof; `None` for other proofs, and if timestamps are not
    /// checked. A proof made in the second in which the state store was created, or before, is stale, because the store
    /// cannot know whether the proof was accepted before.
    pub proof_made_at: Option<Timestamp>,
    /// The rate limits in force.
    pub limits: LoginLimits,
}

impl LoginAttempt {
    /// The key under which an account's failures are counted: the user's id; for an identifier that no user has, a hash
    /// of the identifier.
    pub fn account_key(user: Option<UserId>, identifier_key: &str) -> String {
        match user {
            Some(id) => format!("user:{id}"),
            // The prefix is part of stored keys. If it changed, an upgrade would reset the counters of unknown
            // identifiers alone, and show by that which ones have an account (user enumeration).
            None => format!("nobody:{}", crate::hex::encode(&crate::mac::sha256(identifier_key.as_bytes()))),
        }
    }
}

/// The decision of the rate limits before a proof is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitDecision {
    /// The attempt may proceed.
    Allowed {
        /// Failures on the counter that applies: the account's counter, or that of a trusted origin at this account.
        failures: u32,
        /// Whether the account trusts the origin, because a login from it has succeeded within the trust's lifetime.
        trusted_origin: bool,
    },
    /// The attempt is rejected, and nothing may be verified or counted.
    RateLimited {
        /// How long attempts are still rejected.
        retry_after: Duration,
    },
}

/// A proof that may be accepted only once (replay protection).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedProof {
    /// The timestamp of the proof, followed by a hash over user and digest.
    pub key: [u8; 32],
    /// The time until which the proof is remembered.
    pub expires: Timestamp,
}

/// Permission to present an accepted proof once more, for a client that may not have received the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatPermit {
    /// A hash over the proof's key, the dialect, the accepted users and the origin.
    pub key: [u8; 32],
    /// The time until which the permit is valid.
    pub expires: Timestamp,
    /// Whether the user store has recorded the proof as used before. The proof is then accepted only with a stored
    /// permit, even if the state store does not remember the proof.
    pub is_required: bool,
}

/// Whether the proof of a login attempt is correct.
#[derive(Clone, Debug)]
pub enum ProofResult {
    /// The proof is wrong, so a failure is counted.
    Invalid,
    /// The proof is correct, and has these effects if the attempt is accepted.
    Valid(Box<SuccessEffects>),
}

/// The changes that a correct proof makes in the state store: all or none.
#[derive(Clone, Debug, Default)]
pub struct SuccessEffects {
    /// The proof to record, if it may be accepted only once.
    pub used_proof: Option<UsedProof>,
    /// The permit to repeat the proof. The first use of the proof stores the permit, and one repetition consumes it.
    pub repeat_permit: Option<RepeatPermit>,
    /// The code to consume, which the client presented as the answer to a challenge.
    pub consumed_code: Option<CodeKey>,
    /// The change of the account's trust in the origin; none for a disabled user.
    pub origin_trust: OriginTrustChange,
    /// The session to open.
    pub session: Option<NewSession>,
}

/// The change that a correct proof makes in the account's trust in the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OriginTrustChange {
    /// The trust stays as it was.
    #[default]
    Keep,
    /// The origin becomes trusted, and the account's failures from it are cleared.
    Trust,
}

/// How the state store recorded a login attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// A correct proof was accepted and its effects were applied, or the failure of a wrong proof was counted.
    Recorded,
    /// Rejected by the rate limits; nothing was counted.
    RateLimited {
        /// How long attempts are still rejected.
        retry_after: Duration,
    },
    /// Rejected because the proof was made in the second in which this store was created, or before; nothing was
    /// counted.
    ProofStale,
    /// Rejected because the proof was accepted before and no permit allows the repetition; nothing was changed.
    ProofReplayed,
    /// Rejected because the code to consume does not exist any more; nothing was changed.
    CodeConsumed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_key_of_an_unknown_identifier_never_changes() {
        let key = LoginAttempt::account_key(None, "x");
        assert_eq!(key, "nobody:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881");
    }
}
