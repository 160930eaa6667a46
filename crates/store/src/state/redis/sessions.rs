//! Sessions, and the index of each user's: how many there are, and which are the oldest.
//!
//! On one server a script keeps both. On a cluster they are in slots of their own, and a call makes a trip for each.
//! See `docs/adr/0032-index-each-users-sessions.md`.

use futures_util::future::try_join_all;
use stele_core::session::{NewSession, Session, TokenKey};
use stele_core::time::Timestamp;
use stele_core::user::UserId;
use stele_core::{Result, hex};

use super::call::{self, Call};
use super::{RedisState, nonsense, records, scripts};

impl RedisState {
    pub(super) fn session_key(&self, key: &TokenKey) -> String {
        self.apart("session", hex::encode(&key.0))
    }

    /// The key of the index of a user's sessions.
    pub(super) fn sessions_key(&self, user: UserId) -> String {
        self.apart("sessions", hex::encode(user.as_bytes()))
    }

    /// Stores a session and ends the oldest ones of a user who has too many.
    pub(super) async fn put_session(&self, new: &NewSession, now: Timestamp) -> Result<()> {
        let call = Call::new(&scripts::PUT_SESSION).key(self.session_key(&new.key));
        if self.whole {
            let call = call.key(self.sessions_key(new.session.user)).instant(now);
            return self.done(records::with_session(call, new)).await;
        }
        self.done(records::with_session(call.instant(now), new)).await?;
        let (over, members) = self.list_session(&new.key, &new.session, new.per_user, now).await?;
        if over > 0 { self.make_room(new, over, members, now).await } else { Ok(()) }
    }

    /// Notes that a session was used.
    pub(super) async fn note_use(&self, key: &TokenKey, session: &Session) -> Result<()> {
        let now = self.now();
        let mut call = Call::new(&scripts::TOUCH_SESSION).key(self.session_key(key));
        if self.whole {
            call = call.key(self.sessions_key(session.user));
        }
        let call = records::with_entry(call.instant(now).instant(session.last_seen), key, session);
        let found: bool = self.links.here().run(&call).await?;
        if found && !self.whole {
            // Only to keep the index as long: it is the next login that makes room.
            self.list_session(key, session, u32::MAX, now).await?;
        }
        Ok(())
    }

    /// Ends a session.
    pub(super) async fn remove_session(&self, key: &TokenKey, user: UserId) -> Result<bool> {
        let (session, index) = (self.session_key(key), self.sessions_key(user));
        if self.whole {
            return self
                .links
                .here()
                .run(&Call::new(&scripts::END_SESSION).key(session).key(index).arg(key.0.as_slice()))
                .await;
        }
        let link = self.links.here();
        let ended = link.query(redis::cmd("DEL").arg(session)).await?;
        // The session has ended whether or not this is done: an entry without one falls out when the index is crowded.
        let _ = link.query::<i64>(redis::cmd("ZREM").arg(index).arg(key.0.as_slice())).await;
        Ok(ended)
    }

    /// Lists a session under its user. Gives how many sessions are more than `most`, and the members to look at.
    async fn list_session(
        &self,
        key: &TokenKey,
        session: &Session,
        most: u32,
        now: Timestamp,
    ) -> Result<(usize, Vec<Vec<u8>>)> {
        let call = Call::new(&scripts::LIST_SESSION).key(self.sessions_key(session.user)).instant(now).arg(most);
        self.links.here().run(&records::with_entry(call, key, session)).await
    }

    /// What `make_room` in `sessions.lua` does, where each session may be on another node.
    async fn make_room(&self, new: &NewSession, over: usize, members: Vec<Vec<u8>>, now: Timestamp) -> Result<()> {
        let link = self.links.here();
        let keys: Option<Vec<_>> = members.into_iter().map(|member| Some(TokenKey(member.try_into().ok()?))).collect();
        let keys = keys.ok_or_else(|| nonsense("list of sessions"))?;
        let ends = keys.iter().map(async |key| {
            let mut command = redis::cmd("HGET");
            command.arg(self.session_key(key)).arg("expires");
            link.query::<Option<i64>>(&command).await
        });
        let ends = try_join_all(ends).await?;
        let (live, mut ended): (Vec<_>, Vec<_>) =
            keys.into_iter().zip(ends).partition(|(_, end)| end.is_some_and(|end| end > call::number(now)));
        let oldest = live.into_iter().filter(|(key, _)| *key != new.key);
        ended.extend(oldest.take(over.saturating_sub(ended.len())));
        try_join_all(
            ended.iter().map(async |(key, _)| link.query::<i64>(redis::cmd("DEL").arg(self.session_key(key))).await),
        )
        .await?;
        let members: Vec<_> = ended.iter().map(|(key, _)| key.0.as_slice()).collect();
        link.query::<i64>(redis::cmd("ZREM").arg(self.sessions_key(new.session.user)).arg(members)).await.map(drop)
    }
}
