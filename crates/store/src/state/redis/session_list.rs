//! A user's sessions in Redis, found by the index: listing them, and ending all.
//!
//! The index is read in pages, and the sessions of a page at once: on a cluster each may be on another node, and on one
//! server a script over all of them would delay the logins of others. Entries that are found without a session are
//! removed, see `remove_index_entries.lua`.

use futures_util::future::try_join_all;
use stele_core::Result;
use stele_core::session::{KeyedSession, MAX_LISTED_SESSIONS, Session, SessionList, TokenKey};
use stele_core::time::Timestamp;
use stele_core::user::UserId;

use super::script_call::ScriptCall;
use super::{RedisStateStore, malformed_reply_error, records, scripts};

/// Entries of the index that are read at once.
const PAGE_SIZE: usize = 500;

/// An entry of the index.
struct IndexEntry {
    key: TokenKey,
    /// Creation time of the session, in microseconds, as Redis writes it.
    score: String,
}

/// Why an entry is removed from the index.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RemovalReason {
    /// This call has ended the session.
    Ended,
    /// The session was not found: it is gone, or a login is about to store it.
    NotFound,
}

/// The end of a session: the reply of `delete_session.lua`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SessionEnd {
    NotFound,
    Expired,
    Live,
}

/// A position in the index, which is read from the newest entry to the oldest.
struct IndexCursor {
    /// The score of the last entry that was read.
    score: String,
    /// How many entries with that score were read.
    read: usize,
}

impl IndexCursor {
    fn start() -> Self {
        Self { score: "+inf".to_owned(), read: 0 }
    }

    /// Moves beyond the entries of a page.
    fn advance(&mut self, page: &[IndexEntry]) {
        let Some(last) = page.last() else { return };
        if last.score != self.score {
            *self = Self { score: last.score.clone(), read: 0 };
        }
        self.read += page.iter().filter(|entry| entry.score == self.score).count();
    }
}

impl RedisStateStore {
    /// The live sessions of a user, newest first.
    pub(super) async fn read_sessions(&self, user: UserId, now: Timestamp) -> Result<SessionList> {
        let mut list = SessionList { sessions: Vec::new(), has_more: false };
        let (mut cursor, mut is_last_page, mut gone) = (IndexCursor::start(), false, Vec::new());
        while !is_last_page && !list.has_more {
            let page = self.read_index_page(user, &mut cursor).await?;
            is_last_page = page.len() < PAGE_SIZE;
            for (entry, session) in self.read_sessions_of_page(page).await? {
                match session {
                    None => gone.push((entry, RemovalReason::NotFound)),
                    Some(session) if session.expires <= now => {}
                    Some(_) if list.sessions.len() == MAX_LISTED_SESSIONS => list.has_more = true,
                    Some(session) => list.sessions.push(KeyedSession { key: entry.key, session }),
                }
            }
        }
        self.remove_index_entries(user, &gone, now).await?;
        Ok(list)
    }

    /// Ends all sessions of a user. Returns how many had not expired.
    pub(super) async fn delete_sessions(&self, user: UserId, now: Timestamp) -> Result<u64> {
        let (mut cursor, mut is_last_page, mut entries) = (IndexCursor::start(), false, Vec::new());
        let mut ended = 0;
        while !is_last_page {
            let page = self.read_index_page(user, &mut cursor).await?;
            is_last_page = page.len() < PAGE_SIZE;
            let ends = try_join_all(page.iter().map(async |entry| self.delete_session_of(entry, now).await)).await?;
            ended += ends.iter().filter(|end| **end == SessionEnd::Live).count() as u64;
            let reason = |end| if end == SessionEnd::NotFound { RemovalReason::NotFound } else { RemovalReason::Ended };
            entries.extend(page.into_iter().zip(ends.into_iter().map(reason)));
        }
        self.remove_index_entries(user, &entries, now).await?;
        Ok(ended)
    }

    /// Reads the entries of a user's index that follow `cursor`, at most [`PAGE_SIZE`].
    async fn read_index_page(&self, user: UserId, cursor: &mut IndexCursor) -> Result<Vec<IndexEntry>> {
        let mut command = redis::cmd("ZREVRANGEBYSCORE");
        command.arg(self.session_index_key(user)).arg(&cursor.score).arg("-inf").arg("WITHSCORES");
        command.arg("LIMIT").arg(cursor.read).arg(PAGE_SIZE);
        let page: Vec<(Vec<u8>, String)> = self.connections.for_current_runtime().run_command(&command).await?;
        let parse = |(member, score): (Vec<u8>, String)| {
            member.try_into().ok().map(|member| IndexEntry { key: TokenKey(member), score })
        };
        let page: Option<Vec<_>> = page.into_iter().map(parse).collect();
        let page = page.ok_or_else(|| malformed_reply_error("index of sessions"))?;
        cursor.advance(&page);
        Ok(page)
    }

    /// The sessions of the entries, also expired ones; `None` for an entry without a session.
    async fn read_sessions_of_page(&self, page: Vec<IndexEntry>) -> Result<Vec<(IndexEntry, Option<Session>)>> {
        let connection = self.connections.for_current_runtime();
        let read = page.iter().map(async |entry| {
            let command = records::session_fields_command(&self.session_key(&entry.key));
            records::parse_session(connection.run_command(&command).await?)
        });
        let sessions = try_join_all(read).await?;
        Ok(page.into_iter().zip(sessions).collect())
    }

    async fn delete_session_of(&self, entry: &IndexEntry, now: Timestamp) -> Result<SessionEnd> {
        let call = ScriptCall::new(&scripts::DELETE_SESSION).key(self.session_key(&entry.key)).timestamp(now);
        match self.run_script::<String>(&call).await?.as_str() {
            "none" => Ok(SessionEnd::NotFound),
            "expired" => Ok(SessionEnd::Expired),
            "live" => Ok(SessionEnd::Live),
            _ => Err(malformed_reply_error("reply to the end of a session")),
        }
    }

    /// Removes entries from a user's index, but for those that a login may need. Not while the index is being read:
    /// cursors count the entries of one time.
    async fn remove_index_entries(
        &self,
        user: UserId,
        entries: &[(IndexEntry, RemovalReason)],
        now: Timestamp,
    ) -> Result<()> {
        let index = self.session_index_key(user);
        for entries in entries.chunks(PAGE_SIZE) {
            let call = ScriptCall::new(&scripts::REMOVE_INDEX_ENTRIES).key(index.clone()).timestamp(now);
            let with_entry = |call: ScriptCall, (entry, reason): &(IndexEntry, RemovalReason)| {
                call.arg(entry.key.0.as_slice()).arg(&entry.score).flag(*reason == RemovalReason::Ended)
            };
            self.execute(entries.iter().fold(call, with_entry)).await?;
        }
        Ok(())
    }
}
