//! The short-lived state, embedded: one SQLite file, which any number of processes may share.

mod codes;
mod contributions;
mod limits;
mod power;
mod schema;
mod sessions;
mod sweep;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use diesel::prelude::*;
use stele_core::Result;
use stele_core::ports::{
    Admission, Attempt, CodeCheck, CodeGuess, NewCode, QuotaExceeded, Settlement, StateStore, Use, Verdict,
};
use stele_core::session::{NewSession, Session, Ticket, TicketKind, TokenKey};
use stele_core::time::{Clock, Timestamp};
use stele_core::user::UserId;

use crate::error::corrupt;
use crate::migrate::{self, SchemaState};
use crate::sqlite::thread::{Access, Thread};
use crate::sqlite::{self, Durability};
use crate::{OpenError, Target};
use schema::meta;

const BIRTH: &str = "birth";

/// The short-lived state in an SQLite file.
pub struct SqliteState {
    thread: Thread,
}

impl SqliteState {
    /// Opens the file, making it if it is not there and bringing its schema up to date: it holds nothing that would
    /// have to be protected from that. Blocks for a moment.
    ///
    /// # Errors
    /// [`OpenError`] if the file cannot be written, is not a database, or is newer than this program.
    pub fn open(path: impl AsRef<Path>, clock: &dyn Clock) -> Result<Arc<Self>, OpenError> {
        let path = path.as_ref().to_owned();
        sqlite::prepare(&path)?;
        let target = Target::sqlite(&path);
        let unusable = |cause: String| OpenError::Unreachable { target: target.clone(), cause };
        let mut conn = sqlite::connect(&path, Durability::Process).map_err(|e| unusable(e.to_string()))?;
        let applied = migrate::applied_sqlite(&mut conn).map_err(|e| unusable(e.to_string()))?;
        let schema = migrate::compare::<diesel::sqlite::Sqlite>(&migrate::STATE_SQLITE, &applied);
        if schema.map_err(|e| unusable(e.to_string()))? == SchemaState::Newer {
            return Err(OpenError::Newer(target));
        }
        // Under the write lock, so that of several who open an empty store at once, one is there at its birth.
        conn.immediate_transaction(|conn| {
            migrate::run(conn, migrate::STATE_SQLITE)?;
            let born = (meta::key.eq(BIRTH), meta::value.eq(clock.now().as_micros()));
            diesel::insert_or_ignore_into(meta::table).values(born).execute(conn)?;
            power::outlived(conn, power::Uptime::now(), clock.now())?;
            Ok(())
        })
        .map_err(|e: Box<dyn std::error::Error + Send + Sync>| OpenError::Migration {
            target: target.clone(),
            cause: e.to_string(),
        })?;
        let thread = Thread::start("stele-state", path, Durability::Process, Some(conn));
        Ok(Arc::new(Self { thread: thread.map_err(|e| unusable(e.to_string()))? }))
    }

    async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        self.thread.call(Access::Read, work).await
    }

    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        self.thread.call(Access::Write, work).await
    }
}

/// When the store came up empty. Without that no proof can be told from a replay: fail closed.
fn born(conn: &mut SqliteConnection) -> QueryResult<Timestamp> {
    let micros = meta::table.find(BIRTH).select(meta::value).get_result(conn).optional()?;
    micros.map(Timestamp::from_micros).ok_or_else(|| corrupt("meta.birth"))
}

#[async_trait]
impl StateStore for SqliteState {
    async fn birth(&self) -> Result<Timestamp> {
        self.read(born).await
    }

    async fn admit(&self, attempt: &Attempt) -> Result<Admission> {
        let attempt = attempt.clone();
        self.read(move |conn| Ok(limits::Standing::load(conn, &attempt)?.state.admission())).await
    }

    async fn settle(&self, attempt: &Attempt, verdict: &Verdict) -> Result<Settlement> {
        let (attempt, verdict) = (attempt.clone(), verdict.clone());
        self.write(move |conn| codes::settle(conn, &attempt, &verdict)).await
    }

    async fn guess_code(&self, attempt: &Attempt, guess: &CodeGuess) -> Result<CodeCheck> {
        let (attempt, guess) = (attempt.clone(), guess.clone());
        self.write(move |conn| codes::guess(conn, &attempt, &guess)).await
    }

    async fn send_code(&self, uses: &[Use], code: Option<&NewCode>, now: Timestamp) -> Result<Option<QuotaExceeded>> {
        let (uses, code) = (uses.to_vec(), code.cloned());
        self.write(move |conn| {
            let exceeded = limits::count(conn, &uses, now)?;
            if let (None, Some(code)) = (exceeded, &code) {
                codes::put(conn, code)?;
            }
            Ok(exceeded)
        })
        .await
    }

    async fn session(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Session>> {
        let key = *key;
        self.read(move |conn| sessions::get(conn, &key, now)).await
    }

    async fn open_session(&self, new: &NewSession) -> Result<()> {
        let new = new.clone();
        self.write(move |conn| {
            sessions::put(conn, &new)?;
            sessions::make_room(conn, &new)
        })
        .await
    }

    async fn touch_session(&self, key: &TokenKey, session: &Session) -> Result<()> {
        let (key, used) = (*key, session.clone());
        self.write(move |conn| sessions::touch(conn, &key, &used)).await
    }

    async fn restamp_session(&self, key: &TokenKey, epoch: i64) -> Result<()> {
        let key = *key;
        self.write(move |conn| sessions::restamp(conn, &key, epoch)).await
    }

    async fn end_session(&self, key: &TokenKey, _: UserId) -> Result<bool> {
        let key = *key;
        self.write(move |conn| sessions::end(conn, &key)).await
    }

    async fn put_ticket(&self, key: &TokenKey, ticket: &Ticket) -> Result<()> {
        let (key, ticket) = (*key, ticket.clone());
        self.write(move |conn| sessions::put_ticket(conn, &key, &ticket)).await
    }

    async fn redeem_ticket(
        &self,
        key: &TokenKey,
        kind: TicketKind,
        audience: &str,
        now: Timestamp,
    ) -> Result<Option<Ticket>> {
        let (key, audience) = (*key, audience.to_owned());
        self.write(move |conn| sessions::redeem_ticket(conn, &key, kind, &audience, now)).await
    }

    async fn put_captcha(&self, id: u64, expires: Timestamp) -> Result<()> {
        self.write(move |conn| sessions::put_captcha(conn, id, expires)).await
    }

    async fn view_captcha(&self, id: u64, most: u32, now: Timestamp) -> Result<bool> {
        self.write(move |conn| sessions::view_captcha(conn, id, most, now)).await
    }

    async fn take_captcha(&self, id: u64, now: Timestamp) -> Result<bool> {
        self.write(move |conn| sessions::take_captcha(conn, id, now)).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<()> {
        self.write(|conn| power::seen(conn, power::Uptime::now())).await?;
        for (table, key) in sweep::TABLES {
            // In jobs of their own, so that logins get in between.
            while self.write(move |conn| sweep::chunk(conn, table, key, now)).await? {}
        }
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        self.read(|conn| diesel::select(1.into_sql::<diesel::sql_types::Integer>()).execute(conn).map(drop)).await
    }

    fn defect(&self) -> Option<String> {
        None
    }
}
