//! The doors to the outside: what the domain needs of a database, a short-lived store and a delivery channel.
//!
//! Every method is atomic by itself, for all instances of all services at once. Absence is a value, never an error;
//! an error means that the store could not do it ([`Error::Unavailable`]) or that what it holds makes no sense
//! ([`Error::Internal`]).
//!
//! [`Error::Unavailable`]: crate::Error::Unavailable
//! [`Error::Internal`]: crate::Error::Internal

mod audit_log;
mod keys;
mod verifiers;

use std::time::Duration;

use async_trait::async_trait;

use crate::Result;
use crate::app::{App, ClientToken};
use crate::code::{Code, CodeKey, CodePurpose};
use crate::event::Event;
use crate::identifier::Recipient;
use crate::mac::MacTag;
use crate::origin::Origin;
use crate::policy::LoginLimits;
use crate::rate_limit::Quota;
use crate::session::{DialectName, NewSession, Session, Ticket, TicketKind, TokenKey};
use crate::time::Timestamp;
use crate::user::{Account, Credential, NewUser, User, UserId, UserRef, UserStatus};

pub use audit_log::AuditLogStore;
pub use keys::{KeyRecord, KeyRefresher, KeyRetirement, KeyStore, KeyUsage, ResealedUser, SaltedUsage, SealedUser};
pub use verifiers::{UnwrappedHash, VerifierStore};

/// Users, apps and client tokens: durable. What was answered must survive a crash.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// The account with this canonical identifier key: one indexed read.
    async fn find_by_identifier(&self, key: &str) -> Result<Option<Account>>;

    /// The account with this id or number.
    async fn find_by_ref(&self, user: UserRef) -> Result<Option<Account>>;

    /// Stores a user, giving it the next number; `None` if one of its identifiers is taken.
    async fn add(&self, new: &NewUser) -> Result<Option<User>>;

    /// Replaces the credential and sets the epoch to `next` (from [`Random::new_epoch`]), if the epoch still is `epoch`.
    /// Gives whether it was: `false` if the user is gone or another change came first.
    ///
    /// [`Random::new_epoch`]: crate::random::Random::new_epoch
    async fn change_credential(&self, user: UserId, epoch: i64, next: i64, new: &Credential) -> Result<bool>;

    /// Replaces the credential by one for the same password, if the epoch still is `epoch` and the verifier still is
    /// `old`: another process may have replaced it by a better one. The epoch stays. Gives whether it did.
    async fn upgrade_credential(&self, user: UserId, epoch: i64, old: &str, new: &Credential) -> Result<bool>;

    /// Locks a user out or lets them in again, and sets the epoch to `next`. Gives whether there is such a user.
    async fn set_status(&self, user: UserId, status: UserStatus, next: i64) -> Result<bool>;

    /// Up to `limit` users with numbers above `after`, in order.
    async fn list(&self, after: i64, limit: u32) -> Result<Vec<User>>;

    /// The app of this name.
    async fn find_app(&self, name: &str) -> Result<Option<App>>;

    /// Stores an app; `false` if the name is taken.
    async fn add_app(&self, app: &App) -> Result<bool>;

    /// The client token with this hash.
    async fn find_client_token(&self, hash: &[u8; 32]) -> Result<Option<ClientToken>>;

    /// Stores a client token; `false` if the name is taken.
    async fn add_client_token(&self, token: &ClientToken) -> Result<bool>;

    /// Remembers a proof as used; `false` if it was already. For proofs that need not be fresh, which no short-lived
    /// store can distinguish from replays once it was emptied.
    async fn mark_proof_used(&self, proof: &UsedProof) -> Result<bool>;

    /// Takes [`UserStore::mark_proof_used`] back, for a proof that was not accepted after all.
    async fn unmark_proof_used(&self, proof: &UsedProof) -> Result<()>;

    /// Forgets up to `limit` used proofs that have expired by `now`. Gives how many.
    async fn delete_expired_proofs(&self, now: Timestamp, limit: u32) -> Result<u64>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<()>;
}

/// What a guess at a password or code is counted by.
#[derive(Clone, Debug)]
pub struct LoginAttempt {
    /// The account's key: see [`LoginAttempt::account_key`].
    pub account: String,
    /// The epoch of the account's credential; 0 for an unknown account. An origin is known under one epoch only, so a
    /// changed or reset password ends what a thief's login made known.
    pub epoch: i64,
    /// Where it comes from.
    pub origin: Origin,
    /// When.
    pub now: Timestamp,
    /// When a salted proof says it was made, where that matters: at or before the second the store was born it is
    /// stale, for the store cannot know whether it was accepted before.
    pub proof_made_at: Option<Timestamp>,
    /// The limits in force.
    pub limits: LoginLimits,
}

impl LoginAttempt {
    /// The key that an account's failures are counted under: the user's id, or for an identifier that nobody has,
    /// a hash of it.
    pub fn account_key(user: Option<UserId>, identifier_key: &str) -> String {
        match user {
            Some(id) => format!("user:{id}"),
            None => format!("nobody:{}", crate::hex::encode(&crate::mac::sha256(identifier_key.as_bytes()))),
        }
    }
}

/// What the limits say of an attempt that was not made yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimitDecision {
    /// Go on.
    Allowed {
        /// Failures of the budget it counts against: the account's, or the origin's own if it is known there.
        failures: u32,
        /// Whether the origin has logged in to the account lately.
        trusted_origin: bool,
    },
    /// Refused; nothing may be verified or counted.
    RateLimited {
        /// For how long.
        retry_after: Duration,
    },
}

/// A proof to be accepted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedProof {
    /// What it is remembered by: user and digest, hashed.
    pub key: [u8; 32],
    /// Until when.
    pub expires: Timestamp,
}

/// Leave to present an accepted proof once more: the client may have lost the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatPermit {
    /// What it is remembered by: the proof's mark, the dialect and the origin, hashed.
    pub key: [u8; 32],
    /// Until when.
    pub expires: Timestamp,
    /// Whether the proof is known to be used, whatever the short-lived store holds: then it is accepted with a permit alone.
    pub required: bool,
}

/// What became of an attempt to log in.
#[derive(Clone, Debug)]
pub enum ProofResult {
    /// The proof is wrong: count a failure.
    Invalid,
    /// The proof is right.
    Valid(Box<SuccessEffects>),
}

/// What a right proof brings about, all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct SuccessEffects {
    /// The proof, if it may be accepted only once.
    pub used_proof: Option<UsedProof>,
    /// The permit to repeat it. A first use leaves it, one repetition uses it up.
    pub repeat_permit: Option<RepeatPermit>,
    /// A code that was presented with it and is now used up.
    pub consumed_code: Option<CodeKey>,
    /// What the account makes of the attempt's origin. Unchanged for a disabled user.
    pub origin_trust: OriginTrustChange,
    /// The session to open.
    pub session: Option<NewSession>,
}

/// What an account makes of the origin of a right proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OriginTrustChange {
    /// The trust stays as it was.
    #[default]
    Keep,
    /// The origin becomes trusted, and the account's failures from it are cleared.
    Trust,
}

/// How an attempt was booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// As the verdict says.
    Recorded,
    /// The limits refuse it after all (others failed meanwhile): nothing was counted, the verdict does not matter.
    RateLimited {
        /// For how long.
        retry_after: Duration,
    },
    /// The proof was made at or before the second this store was born; nothing was counted.
    ProofStale,
    /// The proof was accepted before; nothing else was done.
    ProofReplayed,
    /// The code was used up meanwhile; nothing else was done.
    CodeConsumed,
}

/// A guess at a code.
#[derive(Clone, Debug)]
pub struct CodeVerification {
    /// The codes it may be, each with the keyed hash that this guess would have there.
    pub candidates: Vec<(CodeKey, MacTag)>,
    /// The epoch the code must have been sent under.
    pub epoch: i64,
    /// What a right guess does to the code.
    pub on_match: OnCodeMatch,
    /// How many wrong guesses burn a code.
    pub max_attempts: u32,
}

/// What a right guess does to the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCodeMatch {
    /// It stays good.
    Keep,
    /// It is used up, and the account's failures are forgiven.
    Consume,
}

/// How a guess at a code was booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeVerificationResult {
    /// Right: the index of the candidate.
    Valid(usize),
    /// Wrong: counted against every candidate, the account and the origin.
    Invalid,
    /// The limits refuse it; nothing was looked at or counted.
    RateLimited {
        /// For how long.
        retry_after: Duration,
    },
}

/// A code to be kept.
#[derive(Clone, Debug)]
pub struct NewCode {
    /// What it is found by; an older code there is replaced.
    pub key: CodeKey,
    /// Its keyed hash.
    pub tag: MacTag,
    /// The epoch of its user's credential; 0 if nobody has the identifier yet.
    pub epoch: i64,
    /// When it ends.
    pub expires: Timestamp,
}

/// A use of something that is counted: a key and how often it may be used.
#[derive(Clone, Debug)]
pub struct QuotaUse {
    /// What is counted.
    pub key: String,
    /// How often.
    pub quota: Quota,
}

/// A quota that is spent; nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// How long until every use is within its quota.
    pub retry_after: Duration,
    /// Which of the uses it is, counted from 0; the last, if it is several.
    pub index: usize,
}

/// The short-lived state: limits, replay memory, sessions, codes, tickets, captchas. Shared by all instances.
///
/// It may lose what it holds (an operator may empty it): whoever reads it must fail closed.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// When this store came up empty: proofs dated at or before that second may have been accepted already.
    async fn created_at(&self) -> Result<Timestamp>;

    /// What the limits say of `attempt`. Counts nothing.
    async fn check_rate_limit(&self, attempt: &LoginAttempt) -> Result<RateLimitDecision>;

    /// Books an attempt to log in: one trip. Asks the limits again first, then compares
    /// [`LoginAttempt::proof_made_at`] with the store's birth.
    async fn record_login_attempt(&self, attempt: &LoginAttempt, verdict: &ProofResult) -> Result<AttemptOutcome>;

    /// Checks a guess at a code and books it: one trip. Asks the limits first.
    async fn verify_code(&self, attempt: &LoginAttempt, guess: &CodeVerification) -> Result<CodeVerificationResult>;

    /// Counts one use of each of `uses`, and keeps `code` if there is one. If any use is over its quota, counts and
    /// keeps nothing and returns which.
    async fn consume_quotas(
        &self,
        uses: &[QuotaUse],
        code: Option<&NewCode>,
        now: Timestamp,
    ) -> Result<Option<QuotaExceeded>>;

    /// The session with this key, if it has not expired.
    async fn find_session(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Session>>;

    /// Stores a session, in place of one with the same key. While its user has more than [`NewSession::max_per_user`], the
    /// oldest of the others end; at most 1,000 at once, where the bound was lowered.
    async fn open_session(&self, new: &NewSession) -> Result<()>;

    /// Notes that a session was used: its `last_seen` and `expires`. Does nothing if it is gone.
    async fn touch_session(&self, key: &TokenKey, session: &Session) -> Result<()>;

    /// Carries a session over to a new epoch: it survives the change of password it made.
    async fn set_session_epoch(&self, key: &TokenKey, epoch: i64) -> Result<()>;

    /// Ends a session of this user. Gives whether there was one.
    async fn end_session(&self, key: &TokenKey, user: UserId) -> Result<bool>;

    /// Stores a ticket.
    async fn store_ticket(&self, key: &TokenKey, ticket: &Ticket) -> Result<()>;

    /// Takes a ticket out, once, if it is of this kind, for this audience, and has not expired. A try that does not
    /// fit leaves it there.
    async fn redeem_ticket(
        &self,
        key: &TokenKey,
        kind: TicketKind,
        audience: &str,
        now: Timestamp,
    ) -> Result<Option<Ticket>>;

    /// Notes that a captcha was issued.
    async fn store_captcha(&self, id: u64, expires: Timestamp) -> Result<()>;

    /// Counts a view of a captcha: `true` if it was issued, has not expired, was not taken, and was viewed fewer than
    /// `most` times before.
    async fn count_captcha_view(&self, id: u64, most: u32, now: Timestamp) -> Result<bool>;

    /// Takes a captcha: `true` once, if it was issued and has not expired.
    async fn consume_captcha(&self, id: u64, now: Timestamp) -> Result<bool>;

    /// Forgets what has expired by `now`, where the store does not do so by itself.
    async fn delete_expired(&self, now: Timestamp) -> Result<()>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<()>;

    /// What is wrong with how the store is set up although it answers, as last seen: the fault and its remedy, without
    /// secrets. Asks nothing of the store.
    fn misconfiguration(&self) -> Option<String>;
}

/// A code on its way.
#[derive(Clone, Debug)]
pub struct CodeMessage {
    /// When it was made.
    pub at: Timestamp,
    /// To whom.
    pub to: Recipient,
    /// What for.
    pub purpose: CodePurpose,
    /// From which dialect: what language to write in.
    pub dialect: &'static str,
    /// The code.
    pub code: Code,
}

/// Takes codes to their recipients.
#[async_trait]
pub trait Delivery: Send + Sync {
    /// Whether a message to `to` would be taken on. To be asked before anything is looked up or counted: so a send
    /// that is bound to fail costs the recipient none of theirs, and its failure does not tell whether they have an
    /// account.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`] if it would not.
    fn check_available(&self, _to: &Recipient) -> Result<()> {
        Ok(())
    }

    /// Hands a message over for delivery and returns at once, so that its time tells nothing.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`] if it cannot even be taken on.
    fn dispatch(&self, message: CodeMessage) -> Result<()>;

    /// Waits, for seconds at most, until what was dispatched is delivered or given up: for a process that stops.
    async fn drain(&self) {}
}

/// Is told what happened: counts it, keeps the trail.
pub trait EventSink: Send + Sync {
    /// Takes note of an event. Called within the request: it must neither wait nor fail, and whoever has to write it
    /// somewhere does so later, in a batch.
    fn record(&self, event: Event);

    /// Notes that a send in `dialect` was refused because its ceiling, `max` an hour, is reached: an attack, or a ceiling that
    /// is too low. As [`EventSink::record`], which follows.
    fn global_send_quota_reached(&self, _at: Timestamp, _dialect: DialectName, _max: u32) {}
}

/// Whoever does not care to know.
impl EventSink for () {
    fn record(&self, _: Event) {}
}
