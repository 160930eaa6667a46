//! Embedded state store: one SQLite file, which several processes may share.

mod failures_by_origin;
mod login_attempts;
mod rate_limit;
mod rollback_detection;
mod schema;
mod sessions;
mod sweep;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use diesel::prelude::*;
use stele_core::Result;
use stele_core::ports::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, ProofResult, QuotaExceeded,
    QuotaUse, RateLimitDecision, ServerClock, StateStore,
};
use stele_core::session::{NewSession, Session, SessionAndRevocation, SessionList, Ticket, TicketKind, TokenKey};
use stele_core::time::{Clock, Timestamp};
use stele_core::user::UserId;

use crate::error::corrupt_column_error;
use crate::migrate::{self, SchemaState};
use crate::sqlite::thread::{Access, SqliteThread};
use crate::sqlite::{self, Durability};
use crate::{DatabaseUrl, OpenError};
use schema::meta;

/// Key of the store's birth in the table `meta`: when the store was created empty, or may last have lost data. A proof
/// made before the birth may have been used already, and is rejected as stale.
const BIRTH_KEY: &str = "birth";

/// State store in an SQLite file.
pub struct SqliteStateStore {
    thread: SqliteThread,
}

impl SqliteStateStore {
    /// Opens the file, creates it if it is missing, and migrates its schema without being asked: the store's data may
    /// be lost. A newer schema that this program can use stays as it is. Blocks.
    ///
    /// # Errors
    /// [`OpenError`] if the file cannot be written, is not a database, or is newer and this program cannot use it.
    pub fn open(path: impl AsRef<Path>, clock: &dyn Clock) -> Result<Arc<Self>, OpenError> {
        let path = path.as_ref().to_owned();
        sqlite::create_if_missing(&path)?;
        let url = DatabaseUrl::sqlite(&path);
        let to_open_error = |cause: String| OpenError::Unreachable { target: url.clone(), cause };
        let mut conn = sqlite::open_connection(&path, Durability::SurvivesProcessCrash)
            .map_err(|e| to_open_error(e.to_string()))?;
        let applied = migrate::applied_schema_sqlite(&mut conn, &migrate::STATE_SQLITE)
            .map_err(|e| to_open_error(e.to_string()))?;
        let schema = migrate::compare_schema::<diesel::sqlite::Sqlite>(&migrate::STATE_SQLITE, &applied)
            .map_err(|e| to_open_error(e.to_string()))?;
        if schema == SchemaState::Newer {
            return Err(OpenError::NewerSchema(url));
        }
        // Under the write lock, so that processes that open an empty file at once agree on one birth.
        conn.immediate_transaction(|conn| {
            if schema != SchemaState::NewerCompatible {
                migrate::run_pending_migrations(conn, migrate::STATE_SQLITE)?;
            }
            let birth = (meta::key.eq(BIRTH_KEY), meta::value.eq(clock.now().as_micros()));
            diesel::insert_or_ignore_into(meta::table).values(birth).execute(conn)?;
            rollback_detection::invalidate_if_rolled_back(conn, rollback_detection::Uptime::now(), clock.now())?;
            Ok(())
        })
        .map_err(|e: Box<dyn std::error::Error + Send + Sync>| OpenError::MigrationFailed {
            target: url.clone(),
            cause: e.to_string(),
        })?;
        let thread = SqliteThread::start("stele-state", path, Durability::SurvivesProcessCrash, Some(conn));
        Ok(Arc::new(Self { thread: thread.map_err(|e| to_open_error(e.to_string()))? }))
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

/// The store's birth. Fails if the birth is missing: without it a replayed proof could not be detected (fail closed).
fn load_birth(conn: &mut SqliteConnection) -> QueryResult<Timestamp> {
    let micros = meta::table.find(BIRTH_KEY).select(meta::value).get_result(conn).optional()?;
    micros.map(Timestamp::from_micros).ok_or_else(|| corrupt_column_error("meta.birth"))
}

#[async_trait]
impl StateStore for SqliteStateStore {
    async fn created_at(&self) -> Result<Timestamp> {
        self.read(load_birth).await
    }

    async fn check_rate_limit(&self, attempt: &LoginAttempt) -> Result<RateLimitDecision> {
        let attempt = attempt.clone();
        self.read(move |conn| Ok(rate_limit::StoredRateLimits::load(conn, &attempt)?.state.decide_admission())).await
    }

    async fn record_login_attempt(&self, attempt: &LoginAttempt, proof: &ProofResult) -> Result<AttemptOutcome> {
        let (attempt, proof) = (attempt.clone(), proof.clone());
        self.write(move |conn| login_attempts::record_login_attempt(conn, &attempt, &proof)).await
    }

    async fn verify_code(&self, attempt: &LoginAttempt, guess: &CodeVerification) -> Result<CodeVerificationResult> {
        let (attempt, guess) = (attempt.clone(), guess.clone());
        self.write(move |conn| login_attempts::verify_code(conn, &attempt, &guess)).await
    }

    async fn consume_quotas(
        &self,
        uses: &[QuotaUse],
        code: Option<&NewCode>,
        now: Timestamp,
    ) -> Result<Option<QuotaExceeded>> {
        let (uses, code) = (uses.to_vec(), code.cloned());
        self.write(move |conn| {
            let exceeded = rate_limit::consume_quotas(conn, &uses, now)?;
            if let (None, Some(code)) = (exceeded, &code) {
                login_attempts::store_code(conn, code)?;
            }
            Ok(exceeded)
        })
        .await
    }

    async fn find_session(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Session>> {
        let key = *key;
        self.read(move |conn| sessions::find_session(conn, &key, now)).await
    }

    async fn find_session_and_revocation(
        &self,
        session: Option<&TokenKey>,
        token: &TokenKey,
        now: Timestamp,
    ) -> Result<SessionAndRevocation> {
        let (session, token) = (session.copied(), *token);
        self.read(move |conn| {
            let session = match &session {
                Some(key) => sessions::find_session(conn, key, now)?,
                None => None,
            };
            Ok(SessionAndRevocation { session, is_revoked: sessions::is_token_revoked(conn, &token, now)? })
        })
        .await
    }

    async fn list_sessions(&self, user: UserId, now: Timestamp) -> Result<SessionList> {
        self.read(move |conn| sessions::list_sessions(conn, user, now)).await
    }

    async fn open_session(&self, new: &NewSession) -> Result<()> {
        let new = new.clone();
        self.write(move |conn| {
            sessions::store_session(conn, &new)?;
            sessions::end_excess_sessions(conn, &new)
        })
        .await
    }

    async fn touch_session(&self, key: &TokenKey, session: &Session) -> Result<()> {
        let (key, session) = (*key, session.clone());
        self.write(move |conn| sessions::touch_session(conn, &key, &session)).await
    }

    async fn set_session_epoch(&self, key: &TokenKey, epoch: i64) -> Result<()> {
        let key = *key;
        self.write(move |conn| sessions::set_session_epoch(conn, &key, epoch)).await
    }

    async fn end_session(&self, key: &TokenKey, _: UserId) -> Result<bool> {
        let key = *key;
        self.write(move |conn| sessions::end_session(conn, &key)).await
    }

    async fn end_sessions(&self, user: UserId, now: Timestamp) -> Result<u64> {
        let mut ended = 0;
        loop {
            // One job per batch, so that logins run in between.
            let (live, more) = self.write(move |conn| sessions::end_sessions_batch(conn, user, now)).await?;
            ended += live;
            if !more {
                return Ok(ended);
            }
        }
    }

    async fn revoke_token(&self, key: &TokenKey, expires: Timestamp) -> Result<()> {
        let key = *key;
        self.write(move |conn| sessions::revoke_token(conn, &key, expires)).await
    }

    async fn store_ticket(&self, key: &TokenKey, ticket: &Ticket) -> Result<()> {
        let (key, ticket) = (*key, ticket.clone());
        self.write(move |conn| sessions::store_ticket(conn, &key, &ticket)).await
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

    async fn store_captcha(&self, id: u64, expires: Timestamp) -> Result<()> {
        self.write(move |conn| sessions::store_captcha(conn, id, expires)).await
    }

    async fn count_captcha_view(&self, id: u64, max_views: u32, now: Timestamp) -> Result<bool> {
        self.write(move |conn| sessions::count_captcha_view(conn, id, max_views, now)).await
    }

    async fn consume_captcha(&self, id: u64, now: Timestamp) -> Result<bool> {
        self.write(move |conn| sessions::consume_captcha(conn, id, now)).await
    }

    async fn delete_expired(&self, now: Timestamp) -> Result<()> {
        self.write(|conn| rollback_detection::record_in_use(conn, rollback_detection::Uptime::now())).await?;
        for (table, key) in sweep::TABLES {
            // One job per batch, so that logins run in between.
            while self.write(move |conn| sweep::delete_expired_batch(conn, table, key, now)).await? {}
        }
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        self.read(|conn| diesel::select(1.into_sql::<diesel::sql_types::Integer>()).execute(conn).map(drop)).await
    }

    async fn server_clocks(&self) -> Result<Vec<ServerClock>> {
        Ok(Vec::new())
    }

    fn misconfiguration(&self) -> Option<String> {
        None
    }
}
