//! Connections of either backend, and the macros that let one query body serve both.

use std::ops::DerefMut;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult, SqliteConnection};
use diesel_async::pooled_connection::deadpool::{BuildError, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use stele_core::Error;

use super::detached::Detached;
pub(super) use super::detached::{begin, end};
use super::lanes::Lanes;
use super::postgres::Server;
use crate::sqlite::thread::Thread;
use crate::sqlite::{self, Durability};
use crate::{OpenError, Target};

pub(super) type SqliteConn = SyncConnectionWrapper<SqliteConnection, Detached>;

/// How long an administrator's command waits for a connection.
pub(super) const ADMIN_LIMIT: Duration = Duration::from_secs(5);

const SQLITE_CONNECTIONS: usize = 4;
const POSTGRES_CONNECTIONS: usize = 8;

/// How long a call may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Waiting for a connection, a new one included.
    pub(super) connection: Duration,
    /// All of it.
    pub(super) call: Duration,
}

/// More than SQLite waits for a lock, so that it is SQLite who says that it is busy.
pub(super) const SQLITE_LIMITS: Limits = Limits { connection: Duration::from_secs(2), call: Duration::from_secs(10) };

/// A login is told within two seconds that the server is gone.
pub(super) const POSTGRES_LIMITS: Limits =
    Limits { connection: Duration::from_millis(1_500), call: Duration::from_millis(1_500) };

/// For what looks at every user: as long as the server lets a statement run, and some.
pub(super) const SLOW_LIMITS: Limits = Limits { call: Duration::from_secs(9), ..POSTGRES_LIMITS };

/// The connections to either backend.
pub(super) enum Db {
    Pg(Postgres),
    Sqlite(Sqlite),
}

/// The connections to SQLite.
pub(super) struct Sqlite {
    /// For what writes, and for what may be slow.
    pub(super) pool: Pool<SqliteConn>,
    path: PathBuf,
    /// For what reads a row or none; there from when it is first used.
    reader: OnceLock<Result<Thread, String>>,
}

impl Sqlite {
    /// The thread for what reads a row or none.
    pub(super) fn reader(&self) -> stele_core::Result<&Thread> {
        let start = || Thread::start("stele-users", self.path.clone(), Durability::Power, None);
        self.reader
            .get_or_init(|| start().map_err(|e| e.to_string()))
            .as_ref()
            .map_err(|e| Error::unavailable(e.clone()))
    }
}

/// The connections to PostgreSQL.
pub(super) struct Postgres {
    /// For what writes, and for what may be slow.
    pub(super) pool: Pool<AsyncPgConnection>,
    /// For what reads a row or none.
    pub(super) lanes: Box<Lanes>,
}

impl Db {
    /// A pool that connects when it is first used.
    pub(super) fn new(target: &Target) -> Result<Self, OpenError> {
        let unusable = |e: BuildError| OpenError::Unreachable { target: target.clone(), cause: e.to_string() };
        match target {
            Target::Postgres(url) => {
                let server = Server::parse(url)?;
                let lanes = Box::new(Lanes::new(server.clone()));
                let manager = AsyncDieselConnectionManager::new_with_config("", postgres_config(server));
                let pool = Pool::builder(manager).max_size(POSTGRES_CONNECTIONS).build().map_err(unusable)?;
                Ok(Self::Pg(Postgres { pool, lanes }))
            }
            Target::Sqlite(path) => {
                let manager = AsyncDieselConnectionManager::new_with_config("", sqlite_config(path.clone()));
                let pool = Pool::builder(manager).max_size(SQLITE_CONNECTIONS).build().map_err(unusable)?;
                Ok(Self::Sqlite(Sqlite { pool, path: path.clone(), reader: OnceLock::new() }))
            }
        }
    }
}

fn sqlite_config(path: PathBuf) -> ManagerConfig<SqliteConn> {
    let mut config = ManagerConfig::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |_| {
        let path = path.clone();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || sqlite::connect(&path, Durability::Power))
                .await
                .map_err(|e| ConnectionError::BadConnection(e.to_string()))?
                .map(SqliteConn::new)
        })
    });
    config
}

fn postgres_config(server: Server) -> ManagerConfig<AsyncPgConnection> {
    let mut config = ManagerConfig::default();
    // A connection that the server closed is told without asking it.
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |_| {
        let server = server.clone();
        Box::pin(async move { connect(&server).await })
    });
    config
}

/// A new connection. The server gives up too, and frees the locks of an instance that is gone.
pub(super) async fn connect(server: &Server) -> ConnectionResult<AsyncPgConnection> {
    let mut conn = server.connect().await?;
    conn.batch_execute("SET statement_timeout = '8s'; SET idle_in_transaction_session_timeout = '15s'")
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// A connection out of the pool. If its operation is abandoned (the client hung up, the time was up), it does not go
/// back: it may be in the middle of a statement or a transaction, and would keep its locks while idle.
pub(super) struct Lease<O> {
    object: Option<O>,
    discard: fn(O),
}

impl<O: DerefMut> Lease<O> {
    pub(super) fn new(object: O, discard: fn(O)) -> Self {
        Self { object: Some(object), discard }
    }

    pub(super) fn connection(&mut self) -> stele_core::Result<&mut O::Target> {
        self.object.as_deref_mut().ok_or_else(|| Error::internal("the connection was given back"))
    }

    /// Gives the connection back: its operation has come to an end.
    pub(super) fn give_back(mut self) {
        drop(self.object.take());
    }
}

impl<O> Drop for Lease<O> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            (self.discard)(object);
        }
    }
}

/// Runs a body of queries, an expression of type `QueryResult<_>`, on a connection of whichever backend it is. After a
/// call that was not answered in time the idle connections are given up, too: they lead to the same server, or to
/// where it was.
macro_rules! query {
    ($db:expr, |$conn:ident| $body:expr) => {
        query!($db, POSTGRES_LIMITS, |$conn| $body)
    };
    ($db:expr, $limits:expr, |$conn:ident| $body:expr) => {
        match &*$db {
            Db::Pg(Postgres { pool, .. }) => query!(@run pool, $limits, |$conn| $body),
            Db::Sqlite(Sqlite { pool, .. }) => query!(@run pool, SQLITE_LIMITS, |$conn| $body),
        }
    };
    (@run $pool:ident, $limits:expr, |$conn:ident| $body:expr) => {{
        let in_time = tokio::time::timeout($limits.call, async {
            let object = tokio::time::timeout($limits.connection, $pool.get()).await;
            let object = object.map_err(Error::unavailable)?.map_err(Error::unavailable)?;
            let mut lease = Lease::new(object, |object| drop(Object::take(object)));
            let $conn = lease.connection()?;
            let outcome = async { $body }.await;
            lease.give_back();
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
}

/// Reads a row of the type `$row` or none by `$query`, whose values must be its own or borrowed from what can be moved.
/// In PostgreSQL on a connection that others share, all of which may turn out to be lost, and are replaced; in SQLite on
/// the thread that reads for all.
macro_rules! read {
    ($db:expr, $row:ty, $query:expr) => {
        match &*$db {
            Db::Pg(Postgres { lanes, .. }) => {
                let in_time = tokio::time::timeout(POSTGRES_LIMITS.call, async {
                    let mut lost = 0;
                    loop {
                        let lane = lanes.lane().await?;
                        let mut shared = lanes::connection(&lane)?;
                        let outcome =
                            diesel_async::RunQueryDsl::get_result::<$row>($query, &mut shared).await.optional();
                        if !lanes::is_lost(&outcome) {
                            break outcome.map_err(failure);
                        }
                        lanes.give_up(&lane);
                        lost += 1;
                        if lost > lanes::LANES {
                            break outcome.map_err(failure);
                        }
                    }
                });
                in_time.await.unwrap_or_else(|late| {
                    lanes.give_all_up();
                    Err(Error::unavailable(late))
                })
            }
            Db::Sqlite(sqlite) => {
                let work =
                    move |conn: &mut SqliteConnection| diesel::RunQueryDsl::get_result::<$row>($query, conn).optional();
                sqlite.reader()?.call(Access::Read, work).await
            }
        }
    };
}

/// As [`query`], in a transaction. SQLite takes the write lock at its start: taking it later cannot wait.
macro_rules! transaction {
    ($db:expr, |$conn:ident| $body:expr) => {
        transaction!($db, POSTGRES_LIMITS, |$conn| $body)
    };
    ($db:expr, $limits:expr, |$conn:ident| $body:expr) => {
        match &*$db {
            Db::Pg(Postgres { pool, .. }) => {
                query!(@run pool, $limits, |conn| conn.transaction(async |$conn| $body).await)
            }
            Db::Sqlite(Sqlite { pool, .. }) => {
                query!(@run pool, SQLITE_LIMITS, |conn| {
                    begin(conn).await?;
                    let done: diesel::QueryResult<_> = {
                        let $conn = &mut *conn;
                        async { $body }.await
                    };
                    end(conn, done).await
                })
            }
        }
    };
}

pub(super) use {query, read, transaction};
