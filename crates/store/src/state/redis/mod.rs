//! State store in Redis: one Lua script and one round trip per call; on a cluster, attempts take a round trip to the
//! slot of the origin and one to that of the account, and calls that store, touch or end a session take more.
//!
//! A script can access the keys of one slot of a cluster only. The keys of an account (rate limits, replay protection,
//! codes, the index of the user's sessions) have the hash tag of the account's bucket, those of an origin the tag of
//! its widest network, and quotas one tag in common. Sessions, tickets and captchas are each in the slot of their own
//! key. On one server, all but these and the index have one tag in common. Times are the caller's; the server's clock
//! is used only for births and for key expiry.

mod account_buckets;
mod cluster_nodes;
mod connection;
mod driver_connection;
mod eviction_policy;
mod login_attempts;
mod origins;
mod records;
mod redis_url;
mod script_call;
mod scripts;
mod server_clocks;
mod servers;
mod session_list;
mod sessions;

use std::sync::Arc;

use async_trait::async_trait;
use redis::FromRedisValue;
use stele_core::code::CodeKey;
use stele_core::hex;
use stele_core::ports::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, ProofResult, QuotaExceeded,
    QuotaUse, RateLimitDecision, ServerClock, StateStore,
};
use stele_core::rate_limit_key::rate_limit_key;
use stele_core::session::{NewSession, Session, SessionAndRevocation, SessionList, Ticket, TicketKind, TokenKey};
use stele_core::time::{Clock, Timestamp};
use stele_core::user::UserId;
use stele_core::{Error, Result};

use crate::OpenError;
use account_buckets::AccountBuckets;
use connection::RedisConnections;
use redis_url::RedisUrl;
use script_call::ScriptCall;
use servers::RedisClient;

/// State store in Redis: a single server, a master known to sentinels, or a cluster.
pub struct RedisStateStore {
    connections: RedisConnections,
    clock: Arc<dyn Clock>,
    prefix: String,
}

impl RedisStateStore {
    /// Connects to `redis://…`, `redis+sentinel://…` or `redis+cluster://…`, and records the birth of an empty store. A
    /// lost connection is replaced in the background.
    ///
    /// # Errors
    /// [`OpenError`] if the URL is invalid, or the servers cannot be used now.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<Self>, OpenError> {
        let url = RedisUrl::parse(url)?;
        let to_open_error = |cause: String| OpenError::RedisUnreachable { url: url.to_string(), cause };
        let client = RedisClient::new(&url).map_err(|e| to_open_error(e.to_string()))?;
        let prefix = url.prefix.clone();
        let buckets = url.is_cluster().then(|| AccountBuckets::new(&prefix));
        let connections = RedisConnections::connect(client, format!("{{{prefix}}}:birth"), buckets, Arc::clone(&clock))
            .await
            .map_err(to_open_error)?;
        Ok(Arc::new(Self { connections, clock, prefix }))
    }

    /// Whether the keys are distributed over a cluster, where one script cannot access keys in different slots.
    fn is_cluster(&self) -> bool {
        self.connections.buckets().is_some()
    }

    /// Where the keys of an account are.
    fn account_slot(&self, account: &str) -> AccountSlot<'_> {
        let key = rate_limit_key("account", account);
        match self.connections.buckets() {
            Some(buckets) => {
                let bucket = AccountBuckets::bucket_of(&key);
                AccountSlot { tag: buckets.tag(bucket), bucket: Some(bucket) }
            }
            None => AccountSlot { tag: &self.prefix, bucket: None },
        }
    }

    /// A key without a hash tag, in any slot of a cluster.
    fn untagged_key(&self, kind: &str, name: impl std::fmt::Display) -> String {
        format!("{}:{kind}:{name}", self.prefix)
    }

    fn birth_key(&self) -> String {
        format!("{{{}}}:birth", self.prefix)
    }

    fn ticket_key(&self, key: &TokenKey) -> String {
        self.untagged_key("ticket", hex::encode(&key.0))
    }

    fn revocation_key(&self, key: &TokenKey) -> String {
        self.untagged_key("revoked", hex::encode(&key.0))
    }

    fn captcha_key(&self, id: u64) -> String {
        self.untagged_key("captcha", id)
    }

    /// The time for calls whose caller passes none. It determines only the TTL of keys.
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn is_revoked(&self, key: &TokenKey, now: Timestamp) -> Result<bool> {
        let mut command = redis::cmd("GET");
        command.arg(self.revocation_key(key));
        let expires: Option<i64> = self.connections.for_current_runtime().run_command(&command).await?;
        Ok(expires.is_some_and(|expires| expires > script_call::as_micros(now)))
    }

    /// Runs a script on the connection of the current runtime.
    async fn run_script<T: FromRedisValue>(&self, call: &ScriptCall) -> Result<T> {
        self.connections.for_current_runtime().run_script(call).await
    }

    /// Runs a script whose reply has no information.
    async fn execute(&self, call: ScriptCall) -> Result<()> {
        self.run_script::<i64>(&call).await.map(drop)
    }
}

/// Where the keys of an account are.
#[derive(Clone, Copy)]
struct AccountSlot<'a> {
    /// The hash tag of the keys.
    tag: &'a str,
    /// The account's bucket, on a cluster.
    bucket: Option<usize>,
}

impl AccountSlot<'_> {
    /// A key of the account. One script can access all keys of the account.
    fn key(self, kind: &str, name: &[u8]) -> String {
        format!("{{{}}}:{kind}:{}", self.tag, hex::encode(name))
    }

    fn birth_key(self) -> String {
        format!("{{{}}}:birth", self.tag)
    }

    fn code_key(self, key: &CodeKey) -> String {
        self.key("code", &rate_limit_key("code", key.as_str()))
    }
}

/// The error for an invalid record or reply. Names the kind of reply, never the value.
fn malformed_reply_error(kind: &'static str) -> Error {
    Error::internal(format!("invalid {kind} from the state store"))
}

#[async_trait]
impl StateStore for RedisStateStore {
    /// On a cluster, the latest birth of a bucket.
    async fn created_at(&self) -> Result<Timestamp> {
        if let Some(buckets) = self.connections.buckets() {
            self.connections.for_current_runtime().record_births().await?;
            return Ok(buckets.latest_birth());
        }
        let call = ScriptCall::new(&scripts::BIRTH).key(self.birth_key());
        let (at, _): (i64, String) = self.run_script(&call).await?;
        Ok(Timestamp::from_micros(at))
    }

    async fn check_rate_limit(&self, attempt: &LoginAttempt) -> Result<RateLimitDecision> {
        self.run_rate_limit_check(attempt).await
    }

    async fn record_login_attempt(&self, attempt: &LoginAttempt, proof: &ProofResult) -> Result<AttemptOutcome> {
        self.run_login_attempt(attempt, proof).await
    }

    async fn verify_code(&self, attempt: &LoginAttempt, guess: &CodeVerification) -> Result<CodeVerificationResult> {
        self.run_code_verification(attempt, guess).await
    }

    async fn consume_quotas(
        &self,
        uses: &[QuotaUse],
        code: Option<&NewCode>,
        now: Timestamp,
    ) -> Result<Option<QuotaExceeded>> {
        self.run_quota_consumption(uses, code, now).await
    }

    async fn find_session(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Session>> {
        let row = self
            .connections
            .for_current_runtime()
            .run_command(&records::session_fields_command(&self.session_key(key)))
            .await?;
        Ok(records::parse_session(row)?.filter(|session| session.expires > now))
    }

    async fn find_session_and_revocation(
        &self,
        session: Option<&TokenKey>,
        token: &TokenKey,
        now: Timestamp,
    ) -> Result<SessionAndRevocation> {
        let find_session = async {
            match session {
                Some(key) => self.find_session(key, now).await,
                None => Ok(None),
            }
        };
        // Two commands without a script, written to the connection one after the other.
        let (session, is_revoked) = futures_util::try_join!(find_session, self.is_revoked(token, now))?;
        Ok(SessionAndRevocation { session, is_revoked })
    }

    async fn list_sessions(&self, user: UserId, now: Timestamp) -> Result<SessionList> {
        self.read_sessions(user, now).await
    }

    async fn open_session(&self, new: &NewSession) -> Result<()> {
        self.store_session(new, self.now()).await
    }

    async fn touch_session(&self, key: &TokenKey, session: &Session) -> Result<()> {
        self.update_last_seen(key, session).await
    }

    async fn set_session_epoch(&self, key: &TokenKey, epoch: i64) -> Result<()> {
        self.execute(ScriptCall::new(&scripts::SET_SESSION_EPOCH).key(self.session_key(key)).arg(epoch)).await
    }

    async fn end_session(&self, key: &TokenKey, user: UserId) -> Result<bool> {
        self.delete_session(key, user).await
    }

    async fn end_sessions(&self, user: UserId, now: Timestamp) -> Result<u64> {
        self.delete_sessions(user, now).await
    }

    async fn revoke_token(&self, key: &TokenKey, expires: Timestamp) -> Result<()> {
        let call = ScriptCall::new(&scripts::REVOKE_TOKEN).key(self.revocation_key(key)).timestamp(self.now());
        self.execute(call.timestamp(expires)).await
    }

    async fn store_ticket(&self, key: &TokenKey, ticket: &Ticket) -> Result<()> {
        let call = ScriptCall::new(&scripts::STORE_TICKET).key(self.ticket_key(key)).timestamp(self.now());
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
        let row = self.run_script(&call.arg(kind.as_str()).arg(audience)).await?;
        records::parse_ticket(row, kind, audience)
    }

    async fn store_captcha(&self, id: u64, expires: Timestamp) -> Result<()> {
        let call = ScriptCall::new(&scripts::STORE_CAPTCHA).key(self.captcha_key(id)).timestamp(self.now());
        self.execute(call.timestamp(expires)).await
    }

    async fn count_captcha_view(&self, id: u64, max_views: u32, now: Timestamp) -> Result<bool> {
        let call = ScriptCall::new(&scripts::COUNT_CAPTCHA_VIEW).key(self.captcha_key(id)).timestamp(now);
        self.run_script(&call.arg(max_views)).await
    }

    async fn consume_captcha(&self, id: u64, now: Timestamp) -> Result<bool> {
        self.run_script(&ScriptCall::new(&scripts::CONSUME_CAPTCHA).key(self.captcha_key(id)).timestamp(now)).await
    }

    /// Does nothing: Redis expires keys.
    async fn delete_expired(&self, _: Timestamp) -> Result<()> {
        Ok(())
    }

    /// Writes, because a replica and a server without memory or disk space still answer reads.
    async fn ping(&self) -> Result<()> {
        self.execute(ScriptCall::new(&scripts::CHECK_WRITABLE).key(self.birth_key())).await
    }

    async fn server_clocks(&self) -> Result<Vec<ServerClock>> {
        self.connections.for_current_runtime().read_server_clocks().await
    }

    fn misconfiguration(&self) -> Option<String> {
        self.connections.eviction_defect()
    }
}
