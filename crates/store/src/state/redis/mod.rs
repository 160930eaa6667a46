//! The short-lived state in Redis: one script for each call, one trip for each script.
//!
//! Everything that the limits, replays and codes are made of has one hash tag and so is in one slot of a cluster,
//! where one script can see it whole. Sessions, tickets and captchas are each in the slot of their own key, and so is
//! the index of a user's sessions. Instants are the caller's, as everywhere; the server's clock dates births and clears
//! away what is long over.

mod connection;
mod eviction_policy;
mod login_attempts;
mod records;
mod redis_url;
mod script_call;
mod scripts;
mod servers;
mod sessions;

use std::sync::Arc;

use async_trait::async_trait;
use stele_core::hex;
use stele_core::ports::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, ProofResult, QuotaExceeded,
    QuotaUse, RateLimitDecision, StateStore,
};
use stele_core::session::{NewSession, Session, Ticket, TicketKind, TokenKey};
use stele_core::time::{Clock, Timestamp};
use stele_core::user::UserId;
use stele_core::{Error, Result};

use crate::OpenError;
use connection::RedisConnections;
use redis_url::RedisUrl;
use script_call::ScriptCall;
use servers::RedisClient;

/// The short-lived state in Redis: one server, a master that sentinels know, or a cluster.
pub struct RedisStateStore {
    connections: RedisConnections,
    clock: Arc<dyn Clock>,
    prefix: String,
    /// Whether a script can see a session along with the limits, and all sessions of a user: not on a cluster.
    single_node: bool,
}

impl RedisStateStore {
    /// Connects to `redis://…`, `redis+sentinel://…` or `redis+cluster://…`, and notes the birth of a store that is
    /// empty. From then on it reconnects by itself.
    ///
    /// # Errors
    /// [`OpenError`] if the URL cannot be read, or the servers cannot be used now.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<Self>, OpenError> {
        let place = RedisUrl::parse(url)?;
        let unusable = |cause: String| OpenError::RedisUnreachable { place: place.to_string(), cause };
        let servers = RedisClient::new(&place).map_err(|e| unusable(e.to_string()))?;
        let prefix = place.prefix.clone();
        let links = RedisConnections::connect(servers, format!("{{{prefix}}}:birth"), Arc::clone(&clock))
            .await
            .map_err(unusable)?;
        Ok(Arc::new(Self { connections: links, clock, prefix, single_node: !place.is_cluster() }))
    }

    /// A key of what one script must see together: it has the deployment's tag.
    fn hash_tagged_key(&self, kind: &str, name: impl std::fmt::Display) -> String {
        format!("{{{}}}:{kind}:{name}", self.prefix)
    }

    /// A key of what is by itself, and wherever on a cluster it happens to be.
    fn untagged_key(&self, kind: &str, name: impl std::fmt::Display) -> String {
        format!("{}:{kind}:{name}", self.prefix)
    }

    fn birth_key(&self) -> String {
        format!("{{{}}}:birth", self.prefix)
    }

    fn ticket_key(&self, key: &TokenKey) -> String {
        self.untagged_key("ticket", hex::encode(&key.0))
    }

    fn captcha_key(&self, id: u64) -> String {
        self.untagged_key("captcha", id)
    }

    /// For what comes without a time: how long to keep it is all that depends on this.
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn execute(&self, call: ScriptCall) -> Result<()> {
        self.connections.for_current_runtime().run_script::<i64>(&call).await.map(drop)
    }
}

/// A record or an answer that makes no sense: names what it was, never the value.
fn malformed_reply(what: &'static str) -> Error {
    Error::internal(format!("the state store gave a {what} that makes no sense"))
}

#[async_trait]
impl StateStore for RedisStateStore {
    async fn created_at(&self) -> Result<Timestamp> {
        let call = ScriptCall::new(&scripts::BIRTH).key(self.birth_key());
        let (at, _): (i64, String) = self.connections.for_current_runtime().run_script(&call).await?;
        Ok(Timestamp::from_micros(at))
    }

    async fn check_rate_limit(&self, attempt: &LoginAttempt) -> Result<RateLimitDecision> {
        self.run_admit(attempt).await
    }

    async fn record_login_attempt(&self, attempt: &LoginAttempt, verdict: &ProofResult) -> Result<AttemptOutcome> {
        self.run_login_attempt(attempt, verdict).await
    }

    async fn verify_code(&self, attempt: &LoginAttempt, guess: &CodeVerification) -> Result<CodeVerificationResult> {
        self.run_code_guess(attempt, guess).await
    }

    async fn consume_quotas(
        &self,
        uses: &[QuotaUse],
        code: Option<&NewCode>,
        now: Timestamp,
    ) -> Result<Option<QuotaExceeded>> {
        self.run_send_code(uses, code, now).await
    }

    async fn find_session(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Session>> {
        let row = self
            .connections
            .for_current_runtime()
            .run_command(&records::session_fields_command(&self.session_key(key)))
            .await?;
        Ok(records::parse_session(row)?.filter(|session| session.expires > now))
    }

    async fn open_session(&self, new: &NewSession) -> Result<()> {
        self.put_session(new, self.now()).await
    }

    async fn touch_session(&self, key: &TokenKey, session: &Session) -> Result<()> {
        self.update_last_seen(key, session).await
    }

    async fn set_session_epoch(&self, key: &TokenKey, epoch: i64) -> Result<()> {
        self.execute(ScriptCall::new(&scripts::RESTAMP_SESSION).key(self.session_key(key)).arg(epoch)).await
    }

    async fn end_session(&self, key: &TokenKey, user: UserId) -> Result<bool> {
        self.delete_session(key, user).await
    }

    async fn store_ticket(&self, key: &TokenKey, ticket: &Ticket) -> Result<()> {
        let call = ScriptCall::new(&scripts::PUT_TICKET).key(self.ticket_key(key)).timestamp(self.now());
        self.execute(records::with_ticket(call, ticket)).await
    }

    async fn redeem_ticket(
        &self,
        key: &TokenKey,
        kind: TicketKind,
        audience: &str,
        now: Timestamp,
    ) -> Result<Option<Ticket>> {
        let call = ScriptCall::new(&scripts::REDEEM_TICKET).key(self.ticket_key(key)).timestamp(now);
        let row = self.connections.for_current_runtime().run_script(&call.arg(kind.as_str()).arg(audience)).await?;
        records::parse_ticket(row, kind, audience)
    }

    async fn store_captcha(&self, id: u64, expires: Timestamp) -> Result<()> {
        let call = ScriptCall::new(&scripts::PUT_CAPTCHA).key(self.captcha_key(id)).timestamp(self.now());
        self.execute(call.timestamp(expires)).await
    }

    async fn count_captcha_view(&self, id: u64, most: u32, now: Timestamp) -> Result<bool> {
        let call = ScriptCall::new(&scripts::VIEW_CAPTCHA).key(self.captcha_key(id)).timestamp(now);
        self.connections.for_current_runtime().run_script(&call.arg(most)).await
    }

    async fn consume_captcha(&self, id: u64, now: Timestamp) -> Result<bool> {
        self.connections
            .for_current_runtime()
            .run_script(&ScriptCall::new(&scripts::TAKE_CAPTCHA).key(self.captcha_key(id)).timestamp(now))
            .await
    }

    /// Nothing: Redis clears away by itself.
    async fn delete_expired(&self, _: Timestamp) -> Result<()> {
        Ok(())
    }

    /// Writes: a replica, and a server without memory or disk space, answer what is read.
    async fn ping(&self) -> Result<()> {
        self.execute(ScriptCall::new(&scripts::CHECK_WRITABLE).key(self.birth_key())).await
    }

    fn misconfiguration(&self) -> Option<String> {
        self.connections.eviction_defect()
    }
}
