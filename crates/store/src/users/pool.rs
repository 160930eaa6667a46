//! Connections of either backend, and the macros that let one query body serve both.

use std::future::{Ready, ready};
use std::ops::DerefMut;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use diesel::dsl::Limit;
use diesel::query_dsl::methods::{ExecuteDsl, LimitDsl, LoadQuery};
use diesel::result::Error as DbError;
use diesel::{ConnectionError, ConnectionResult, QueryResult, SqliteConnection};
use diesel_async::pooled_connection::deadpool::{BuildError, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt as _;
use stele_core::{Error, Result};

use super::postgres::PostgresServer;
use super::shared_connections::SharedConnections;
use crate::sqlite::Durability;
use crate::sqlite::thread::{Access, SqliteThread};
use crate::{DatabaseUrl, OpenError};

/// How long an administrator's command waits for a connection.
pub(super) const ADMIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const MAX_POOL_SIZE: usize = 8;

/// How long a call may take.
#[derive(Clone, Copy)]
pub(super) struct PoolConfig {
    /// Waiting for a connection, a new one included.
    pub(super) connection_timeout: Duration,
    /// All of it.
    pub(super) call_timeout: Duration,
}

/// A login is told within two seconds that the server is gone.
pub(super) const POSTGRES_CONFIG: PoolConfig =
    PoolConfig { connection_timeout: Duration::from_millis(1_500), call_timeout: Duration::from_millis(1_500) };

/// For what looks at every user: as long as the server lets a statement run, and some.
pub(super) const SLOW_QUERY_CONFIG: PoolConfig = PoolConfig { call_timeout: Duration::from_secs(9), ..POSTGRES_CONFIG };

/// The connections to either backend.
pub(super) enum BackendConnections {
    Postgres(PostgresConnections),
    Sqlite(SqliteConnections),
}

/// The connections to SQLite: one on a thread for what reads and one on a thread for what writes, started when they are
/// first used.
pub(super) struct SqliteConnections {
    path: PathBuf,
    reader: OnceLock<Result<SqliteThread, String>>,
    writer: OnceLock<Result<SqliteThread, String>>,
}

impl SqliteConnections {
    fn new(path: PathBuf) -> Self {
        Self { path, reader: OnceLock::new(), writer: OnceLock::new() }
    }

    /// Runs `work` on the thread for this access: [`Thread::run`].
    pub(super) async fn run<T, F>(&self, access: Access, work: F) -> Result<QueryResult<T>>
    where
        T: Send + 'static,
        F: Fn(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let (thread, name) = match access {
            Access::Read => (&self.reader, "stele-users"),
            Access::Write => (&self.writer, "stele-users-write"),
        };
        let start = || {
            SqliteThread::start(name, self.path.clone(), Durability::SurvivesPowerLoss, None).map_err(|e| e.to_string())
        };
        let thread = thread.get_or_init(start).as_ref().map_err(|e| Error::unavailable(e.clone()))?;
        thread.submit(access, work).await
    }
}

/// A statement's answer is there at once where diesel-async would have it awaited: so a body of queries is written once.
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

/// What a body comes to whose statements have their answers at once.
pub(super) fn resolve_now<T>(body: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
    body.now_or_never().unwrap_or_else(|| Err(DbError::QueryBuilderError("a statement had to be waited for".into())))
}

/// The connections to PostgreSQL.
pub(super) struct PostgresConnections {
    /// For what writes, and for what may be slow.
    pub(super) pool: Pool<AsyncPgConnection>,
    /// For what reads a row or none.
    pub(super) shared: Box<SharedConnections>,
}

impl BackendConnections {
    /// A pool that connects when it is first used.
    pub(super) fn new(target: &DatabaseUrl) -> Result<Self, OpenError> {
        let unusable = |e: BuildError| OpenError::Unreachable { target: target.clone(), cause: e.to_string() };
        match target {
            DatabaseUrl::Postgres(url) => {
                let server = PostgresServer::parse(url)?;
                let lanes = Box::new(SharedConnections::new(server.clone()));
                let manager = AsyncDieselConnectionManager::new_with_config("", manager_config(server));
                let pool = Pool::builder(manager).max_size(MAX_POOL_SIZE).build().map_err(unusable)?;
                Ok(Self::Postgres(PostgresConnections { pool, shared: lanes }))
            }
            DatabaseUrl::Sqlite(path) => Ok(Self::Sqlite(SqliteConnections::new(path.clone()))),
        }
    }
}

fn manager_config(server: PostgresServer) -> ManagerConfig<AsyncPgConnection> {
    let mut config = ManagerConfig::default();
    // A connection that the server closed is told without asking it.
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |_| {
        let server = server.clone();
        Box::pin(async move { connect_with_server_timeouts(&server).await })
    });
    config
}

/// A new connection. The server gives up too, and frees the locks of an instance that is gone.
pub(super) async fn connect_with_server_timeouts(server: &PostgresServer) -> ConnectionResult<AsyncPgConnection> {
    let mut conn = server.connect().await?;
    conn.batch_execute("SET statement_timeout = '8s'; SET idle_in_transaction_session_timeout = '15s'")
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// A connection out of the pool. If its operation is abandoned (the client hung up, the time was up), it does not go
/// back: it may be in the middle of a statement or a transaction, and would keep its locks while idle.
pub(super) struct PooledConnection<O> {
    object: Option<O>,
    discard: fn(O),
}

impl<O: DerefMut> PooledConnection<O> {
    pub(super) fn new(object: O, discard: fn(O)) -> Self {
        Self { object: Some(object), discard }
    }

    pub(super) fn get(&mut self) -> Result<&mut O::Target> {
        self.object.as_deref_mut().ok_or_else(|| Error::internal("the connection was given back"))
    }

    /// Gives the connection back: its operation has come to an end.
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

/// Runs a body of queries, an expression of type `QueryResult<_>`, on a connection of whichever backend it is; `$access` is
/// whether it reads or writes. On SQLite it may run more than once, each time as if it had not before, and whatever it
/// names must be its own. After a call that PostgreSQL did not answer in time its idle connections are given up, too: they
/// lead to the same server, or to where it was.
macro_rules! query {
    ($db:expr, $access:ident, |$conn:ident| $body:expr) => {
        query!($db, $access, POSTGRES_CONFIG, |$conn| $body)
    };
    ($db:expr, $access:ident, $config:expr, |$conn:ident| $body:expr) => {
        match &*$db {
            BackendConnections::Postgres(PostgresConnections { pool, .. }) => query!(@postgres pool, $config, |$conn| $body),
            BackendConnections::Sqlite(sqlite) => query!(@sqlite sqlite, $access, |$conn| $body),
        }
    };
    (@postgres $pool:ident, $config:expr, |$conn:ident| $body:expr) => {{
        use diesel_async::RunQueryDsl as _;
        let in_time = tokio::time::timeout($config.call_timeout, async {
            let object = tokio::time::timeout($config.connection_timeout, $pool.get()).await;
            let object = object.map_err(Error::unavailable)?.map_err(Error::unavailable)?;
            let mut pooled = PooledConnection::new(object, |object| drop(Object::take(object)));
            let $conn = pooled.get()?;
            let outcome = async { $body }.await;
            pooled.release();
            Ok::<_, Error>(outcome)
        });
        match in_time.await {
            Ok(outcome) => outcome?,
            Err(late) => {
                $pool.retain(|_, _| false);
                return Err(Error::unavailable(late));
            }
        }
    }};
    (@sqlite $sqlite:ident, $access:ident, |$conn:ident| $body:expr) => {{
        use super::pool::RunOnSqlite as _;
        $sqlite.run(Access::$access, move |$conn| resolve_now(async { $body })).await?
    }};
}

/// Reads a row of the type `$row` or none by `$query`, whose values must be its own or borrowed from what can be moved.
/// In PostgreSQL on a connection that others share, all of which may turn out to be lost, and are replaced.
macro_rules! read {
    ($db:expr, $row:ty, $query:expr) => {
        match &*$db {
            BackendConnections::Postgres(PostgresConnections { shared, .. }) => {
                let in_time = tokio::time::timeout(POSTGRES_CONFIG.call_timeout, async {
                    let mut lost = 0;
                    loop {
                        let connection = shared.checkout().await?;
                        let mut conn = shared_connections::connection_of(&connection)?;
                        let outcome = diesel_async::RunQueryDsl::get_result::<$row>($query, &mut conn).await.optional();
                        if !shared_connections::is_connection_lost(&outcome) {
                            break outcome.map_err(map_database_error);
                        }
                        shared.discard(&connection);
                        lost += 1;
                        if lost > shared_connections::CONNECTIONS_PER_RUNTIME {
                            break outcome.map_err(map_database_error);
                        }
                    }
                });
                in_time.await.unwrap_or_else(|late| {
                    shared.discard_all();
                    Err(Error::unavailable(late))
                })
            }
            BackendConnections::Sqlite(sqlite) => {
                let work =
                    move |conn: &mut SqliteConnection| diesel::RunQueryDsl::get_result::<$row>($query, conn).optional();
                sqlite.run(Access::Read, work).await.and_then(|row| row.map_err(map_database_error))
            }
        }
    };
}

/// As [`query`], for what writes, in a transaction: on SQLite every body that writes has one.
macro_rules! transaction {
    ($db:expr, |$conn:ident| $body:expr) => {
        transaction!($db, POSTGRES_CONFIG, |$conn| $body)
    };
    ($db:expr, $config:expr, |$conn:ident| $body:expr) => {
        match &*$db {
            BackendConnections::Postgres(PostgresConnections { pool, .. }) => {
                query!(@postgres pool, $config, |conn| conn.transaction(async |$conn| $body).await)
            }
            BackendConnections::Sqlite(sqlite) => query!(@sqlite sqlite, Write, |$conn| $body),
        }
    };
}

pub(super) use {query, read, transaction};
