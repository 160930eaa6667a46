//! Connection pools of the user store for PostgreSQL and SQLite, and the macros that compile one query body for both.

use std::future::{Ready, ready};
use std::ops::DerefMut;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use diesel::dsl::Limit;
use diesel::query_dsl::methods::{ExecuteDsl, LimitDsl, LoadQuery};
use diesel::result::Error as DbError;
use diesel::{ConnectionError, ConnectionResult, QueryResult, SqliteConnection};
use diesel_async::pooled_connection::deadpool::{BuildError, Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt as _;
use stele_core::{Error, Result};

use super::postgres::PostgresServer;
use super::shared_connections::SharedConnections;
use crate::sqlite::Durability;
use crate::sqlite::thread::{Access, SqliteThread};
use crate::{DatabaseUrl, OpenError};

/// Timeout of connecting for a migration or a schema check.
pub(super) const ADMIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Most pooled PostgreSQL connections of a process.
const MAX_POOL_SIZE: usize = 8;

/// Timeouts of a PostgreSQL query.
#[derive(Clone, Copy)]
pub(super) struct QueryTimeouts {
    /// For obtaining a connection, from the pool or new.
    pub(super) connection: Duration,
    /// For the whole call, including the connection.
    pub(super) call: Duration,
}

/// Timeouts of most queries: a login fails within two seconds when the server is unreachable.
pub(super) const POSTGRES_TIMEOUTS: QueryTimeouts =
    QueryTimeouts { connection: Duration::from_millis(1_500), call: Duration::from_millis(1_500) };

/// Timeouts of queries that read or change many rows: longer than the server's `statement_timeout` of 8 s.
pub(super) const SLOW_QUERY_TIMEOUTS: QueryTimeouts =
    QueryTimeouts { call: Duration::from_secs(9), ..POSTGRES_TIMEOUTS };

/// The connections to the configured backend.
pub(super) enum BackendConnections {
    Postgres(PostgresConnections),
    Sqlite(SqliteConnections),
}

/// SQLite connections: one thread for reads and one for writes, each started at its first job.
pub(super) struct SqliteConnections {
    path: PathBuf,
    reader: OnceLock<Result<SqliteThread, String>>,
    writer: OnceLock<Result<SqliteThread, String>>,
}

impl SqliteConnections {
    fn new(path: PathBuf) -> Self {
        Self { path, reader: OnceLock::new(), writer: OnceLock::new() }
    }

    /// Runs `work` on the thread for `access`: see [`SqliteThread::submit`].
    pub(super) async fn run<T, F>(&self, access: Access, work: F) -> Result<QueryResult<T>>
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
pub(super) trait RunOnSqlite: Sized {
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
pub(super) fn resolve_now<T>(body: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
    body.now_or_never().unwrap_or_else(|| Err(DbError::QueryBuilderError("a query body for SQLite was pending".into())))
}

/// The connections to PostgreSQL.
pub(super) struct PostgresConnections {
    /// For writes, transactions, and reads of several rows.
    pub(super) pool: Pool<AsyncPgConnection>,
    /// For reads of at most one row ([`read`]).
    pub(super) shared: Box<SharedConnections>,
}

impl BackendConnections {
    /// Prepares the connections. Each is made at its first use.
    pub(super) fn new(url: &DatabaseUrl) -> Result<Self, OpenError> {
        let to_open_error = |e: BuildError| OpenError::Unreachable { target: url.clone(), cause: e.to_string() };
        match url {
            DatabaseUrl::Postgres(url) => {
                let server = PostgresServer::parse(url)?;
                let shared = Box::new(SharedConnections::new(server.clone()));
                let manager = AsyncDieselConnectionManager::new_with_config("", manager_config(server));
                let pool = Pool::builder(manager).max_size(MAX_POOL_SIZE).build().map_err(to_open_error)?;
                Ok(Self::Postgres(PostgresConnections { pool, shared }))
            }
            DatabaseUrl::Sqlite(path) => Ok(Self::Sqlite(SqliteConnections::new(path.clone()))),
        }
    }
}

fn manager_config(server: PostgresServer) -> ManagerConfig<AsyncPgConnection> {
    let mut config = ManagerConfig::default();
    // `Fast` detects a closed connection without a query.
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |_| {
        let server = server.clone();
        Box::pin(async move { connect_with_server_timeouts(&server).await })
    });
    config
}

/// Connects, and sets timeouts at the server, which release the locks of an instance that has disappeared.
pub(super) async fn connect_with_server_timeouts(server: &PostgresServer) -> ConnectionResult<AsyncPgConnection> {
    let mut conn = server.connect().await?;
    conn.batch_execute("SET statement_timeout = '8s'; SET idle_in_transaction_session_timeout = '15s'")
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// A connection checked out of the pool. If it is dropped without [`release`](Self::release), because the call was
/// cancelled or timed out, the connection is closed: it may be inside a statement or a transaction, whose locks it
/// would hold while idle in the pool.
pub(super) struct PooledConnection<O> {
    object: Option<O>,
    discard: fn(O),
}

impl<O: DerefMut> PooledConnection<O> {
    pub(super) fn new(object: O, discard: fn(O)) -> Self {
        Self { object: Some(object), discard }
    }

    pub(super) fn get(&mut self) -> Result<&mut O::Target> {
        self.object.as_deref_mut().ok_or_else(|| Error::internal("the connection was released"))
    }

    /// Returns the connection to the pool after a completed query body.
    pub(super) fn release(mut self) {
        drop(self.object.take());
    }
}

impl<O> Drop for PooledConnection<O> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            (self.discard)(object);
        }
    }
}

/// Removes a connection from the pool and closes it.
pub(super) fn close_pooled(object: Object<AsyncPgConnection>) {
    drop(Object::take(object));
}

/// Runs a query body, an expression of type `QueryResult<_>`, on a connection of the configured backend. `$access` is
/// [`Access`]; `$timeouts` is [`QueryTimeouts`]. On SQLite the body may run more than once, with earlier runs rolled
/// back, and must own the values it uses. A timeout on PostgreSQL also drops the pool's idle connections, which lead to
/// the same unreachable server, or to its former address.
macro_rules! query {
    ($db:expr, $access:ident, |$conn:ident| $body:expr) => {
        $crate::users::pool::query!($db, $access, $crate::users::pool::POSTGRES_TIMEOUTS, |$conn| $body)
    };
    ($db:expr, $access:ident, $timeouts:expr, |$conn:ident| $body:expr) => {
        match &*$db {
            $crate::users::pool::BackendConnections::Postgres(postgres) => {
                $crate::users::pool::query!(@postgres postgres, $timeouts, |$conn| $body)
            }
            $crate::users::pool::BackendConnections::Sqlite(sqlite) => {
                $crate::users::pool::query!(@sqlite sqlite, $access, |$conn| $body)
            }
        }
    };
    (@postgres $postgres:ident, $timeouts:expr, |$conn:ident| $body:expr) => {{
        use diesel_async::RunQueryDsl as _;
        let pool = &$postgres.pool;
        let call = tokio::time::timeout($timeouts.call, async {
            let object = tokio::time::timeout($timeouts.connection, pool.get()).await;
            let object = object.map_err(stele_core::Error::unavailable)?.map_err(stele_core::Error::unavailable)?;
            let mut pooled =
                $crate::users::pool::PooledConnection::new(object, $crate::users::pool::close_pooled);
            let $conn = pooled.get()?;
            let outcome = async { $body }.await;
            pooled.release();
            Ok::<_, stele_core::Error>(outcome)
        });
        match call.await {
            Ok(outcome) => outcome?,
            Err(elapsed) => {
                pool.retain(|_, _| false);
                return Err(stele_core::Error::unavailable(elapsed));
            }
        }
    }};
    (@sqlite $sqlite:ident, $access:ident, |$conn:ident| $body:expr) => {{
        use $crate::users::pool::RunOnSqlite as _;
        let work = move |$conn: &mut diesel::SqliteConnection| $crate::users::pool::resolve_now(async { $body });
        $sqlite.run($crate::sqlite::thread::Access::$access, work).await?
    }};
}

/// Reads at most one row of type `$row` with `$query`, which must own its values or borrow from values that can be
/// moved. On PostgreSQL it uses the shared connections. When a connection turns out to be lost, the read is repeated on
/// another one, at most [`CONNECTIONS_PER_RUNTIME`](super::shared_connections::CONNECTIONS_PER_RUNTIME) times.
macro_rules! read {
    ($db:expr, $row:ty, $query:expr) => {
        match &*$db {
            $crate::users::pool::BackendConnections::Postgres(postgres) => {
                use $crate::users::shared_connections::{self, CONNECTIONS_PER_RUNTIME};
                let shared = &postgres.shared;
                let call = tokio::time::timeout($crate::users::pool::POSTGRES_TIMEOUTS.call, async {
                    let mut lost_connections = 0;
                    loop {
                        let connection = shared.checkout().await?;
                        let mut conn = shared_connections::connection_of(&connection)?;
                        let row = diesel_async::RunQueryDsl::get_result::<$row>($query, &mut conn).await;
                        let outcome = diesel::OptionalExtension::optional(row);
                        if !shared_connections::is_connection_lost(&outcome) {
                            break outcome.map_err($crate::error::map_database_error);
                        }
                        shared.discard(&connection);
                        lost_connections += 1;
                        if lost_connections > CONNECTIONS_PER_RUNTIME {
                            break outcome.map_err($crate::error::map_database_error);
                        }
                    }
                });
                call.await.unwrap_or_else(|elapsed| {
                    shared.discard_all();
                    Err(stele_core::Error::unavailable(elapsed))
                })
            }
            $crate::users::pool::BackendConnections::Sqlite(sqlite) => {
                let work = move |conn: &mut diesel::SqliteConnection| {
                    diesel::OptionalExtension::optional(diesel::RunQueryDsl::get_result::<$row>($query, conn))
                };
                let row = sqlite.run($crate::sqlite::thread::Access::Read, work).await;
                row.and_then(|row| row.map_err($crate::error::map_database_error))
            }
        }
    };
}

/// Runs a writing query body like [`query`], in a transaction. On SQLite every writing body runs in a transaction.
macro_rules! transaction {
    ($db:expr, |$conn:ident| $body:expr) => {
        $crate::users::pool::transaction!($db, $crate::users::pool::POSTGRES_TIMEOUTS, |$conn| $body)
    };
    ($db:expr, $timeouts:expr, |$conn:ident| $body:expr) => {
        match &*$db {
            $crate::users::pool::BackendConnections::Postgres(postgres) => {
                $crate::users::pool::query!(@postgres postgres, $timeouts, |conn| {
                    diesel_async::AsyncConnection::transaction(conn, async |$conn| $body).await
                })
            }
            $crate::users::pool::BackendConnections::Sqlite(sqlite) => {
                $crate::users::pool::query!(@sqlite sqlite, Write, |$conn| $body)
            }
        }
    };
}

pub(super) use {query, read, transaction};
