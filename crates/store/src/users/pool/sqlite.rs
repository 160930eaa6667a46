//! SQLite connections of the user store, and the trait by which one query body compiles for both backends.

use std::future::{Ready, ready};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use diesel::dsl::Limit;
use diesel::query_dsl::methods::{ExecuteDsl, LimitDsl, LoadQuery};
use diesel::result::Error as DbError;
use diesel::{QueryResult, SqliteConnection};
use futures_util::FutureExt as _;
use stele_core::{Error, Result};

use crate::sqlite::Durability;
use crate::sqlite::thread::{Access, SqliteThread};

/// SQLite connections: one thread for reads and one for writes, each started at its first job.
pub(in crate::users) struct SqliteConnections {
    path: PathBuf,
    reader: OnceLock<Result<SqliteThread, String>>,
    writer: OnceLock<Result<SqliteThread, String>>,
}

impl SqliteConnections {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, reader: OnceLock::new(), writer: OnceLock::new() }
    }

    pub(in crate::users) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on the thread for `access`: see [`SqliteThread::submit`].
    pub(in crate::users) async fn run<T, F>(&self, access: Access, work: F) -> Result<QueryResult<T>>
    where
        T: Send + 'static,
        F: Fn(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let (slot, name) = match access {
            Access::Read => (&self.reader, "stele-users"),
            Access::Write => (&self.writer, "stele-users-write"),
        };
        let start_thread = || {
            SqliteThread::start(name, self.path.clone(), Durability::SurvivesPowerLoss, None).map_err(|e| e.to_string())
        };
        let thread = slot.get_or_init(start_thread).as_ref().map_err(|e| Error::unavailable(e.clone()))?;
        thread.submit(access, work).await
    }
}

/// The methods of `diesel_async::RunQueryDsl` for SQLite: they run the statement and return a ready future, so that one
/// query body with `.await` compiles for both backends.
pub(in crate::users) trait RunOnSqlite: Sized {
    fn execute(self, conn: &mut SqliteConnection) -> Ready<QueryResult<usize>>
    where
        Self: ExecuteDsl<SqliteConnection>,
    {
        ready(ExecuteDsl::execute(self, conn))
    }

    fn load<'query, U>(self, conn: &mut SqliteConnection) -> Ready<QueryResult<Vec<U>>>
    where
        Self: LoadQuery<'query, SqliteConnection, U>,
    {
        ready(diesel::RunQueryDsl::load(self, conn))
    }

    fn get_result<'query, U>(self, conn: &mut SqliteConnection) -> Ready<QueryResult<U>>
    where
        Self: LoadQuery<'query, SqliteConnection, U>,
    {
        ready(diesel::RunQueryDsl::get_result(self, conn))
    }

    fn first<'query, U>(self, conn: &mut SqliteConnection) -> Ready<QueryResult<U>>
    where
        Self: LimitDsl,
        Limit<Self>: LoadQuery<'query, SqliteConnection, U>,
    {
        ready(diesel::RunQueryDsl::get_result(self.limit(1), conn))
    }
}

impl<Q> RunOnSqlite for Q {}

/// The result of a query body whose futures are all ready ([`RunOnSqlite`]).
pub(in crate::users) fn resolve_now<T>(body: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
    body.now_or_never().unwrap_or_else(|| Err(DbError::QueryBuilderError("a query body for SQLite was pending".into())))
}
