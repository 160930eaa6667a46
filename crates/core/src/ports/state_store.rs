//! The state store: rate limits and quotas, replay protection, sessions, codes, tickets and captchas.

use async_trait::async_trait;

use super::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, ProofResult, QuotaExceeded,
    QuotaUse, RateLimitDecision, ServerClock,
};
use crate::Result;
use crate::session::{NewSession, Session, SessionAndRevocation, SessionList, Ticket, TicketKind, TokenKey};
use crate::time::Timestamp;
use crate::user::UserId;

/// Short-lived state, shared by all instances.
///
/// The store may lose its contents, for instance because an operator empties it, so use cases must fail closed: a
/// missing record never grants access.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// When this store was created empty. Proofs dated in that second or before may have been accepted already.
    async fn created_at(&self) -> Result<Timestamp>;

    /// Whether the rate limits allow `attempt`. Counts nothing.
    async fn check_rate_limit(&self, attempt: &LoginAttempt) -> Result<RateLimitDecision>;

    /// Records a login attempt in one round trip. Checks the rate limits first, then compares
    /// [`LoginAttempt::proof_made_at`] with [`StateStore::created_at`], then detects replays and consumes the code.
    async fn record_login_attempt(&self, attempt: &LoginAttempt, proof_result: &ProofResult) -> Result<AttemptOutcome>;

    /// Checks the rate limits and verifies a code in one round trip. A wrong code is counted as a failure.
    async fn verify_code(&self, attempt: &LoginAttempt, guess: &CodeVerification) -> Result<CodeVerificationResult>;

    /// Counts all of `uses` and stores `code`, if there is one. If a use exceeds its quota, nothing is counted or
    /// stored, and the exceeded quota is returned.
    async fn consume_quotas(
        &self,
        uses: &[QuotaUse],
        code: Option<&NewCode>,
        now: Timestamp,
    ) -> Result<Option<QuotaExceeded>>;

    /// The session with this key, whatever its dialect, if it has not expired.
    async fn find_session(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Session>>;

    /// The session with the key `session`, as [`StateStore::find_session`], and whether the access token with the key
    /// `token` is revoked, within one round trip: on a Redis Cluster, of two concurrent commands. Each is true at some
    /// time during the call.
    async fn find_session_and_revocation(
        &self,
        session: Option<&TokenKey>,
        token: &TokenKey,
        now: Timestamp,
    ) -> Result<SessionAndRevocation>;

    /// The sessions of a user that have not expired by `now`, newest first, at most
    /// [`MAX_LISTED_SESSIONS`](crate::session::MAX_LISTED_SESSIONS). Sessions that are opened or ended during the call
    /// may be listed or not.
    async fn list_sessions(&self, user: UserId, now: Timestamp) -> Result<SessionList>;

    /// Stores a session, and replaces a session with the same key. If the user then has more than
    /// [`NewSession::max_per_user`] sessions, the oldest others end, at most 1,000 in one call (more are left only
    /// after the limit was lowered).
    async fn open_session(&self, new: &NewSession) -> Result<()>;

    /// Stores a session's `last_seen` and `expires` after it was used. Does nothing if the session is gone.
    async fn touch_session(&self, key: &TokenKey, session: &Session) -> Result<()>;

    /// Moves a session to a new epoch, so that the session survives the change of password that it was used for.
    async fn set_session_epoch(&self, key: &TokenKey, epoch: i64) -> Result<()>;

    /// Ends a session of this user. Returns whether there was one.
    async fn end_session(&self, key: &TokenKey, user: UserId) -> Result<bool>;

    /// Ends all sessions of a user. Returns how many had not expired by `now`.
    ///
    /// Every session whose opening was answered before this call is ended when the call is answered. A session that is
    /// opened during the call may end or stay valid, since the credential's epoch does not change: change the epoch to
    /// end those as well. After an error some of the sessions have ended; repeat the call. On a Redis Cluster sessions
    /// are found by their user's index, as in `docs/adr/0032-index-each-users-sessions.md`: a session whose entry was
    /// lost with a master, or removed by a concurrent login at the session limit, ends only in a call after its next use
    /// that is recorded ([`StateStore::touch_session`]), which adds the entry again.
    async fn end_sessions(&self, user: UserId, now: Timestamp) -> Result<u64>;

    /// Revokes an access token until `expires`, when it expires by itself. A store that loses its contents forgets
    /// revocations: the sessions are lost with them, so that only tokens without a session can become valid again, for
    /// what is left of their five minutes.
    async fn revoke_token(&self, key: &TokenKey, expires: Timestamp) -> Result<()>;

    /// Stores a ticket.
    async fn store_ticket(&self, key: &TokenKey, ticket: &Ticket) -> Result<()>;

    /// Removes a ticket and returns it, if it has this kind and audience and has not expired. A ticket of another kind
    /// or audience stays.
    async fn redeem_ticket(
        &self,
        key: &TokenKey,
        kind: TicketKind,
        audience: &str,
        now: Timestamp,
    ) -> Result<Option<Ticket>>;

    /// Records that a captcha was issued.
    async fn store_captcha(&self, id: u64, expires: Timestamp) -> Result<()>;

    /// Counts a view of a captcha. Returns `true` if the captcha was issued, has not expired, was not consumed, and was
    /// viewed fewer than `max_views` times before.
    async fn count_captcha_view(&self, id: u64, max_views: u32, now: Timestamp) -> Result<bool>;

    /// Consumes a captcha. Returns `true`, only once, if the captcha was issued and has not expired.
    async fn consume_captcha(&self, id: u64, now: Timestamp) -> Result<bool>;

    /// Deletes the records that have expired by `now`, in a store that does not expire records itself.
    async fn delete_expired(&self, now: Timestamp) -> Result<()>;

    /// Health check: succeeds if the store answers.
    async fn ping(&self) -> Result<()>;

    /// The clocks of the store's servers that write, read within one round trip; empty for an embedded store, which has
    /// no other clock than this machine's.
    async fn server_clocks(&self) -> Result<Vec<ServerClock>>;

    /// The last detected misconfiguration of a store that answers: the fault and the remedy, without secrets. `None` if
    /// there is none. Sends no request to the store.
    fn misconfiguration(&self) -> Option<String>;
}
