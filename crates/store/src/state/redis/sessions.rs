//! Sessions in Redis, and the index of each user's sessions, which bounds their number.
//!
//! On one server a script updates a session and the index. On a cluster they are in different slots, and a call makes
//! at least one round trip for each. See `docs/adr/0032-index-each-users-sessions.md`.

use futures_util::future::try_join_all;
use stele_core::ports::LoginAttempt;
use stele_core::session::{NewSession, Session, TokenKey};
use stele_core::time::Timestamp;
use stele_core::user::UserId;
use stele_core::{Result, hex};

use super::script_call::{self, ScriptCall};
use super::{RedisStateStore, malformed_reply_error, records, scripts};

impl RedisStateStore {
    pub(super) fn session_key(&self, key: &TokenKey) -> String {
        self.untagged_key("session", hex::encode(&key.0))
    }

    /// The key of the index of a user's sessions. On a cluster it is on the master of the user's account, so that a
    /// login needs no further master.
    pub(super) fn session_index_key(&self, user: UserId) -> String {
        if self.is_cluster() {
            let account = LoginAttempt::account_key(Some(user), "");
            return self.account_slot(&account).key("sessions", user.as_bytes());
        }
        self.untagged_key("sessions", hex::encode(user.as_bytes()))
    }

    /// Stores a session, and ends the oldest sessions of its user that exceed the session limit.
    pub(super) async fn store_session(&self, new: &NewSession, now: Timestamp) -> Result<()> {
        let call = ScriptCall::new(&scripts::STORE_SESSION).key(self.session_key(&new.key));
        if !self.is_cluster() {
            let call = call.key(self.session_index_key(new.session.user)).timestamp(now);
            return self.execute(records::with_new_session(call, new)).await;
        }
        let store = self.execute(records::with_new_session(call.timestamp(now), new));
        let index = self.index_session(&new.key, &new.session, new.max_per_user, now);
        let ((), (excess, members)) = futures_util::try_join!(store, index)?;
        if excess > 0 { self.end_excess_sessions(new, excess, members, now).await } else { Ok(()) }
    }

    /// Updates the last use and the expiry of a session.
    pub(super) async fn update_last_seen(&self, key: &TokenKey, session: &Session) -> Result<()> {
        let now = self.now();
        let mut call = ScriptCall::new(&scripts::TOUCH_SESSION).key(self.session_key(key));
        if !self.is_cluster() {
            call = call.key(self.session_index_key(session.user));
        }
        let call = records::with_index_entry(call.timestamp(now).timestamp(session.last_seen), key, session);
        let found: bool = self.run_script(&call).await?;
        if found && self.is_cluster() {
            // Only extends the TTL of the index. The next login ends excess sessions.
            self.index_session(key, session, u32::MAX, now).await?;
        }
        Ok(())
    }

    /// Ends a session. Returns whether it existed.
    pub(super) async fn delete_session(&self, key: &TokenKey, user: UserId) -> Result<bool> {
        let (session, index) = (self.session_key(key), self.session_index_key(user));
        if !self.is_cluster() {
            return self
                .run_script(&ScriptCall::new(&scripts::END_SESSION).key(session).key(index).arg(key.0.as_slice()))
                .await;
        }
        let connection = self.connections.for_current_runtime();
        let ended = connection.run_command(redis::cmd("DEL").arg(session)).await?;
        // An error is ignored: an entry without a session is removed when the index exceeds the limit.
        let _ = connection.run_command::<i64>(redis::cmd("ZREM").arg(index).arg(key.0.as_slice())).await;
        Ok(ended)
    }

    /// Adds a session to the index of its user. Returns the number of sessions above `limit`, and the members to check
    /// (`excess_sessions` in `sessions.lua`).
    async fn index_session(
        &self,
        key: &TokenKey,
        session: &Session,
        limit: u32,
        now: Timestamp,
    ) -> Result<(usize, Vec<Vec<u8>>)> {
        let call = ScriptCall::new(&scripts::INDEX_SESSION)
            .key(self.session_index_key(session.user))
            .timestamp(now)
            .arg(limit);
        self.run_script(&records::with_index_entry(call, key, session)).await
    }

    /// Does the same as `end_excess_sessions` in `sessions.lua`, on a cluster, where each session may be on another
    /// node. A session without a record is only removed from the index: another login may be about to store it.
    async fn end_excess_sessions(
        &self,
        new: &NewSession,
        excess: usize,
        members: Vec<Vec<u8>>,
        now: Timestamp,
    ) -> Result<()> {
        let connection = self.connections.for_current_runtime();
        let keys: Option<Vec<_>> = members.into_iter().map(|member| Some(TokenKey(member.try_into().ok()?))).collect();
        let keys = keys.ok_or_else(|| malformed_reply_error("index of sessions"))?;
        let expiries = keys.iter().map(async |key| {
            let mut command = redis::cmd("HGET");
            command.arg(self.session_key(key)).arg("expires");
            connection.run_command::<Option<i64>>(&command).await
        });
        let expiries = try_join_all(expiries).await?;
        let now = script_call::as_micros(now);
        let (live, expired): (Vec<_>, Vec<_>) =
            keys.into_iter().zip(expiries).partition(|(_, expires)| expires.is_some_and(|expires| expires > now));
        let oldest = live.into_iter().filter(|(key, _)| *key != new.key);
        let to_end: Vec<_> = oldest.take(excess.saturating_sub(expired.len())).collect();
        let deletions = to_end
            .iter()
            .map(async |(key, _)| connection.run_command::<i64>(redis::cmd("DEL").arg(self.session_key(key))).await);
        try_join_all(deletions).await?;
        let members: Vec<_> = expired.iter().chain(&to_end).map(|(key, _)| key.0.as_slice()).collect();
        connection
            .run_command::<i64>(redis::cmd("ZREM").arg(self.session_index_key(new.session.user)).arg(members))
            .await
            .map(drop)
    }
}
