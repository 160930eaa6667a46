//! Connections of either backend, and the macros that let one query body serve both.

use std::ops::DerefMut;
use std::path::PathBuf;
use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult, SqliteConnection};
use diesel_async::pooled_connection::deadpool::{BuildError, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use stele_core::Error;

use crate::Target;
use crate::sqlite::{self, Durability};

pub(super) type SqliteConn = SyncConnectionWrapper<SqliteConnection>;

/// How long to wait for a connection, a new one included.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long an operation may take: more than SQLite waits for a lock, so that it is SQLite who says that it is busy.
pub(super) const OPERATION_LIMIT: Duration = Duration::from_secs(8);

const SQLITE_CONNECTIONS: usize = 4;
const POSTGRES_CONNECTIONS: usize = 8;

/// The pool of either backend.
pub(super) enum Db {
    Pg(Pool<AsyncPgConnection>),
    Sqlite(Pool<SqliteConn>),
}

impl Db {
    /// A pool that connects when it is first used.
    pub(super) fn new(target: &Target) -> Result<Self, BuildError> {
        match target {
            Target::Postgres(url) => {
                let manager = AsyncDieselConnectionManager::new_with_config(url, postgres_config());
                Pool::builder(manager).max_size(POSTGRES_CONNECTIONS).build().map(Self::Pg)
            }
            Target::Sqlite(path) => {
                let manager = AsyncDieselConnectionManager::new_with_config("", sqlite_config(path.clone()));
                Pool::builder(manager).max_size(SQLITE_CONNECTIONS).build().map(Self::Sqlite)
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

fn postgres_config() -> ManagerConfig<AsyncPgConnection> {
    let mut config = ManagerConfig::default();
    // A connection that the server closed is told without asking it.
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(|url| Box::pin(postgres_setup(url)));
    config
}

async fn postgres_setup(url: &str) -> ConnectionResult<AsyncPgConnection> {
    let mut conn = AsyncPgConnection::establish(url).await?;
    // The server gives up too, and frees the locks of an instance that is gone.
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

/// Runs a body of queries, an expression of type `QueryResult<_>`, on a connection of whichever backend it is.
macro_rules! query {
    ($db:expr, |$conn:ident| $body:expr) => {
        match &*$db {
            Db::Pg(pool) => query!(@run pool, |$conn| $body),
            Db::Sqlite(pool) => query!(@run pool, |$conn| $body),
        }
    };
    (@run $pool:ident, |$conn:ident| $body:expr) => {{
        let object = tokio::time::timeout(CONNECT_LIMIT, $pool.get())
            .await
            .map_err(stele_core::Error::unavailable)?
            .map_err(stele_core::Error::unavailable)?;
        let mut lease = Lease::new(object, |object| drop(Object::take(object)));
        let $conn = lease.connection()?;
        let outcome = tokio::time::timeout(OPERATION_LIMIT, async { $body })
            .await
            .map_err(stele_core::Error::unavailable)?;
        lease.give_back();
        outcome
    }};
}

/// As [`query`], in a transaction. SQLite takes the write lock at its start: taking it later cannot wait.
macro_rules! transaction {
    ($db:expr, |$conn:ident| $body:expr) => {
        match &*$db {
            Db::Pg(pool) => query!(@run pool, |conn| conn.transaction(async |$conn| $body).await),
            Db::Sqlite(pool) => query!(@run pool, |conn| conn.immediate_transaction(async |$conn| $body).await),
        }
    };
}

pub(super) use {query, transaction};
