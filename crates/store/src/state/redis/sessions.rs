//! Sessions, and the index of each user's: how many there are, and which are the oldest.
//!
//! On one server a script keeps both. On a cluster they are in slots of their own, and a call makes a trip for each.
//! See `docs/adr/0032-sessions-of-a-user.md`.

use futures_util::future::try_join_all;
use stele_core::session::{NewSession, Session, TokenKey};
use stele_core::time::Timestamp;
use stele_core::user::UserId;
use stele_core::{Result, hex};

use super::script_call::{self, ScriptCall};
use super::{RedisStateStore, malformed_reply, records, scripts};

impl RedisStateStore {
    pub(super) fn session_key(&self, key: &TokenKey) -> String {
        self.untagged_key("session", hex::encode(&key.0))
    }

    /// The key of the index of a user's sessions.
    pub(super) fn session_index_key(&self, user: UserId) -> String {
        self.untagged_key("sessions", hex::encode(user.as_bytes()))
    }

    /// Stores a session and ends the oldest ones of a user who has too many.
    pub(super) async fn put_session(&self, new: &NewSession, now: Timestamp) -> Result<()> {
        let call = ScriptCall::new(&scripts::PUT_SESSION).key(self.session_key(&new.key));
        if self.single_node {
            let call = call.key(self.session_index_key(new.session.user)).timestamp(now);
            return self.execute(records::with_new_session(call, new)).await;
        }
        self.execute(records::with_new_session(call.timestamp(now), new)).await?;
        let (over, members) = self.index_session(&new.key, &new.session, new.max_per_user, now).await?;
        if over > 0 { self.end_excess_sessions(new, over, members, now).await } else { Ok(()) }
    }

    /// Notes that a session was used.
    pub(super) async fn update_last_seen(&self, key: &TokenKey, session: &Session) -> Result<()> {
        let now = self.now();
        let mut call = ScriptCall::new(&scripts::TOUCH_SESSION).key(self.session_key(key));
        if self.single_node {
            call = call.key(self.session_index_key(session.user));
        }
        let call = records::with_index_entry(call.timestamp(now).timestamp(session.last_seen), key, session);
        let found: bool = self.connections.for_current_runtime().run_script(&call).await?;
        if found && !self.single_node {
            // Only to keep the index as long: it is the next login that makes room.
            self.index_session(key, session, u32::MAX, now).await?;
        }
        Ok(())
    }

    /// Ends a session.
    pub(super) async fn delete_session(&self, key: &TokenKey, user: UserId) -> Result<bool> {
        let (session, index) = (self.session_key(key), self.session_index_key(user));
        if self.single_node {
            return self
                .connections
                .for_current_runtime()
                .run_script(&ScriptCall::new(&scripts::END_SESSION).key(session).key(index).arg(key.0.as_slice()))
                .await;
        }
        let link = self.connections.for_current_runtime();
        let ended = link.run_command(redis::cmd("DEL").arg(session)).await?;
        // The session has ended whether or not this is done: an entry without one falls out when the index is crowded.
        let _ = link.run_command::<i64>(redis::cmd("ZREM").arg(index).arg(key.0.as_slice())).await;
        Ok(ended)
    }

    /// Lists a session under its user. Gives how many sessions are more than `most`, and the members to look at.
    async fn index_session(
        &self,
        key: &TokenKey,
        session: &Session,
        most: u32,
        now: Timestamp,
    ) -> Result<(usize, Vec<Vec<u8>>)> {
        let call =
            ScriptCall::new(&scripts::INDEX_SESSION).key(self.session_index_key(session.user)).timestamp(now).arg(most);
        self.connections.for_current_runtime().run_script(&records::with_index_entry(call, key, session)).await
    }

    /// What `make_room` in `sessions.lua` does, where each session may be on another node.
    async fn end_excess_sessions(
        &self,
        new: &NewSession,
        over: usize,
        members: Vec<Vec<u8>>,
        now: Timestamp,
    ) -> Result<()> {
        let link = self.connections.for_current_runtime();
        let keys: Option<Vec<_>> = members.into_iter().map(|member| Some(TokenKey(member.try_into().ok()?))).collect();
        let keys = keys.ok_or_else(|| malformed_reply("list of sessions"))?;
        let ends = keys.iter().map(async |key| {
            let mut command = redis::cmd("HGET");
            command.arg(self.session_key(key)).arg("expires");
            link.run_command::<Option<i64>>(&command).await
        });
        let ends = try_join_all(ends).await?;
        let (live, mut ended): (Vec<_>, Vec<_>) =
            keys.into_iter().zip(ends).partition(|(_, end)| end.is_some_and(|end| end > script_call::as_micros(now)));
        let oldest = live.into_iter().filter(|(key, _)| *key != new.key);
        ended.extend(oldest.take(over.saturating_sub(ended.len())));
        try_join_all(
            ended
                .iter()
                .map(async |(key, _)| link.run_command::<i64>(redis::cmd("DEL").arg(self.session_key(key))).await),
        )
        .await?;
        let members: Vec<_> = ended.iter().map(|(key, _)| key.0.as_slice()).collect();
        link.run_command::<i64>(redis::cmd("ZREM").arg(self.session_index_key(new.session.user)).arg(members))
            .await
            .map(drop)
    }
}
