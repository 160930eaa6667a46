//! Connections of the user store to PostgreSQL and SQLite, and the macros that compile one query body for both.

mod call;
mod commit_lookup;
mod connection;
mod connection_limits;
mod postgres_pool;
mod slots;
mod sqlite;

use std::time::Duration;

pub(super) use self::call::{Call, CallError, POSTGRES_TIMEOUTS, SLOW_QUERY_TIMEOUTS};
pub(super) use self::commit_lookup::{FoundChange, IS_UNREPLICATED, IS_UP_LONG};
pub(super) use self::connection::PostgresConnection;
pub(super) use self::connection_limits::ConnectionLimits;
pub(super) use self::postgres_pool::ConnectionPool;
pub(super) use self::slots::{ConnectionSlot, ConnectionSlots};
pub(super) use self::sqlite::{RunOnSqlite, SqliteConnections, resolve_now};
use super::postgres::PostgresServer;
use super::shared_connections::SharedConnections;
use crate::{DatabaseUrl, OpenError};

/// Timeout of connecting for a migration or a schema check.
pub(super) const ADMIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout of a read on the shared connections.
pub(super) const READ_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How often a read is repeated on another connection: a server that restarts closes all of them, and worker threads
/// that end take along those that they drive.
pub(super) const MAX_LOST_CONNECTIONS: usize = 8;

/// The connections to the configured backend.
pub(super) enum BackendConnections {
    Postgres(Box<PostgresConnections>),
    Sqlite(SqliteConnections),
}

/// The connections to PostgreSQL.
pub(super) struct PostgresConnections {
    /// For writes, transactions, and reads of several rows.
    pub(super) pool: ConnectionPool,
    /// For reads of at most one row ([`read`]).
    pub(super) shared: SharedConnections,
}

/// The connections that write the audit log: no login waits for them, and they outlive those of the worker threads.
pub(super) enum AuditLogConnections {
    Postgres(Box<ConnectionPool>),
    Sqlite(SqliteConnections),
}

/// Prepares the connections, at most `total` to PostgreSQL. Each is made at its first use.
pub(super) fn prepare_connections(
    url: &DatabaseUrl,
    total: usize,
) -> Result<(BackendConnections, AuditLogConnections), OpenError> {
    Ok(match url {
        DatabaseUrl::Postgres(address) => {
            let (server, limits) = (PostgresServer::parse(address)?, ConnectionLimits::divide(total));
            let new_pool = |size| {
                ConnectionPool::new(server.clone(), size)
                    .map_err(|e| OpenError::Unreachable { target: url.clone(), cause: e.to_string() })
            };
            let (pool, audit_log) = (new_pool(limits.pooled)?, new_pool(ConnectionLimits::AUDIT_LOG)?);
            let shared = SharedConnections::new(server, limits.shared);
            let connections = BackendConnections::Postgres(Box::new(PostgresConnections { pool, shared }));
            (connections, AuditLogConnections::Postgres(Box::new(audit_log)))
        }
        DatabaseUrl::Sqlite(path) => (
            BackendConnections::Sqlite(SqliteConnections::new(path.clone())),
            AuditLogConnections::Sqlite(SqliteConnections::new(path.clone())),
        ),
    })
}

/// Runs a query body, an expression of type `QueryResult<_>`, on a connection of the configured backend. `$access` is
/// [`Access`](crate::sqlite::thread::Access); `$timeouts` is a `QueryTimeouts`. On SQLite the body may run more than
/// once, with earlier runs rolled back, and must own the values it uses. A call to PostgreSQL without an outcome
/// returns from the calling function.
macro_rules! query {
    ($db:expr, $access:ident, |$conn:ident| $body:expr) => {
        $crate::users::pool::query!($db, $access, $crate::users::pool::POSTGRES_TIMEOUTS, |$conn| $body)
    };
    ($db:expr, $access:ident, $timeouts:expr, |$conn:ident| $body:expr) => {
        match &*$db {
            $crate::users::pool::BackendConnections::Postgres(postgres) => {
                $crate::users::pool::query!(@postgres postgres.pool, $timeouts, |$conn| $body)
            }
            $crate::users::pool::BackendConnections::Sqlite(sqlite) => {
                $crate::users::pool::query!(@sqlite sqlite, $access, |$conn| $body)
            }
        }
    };
    (@postgres $pool:expr, $timeouts:expr, |$conn:ident| $body:expr) => {
        $crate::users::pool::query!(@call $pool, $timeouts, |$conn| $body)?
    };
    // Of type `Result<QueryResult<_>, CallError>`.
    (@call $pool:expr, $timeouts:expr, |$conn:ident| $body:expr) => {
        async {
            use diesel_async::RunQueryDsl as _;
            let call = $crate::users::pool::Call::start($timeouts);
            let mut pooled = call.checkout(&$pool).await?;
            let answer = {
                let ($conn, control) = pooled.parts().map_err($crate::users::pool::CallError::Failed)?;
                call.run(control, async { $body }).await?
            };
            call.finish(pooled, answer).await
        }
        .await
    };
    (@sqlite $sqlite:ident, $access:ident, |$conn:ident| $body:expr) => {{
        use $crate::users::pool::RunOnSqlite as _;
        let work = move |$conn: &mut diesel::SqliteConnection| $crate::users::pool::resolve_now(async { $body });
        $sqlite.run($crate::sqlite::thread::Access::$access, work).await?
    }};
}

/// Reads at most one row of type `$row` with `$query`, which must own its values or borrow from values that can be
/// moved. On PostgreSQL it uses the shared connections. When a connection turns out to be lost, the read is repeated on
/// another one, at most [`MAX_LOST_CONNECTIONS`] times.
macro_rules! read {
    ($db:expr, $row:ty, $query:expr) => {
        match &*$db {
            $crate::users::pool::BackendConnections::Postgres(postgres) => {
                let deadline = tokio::time::Instant::now() + $crate::users::pool::READ_TIMEOUT;
                $crate::users::pool::read!(@postgres postgres, deadline, $row, $query)
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
    (@postgres $postgres:ident, $deadline:expr, $row:ty, $query:expr) => {{
        use $crate::users::shared_connections;
        let shared = &$postgres.shared;
        let call = tokio::time::timeout_at($deadline, async {
            let mut lost_connections = 0;
            loop {
                let connection = shared.checkout().await?;
                let mut conn = shared_connections::connection_of(&connection)?;
                let row = diesel_async::RunQueryDsl::get_result::<$row>($query, &mut conn).await;
                let outcome = diesel::OptionalExtension::optional(row);
                if !shared_connections::may_be_lost(&outcome) {
                    break outcome.map_err($crate::error::map_database_error);
                }
                shared.discard(&connection);
                lost_connections += 1;
                let is_last = lost_connections > $crate::users::pool::MAX_LOST_CONNECTIONS;
                if is_last || shared_connections::answers(&connection).await {
                    break outcome.map_err($crate::error::map_database_error);
                }
            }
        });
        call.await.unwrap_or_else(|elapsed| {
            shared.discard_all();
            Err(stele_core::Error::unavailable(elapsed))
        })
    }};
}

/// Runs a writing query body like [`query`], in a transaction. On SQLite every writing body runs in a transaction.
macro_rules! transaction {
    ($db:expr, |$conn:ident| $body:expr) => {
        $crate::users::pool::transaction!($db, $crate::users::pool::POSTGRES_TIMEOUTS, |$conn| $body)
    };
    ($db:expr, $timeouts:expr, |$conn:ident| $body:expr) => {
        match &*$db {
            $crate::users::pool::BackendConnections::Postgres(postgres) => {
                $crate::users::pool::query!(@postgres postgres.pool, $timeouts, |conn| {
                    diesel_async::AsyncConnection::transaction(conn, async |$conn| $body).await
                })
            }
            $crate::users::pool::BackendConnections::Sqlite(sqlite) => {
                $crate::users::pool::query!(@sqlite sqlite, Write, |$conn| $body)
            }
        }
    };
}

/// Runs a change like [`query`] (`Statement`) or [`transaction`] (`Transaction`), and when its commit is unknown looks
/// for its marker: a value that only this change writes. `$found`, a query for [`FoundChange`], finds it; `$number` is
/// then the row's number, and `$applied` what the body would have returned. `$operation` and `$subject` are for the
/// log.
macro_rules! change {
    ($db:expr, $operation:literal, $subject:expr, Statement, |$conn:ident| $body:expr,
     $found:expr, |$number:pat_param| $applied:expr) => {
        match &*$db {
            $crate::users::pool::BackendConnections::Postgres(postgres) => {
                let outcome = $crate::users::pool::query!(
                    @call postgres.pool, $crate::users::pool::POSTGRES_TIMEOUTS, |$conn| $body
                );
                $crate::users::pool::change!(
                    @settle postgres, outcome, $operation, $subject, $found, |$number| $applied
                )
            }
            $crate::users::pool::BackendConnections::Sqlite(sqlite) => {
                $crate::users::pool::query!(@sqlite sqlite, Write, |$conn| $body)
            }
        }
    };
    ($db:expr, $operation:literal, $subject:expr, Transaction, |$conn:ident| $body:expr,
     $found:expr, |$number:pat_param| $applied:expr) => {
        match &*$db {
            $crate::users::pool::BackendConnections::Postgres(postgres) => {
                let outcome = $crate::users::pool::query!(
                    @call postgres.pool, $crate::users::pool::POSTGRES_TIMEOUTS, |conn| {
                        diesel_async::AsyncConnection::transaction(conn, async |$conn| $body).await
                    }
                );
                $crate::users::pool::change!(
                    @settle postgres, outcome, $operation, $subject, $found, |$number| $applied
                )
            }
            $crate::users::pool::BackendConnections::Sqlite(sqlite) => {
                $crate::users::pool::query!(@sqlite sqlite, Write, |$conn| $body)
            }
        }
    };
    // Without a marker.
    ($db:expr, $operation:literal, |$conn:ident| $body:expr) => {
        match &*$db {
            $crate::users::pool::BackendConnections::Postgres(postgres) => {
                let outcome = $crate::users::pool::query!(
                    @call postgres.pool, $crate::users::pool::POSTGRES_TIMEOUTS, |$conn| $body
                );
                outcome.map_err(|error| error.log_unknown($operation))?
            }
            $crate::users::pool::BackendConnections::Sqlite(sqlite) => {
                $crate::users::pool::query!(@sqlite sqlite, Write, |$conn| $body)
            }
        }
    };
    (@settle $postgres:ident, $outcome:ident, $operation:literal, $subject:expr, $found:expr,
     |$number:pat_param| $applied:expr) => {
        match $outcome {
            Err($crate::users::pool::CallError::OutcomeUnknown(unknown)) => {
                let found = if unknown.can_be_settled() {
                    let deadline = unknown.lookup_deadline;
                    $crate::users::pool::read!(@postgres $postgres, deadline, $crate::users::pool::FoundChange, $found)
                } else {
                    Ok(None)
                };
                let $number = unknown.settle(found, $operation, &$subject)?;
                Ok($applied)
            }
            outcome => outcome?,
        }
    };
}

/// The columns of [`FoundChange`], with `$number` of the row found.
macro_rules! found_change {
    ($number:expr) => {
        (
            $number,
            diesel::dsl::sql::<diesel::sql_types::Bool>($crate::users::pool::IS_UNREPLICATED),
            diesel::dsl::sql::<diesel::sql_types::Bool>($crate::users::pool::IS_UP_LONG),
        )
    };
}

pub(super) use {change, found_change, query, read, transaction};
