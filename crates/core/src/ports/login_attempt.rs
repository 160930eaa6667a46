//! A login attempt as the state store counts and records it: rate limits, replay protection, trusted origins.

use std::time::Duration;

use crate::code::CodeKey;
use crate::origin::Origin;
use crate::policy::LoginLimits;
use crate::session::NewSession;
use crate::time::Timestamp;
use crate::user::UserId;

/// What the rate limits count a guess at a password or code by.
#[derive(Clone, Debug)]
pub struct LoginAttempt {
    /// The account's key: see [`LoginAttempt::account_key`].
    pub account: String,
    /// The epoch of the account's credential; 0 for an unknown account. An origin is trusted under one epoch only, so
    /// changing or resetting the password also revokes the trust that an attacker's login has gained.
    pub epoch: i64,
    /// Where the attempt comes from.
    pub origin: Origin,
    /// When the attempt is made.
    pub now: Timestamp,
    /// When the client made the salted proof, if timestamps are checked. A proof made in the second in which the store
    /// was created, or before, is stale: the store cannot know whether it was accepted before.
    pub proof_made_at: Option<Timestamp>,
    /// The rate limits in force.
    pub limits: LoginLimits,
}

impl LoginAttempt {
    /// The key that an account's failures are counted under: the user's id, or a hash of an identifier that no user
    /// has.
    pub fn account_key(user: Option<UserId>, identifier_key: &str) -> String {
        match user {
            Some(id) => format!("user:{id}"),
            // The prefix is part of stored keys.
            None => format!("nobody:{}", crate::hex::encode(&crate::mac::sha256(identifier_key.as_bytes()))),
        }
    }
}

/// What the rate limits decide before a proof is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitDecision {
    /// The attempt may proceed.
    Allowed {
        /// Failures on the counter that applies: the account's, or the origin's own at this account if it is trusted.
        failures: u32,
        /// Whether the account trusts the origin: a login from there succeeded lately.
        trusted_origin: bool,
    },
    /// The attempt is rejected; nothing may be verified or counted.
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
}

/// A proof that may be accepted only once (replay protection).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedProof {
    /// A hash over user and digest.
    pub key: [u8; 32],
    /// Until when it is remembered.
    pub expires: Timestamp,
}

/// Permission to present an accepted proof once more, for a client that may have lost the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatPermit {
    /// A hash over the proof's key, the dialect and the origin.
    pub key: [u8; 32],
    /// Until when the permit is valid.
    pub expires: Timestamp,
    /// Whether the user store knows the proof as used. The proof is then accepted only with a permit, even if the
    /// state store does not remember it.
    pub required: bool,
}

/// Whether the proof of a login attempt is correct.
#[derive(Clone, Debug)]
pub enum ProofResult {
    /// The proof is wrong: count a failure.
    Invalid,
    /// The proof is correct.
    Valid(Box<SuccessEffects>),
}

/// What a correct proof changes in the state store: all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct SuccessEffects {
    /// The proof to record, if it may be accepted only once.
    pub used_proof: Option<UsedProof>,
    /// The permit to repeat the proof. The first use stores it, one repetition consumes it.
    pub repeat_permit: Option<RepeatPermit>,
    /// The code that was presented as a challenge, to be consumed.
    pub consumed_code: Option<CodeKey>,
    /// What happens to the account's trust in the origin. Nothing for a disabled user.
    pub origin_trust: OriginTrustChange,
    /// The session to open.
    pub session: Option<NewSession>,
}

/// What a correct proof does to the account's trust in its origin.
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
    /// As its [`ProofResult`] says.
    Recorded,
    /// Rejected by the rate limits, because of failures since they were checked; nothing was counted.
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The proof was made in the second in which this store was created, or before; nothing was counted.
    ProofStale,
    /// The proof was accepted before; nothing was changed.
    ProofReplayed,
    /// The code was consumed by another attempt meanwhile; nothing was changed.
    CodeConsumed,
}
