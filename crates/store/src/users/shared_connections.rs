//! Shared PostgreSQL connections for reads, with pipelining: queries are sent without waiting for earlier responses.
//!
//! A pool gives a connection to one query at a time and lets further queries wait. A shared connection needs no wait
//! and no pool lock, and one server process answers the queries of many callers. Transactions cannot share a
//! connection, and slow queries would delay the others: they use the pool.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::result::Error as DbError;
use diesel::{ConnectionResult, QueryResult};
use diesel_async::AsyncPgConnection;
use stele_core::{Error, Result};
use tokio::runtime::{Handle, Id};
use tokio::sync::OnceCell;

use super::pool::connect_with_server_timeouts;
use super::postgres::PostgresServer;

/// Connections that the threads of one runtime share: two, so that one sends while the other's responses are read.
pub(super) const CONNECTIONS_PER_RUNTIME: usize = 2;

/// A connection that is made at its first use. Concurrent callers wait for the same connection attempt.
pub(super) type SharedConnection = Arc<OnceCell<AsyncPgConnection>>;

/// The shared connections of each runtime: a connection is driven by a task on the runtime that made it.
pub(super) struct SharedConnections {
    server: PostgresServer,
    by_runtime: Mutex<HashMap<Id, [SharedConnection; CONNECTIONS_PER_RUNTIME]>>,
    next_index: AtomicUsize,
}

impl SharedConnections {
    pub(super) fn new(server: PostgresServer) -> Self {
        Self { server, by_runtime: Mutex::default(), next_index: AtomicUsize::new(0) }
    }

    /// The next connection of this runtime in rotation, connected.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it cannot connect.
    pub(super) async fn checkout(&self) -> Result<SharedConnection> {
        let index = self.next_index.fetch_add(1, Ordering::Relaxed) % CONNECTIONS_PER_RUNTIME;
        let connection = self.lock().entry(Handle::current().id()).or_default()[index].clone();
        if !connection.initialized() {
            let connected: ConnectionResult<_> =
                connection.get_or_try_init(|| connect_with_server_timeouts(&self.server)).await;
            connected.map_err(Error::unavailable)?;
        }
        Ok(connection)
    }

    /// Replaces a lost connection; the next checkout of its slot connects again.
    pub(super) fn discard(&self, lost: &SharedConnection) {
        for slot in self.lock().values_mut().flatten().filter(|slot| Arc::ptr_eq(slot, lost)) {
            *slot = SharedConnection::default();
        }
    }

    /// Drops all connections, which lead to the same unreachable server, or to its former address.
    pub(super) fn discard_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, [SharedConnection; CONNECTIONS_PER_RUNTIME]>> {
        self.by_runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The driver's connection in a slot that [`SharedConnections::checkout`] returned.
pub(super) fn connection_of(connection: &SharedConnection) -> Result<&AsyncPgConnection> {
    connection.get().ok_or_else(|| Error::internal("a shared connection is not connected"))
}

/// Whether a read failed because its connection is lost. Every database error counts as a lost connection: a read
/// violates no constraint.
pub(super) fn is_connection_lost<T>(outcome: &QueryResult<T>) -> bool {
    matches!(outcome, Err(DbError::DatabaseError(..) | DbError::BrokenTransactionManager))
}
