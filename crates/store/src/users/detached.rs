//! Statements on SQLite, each of which ends whatever becomes of who asked for it.

use std::error::Error;
use std::pin::Pin;

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::{QueryResult, SqliteConnection};
use diesel_async::sync_connection_wrapper::SpawnBlocking;

use super::pool::SqliteConn;

/// Runs each statement on a thread where it may block, in the runtime of who asks.
///
/// A statement that has begun goes on when nobody waits for it any more (the client hung up, the time was up, a worker
/// stops), and keeps its connection until it is done. diesel-async's own way waits for its end while the future is
/// dropped, which panics in a runtime of one thread, as actix's workers have; and it runs every statement in the
/// runtime that made the connection, which may have ended since.
pub(super) struct Detached;

type Spawned<'a, R> = Pin<Box<dyn Future<Output = Result<R, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

impl SpawnBlocking for Detached {
    fn spawn_blocking<'a, R: Send + 'static>(&mut self, task: impl FnOnce() -> R + Send + 'static) -> Spawned<'a, R> {
        let done = tokio::task::spawn_blocking(task);
        Box::pin(async move { done.await.map_err(Box::from) })
    }

    fn get_runtime() -> Self {
        Self
    }
}

type Transactions = AnsiTransactionManager;

/// Begins a transaction that has the write lock from the first.
pub(super) async fn begin(conn: &mut SqliteConn) -> QueryResult<()> {
    conn.spawn_blocking(|conn| Transactions::begin_transaction_sql(conn, "BEGIN IMMEDIATE")).await
}

/// Commits a transaction whose work is done; undoes one whose work failed. One that is abandoned is undone when its
/// connection is closed.
pub(super) async fn end<T>(conn: &mut SqliteConn, done: QueryResult<T>) -> QueryResult<T> {
    let end = match &done {
        Ok(_) => <Transactions as TransactionManager<SqliteConnection>>::commit_transaction,
        Err(_) => <Transactions as TransactionManager<SqliteConnection>>::rollback_transaction,
    };
    conn.spawn_blocking(end).await?;
    done
}
