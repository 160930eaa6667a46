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
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use stele_core::{Error, Result};
use tokio::runtime::{Handle, Id};
use tokio::sync::OnceCell;

use super::pool::{ConnectionSlots, PostgresConnection};
use super::postgres::PostgresServer;

/// Connections that the threads of one runtime use: two, so that one sends while the other's responses are read.
pub(super) const CONNECTIONS_PER_RUNTIME: usize = 2;

/// A connection that is made at its first use. Concurrent callers wait for the same connection attempt.
pub(super) type SharedConnection = Arc<OnceCell<PostgresConnection>>;

/// The shared connections. Each runtime uses two of them; if there are fewer than the runtimes need, several runtimes
/// use the same ones. The runtime that makes a connection drives it.
pub(super) struct SharedConnections {
    server: PostgresServer,
    slots: ConnectionSlots,
    connections: Mutex<Connections>,
    next_index: AtomicUsize,
}

struct Connections {
    all: Vec<SharedConnection>,
    /// The number of each runtime, in the order of their first calls.
    runtimes: HashMap<Id, usize>,
}

impl SharedConnections {
    /// At most `size` connections at each host, at least one.
    pub(super) fn new(server: PostgresServer, size: usize) -> Self {
        let all = std::iter::repeat_with(SharedConnection::default).take(size.max(1)).collect();
        let connections = Mutex::new(Connections { all, runtimes: HashMap::new() });
        Self { server, slots: ConnectionSlots::new(size.max(1)), connections, next_index: AtomicUsize::new(0) }
    }

    /// The next connection of this runtime in rotation, connected.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it cannot connect.
    pub(super) async fn checkout(&self) -> Result<SharedConnection> {
        let index = self.next_index.fetch_add(1, Ordering::Relaxed) % CONNECTIONS_PER_RUNTIME;
        let runtime = Handle::current().id();
        let mut connection = self.lock().connection_for(runtime, index);
        if connection.get().is_some_and(|connection| !self.server.is_selected(connection)) {
            self.discard(&connection);
            connection = self.lock().connection_for(runtime, index);
        }
        if !connection.initialized() {
            connection.get_or_try_init(|| self.connect()).await.map_err(Error::unavailable)?;
        }
        Ok(connection)
    }

    async fn connect(&self) -> ConnectionResult<PostgresConnection> {
        let connection = self.server.connect(&self.slots).await?;
        connection.set_server_limits().await?;
        Ok(connection)
    }

    /// Replaces a lost connection; the next checkout of its slot connects again.
    pub(super) fn discard(&self, lost: &SharedConnection) {
        for slot in self.lock().all.iter_mut().filter(|slot| Arc::ptr_eq(slot, lost)) {
            *slot = SharedConnection::default();
        }
    }

    /// Drops all connections, which lead to the same unreachable server, or to its former address. The statements on
    /// them are canceled once no caller waits for them.
    pub(super) fn discard_all(&self) {
        for slot in &mut self.lock().all {
            *slot = SharedConnection::default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Connection `index` of a runtime.
    fn connection_for(&mut self, runtime: Id, index: usize) -> SharedConnection {
        let next_number = self.runtimes.len();
        let number = *self.runtimes.entry(runtime).or_insert(next_number);
        let position = (number * CONNECTIONS_PER_RUNTIME + index) % self.all.len();
        self.all.get(position).cloned().unwrap_or_default()
    }
}

/// The driver's connection in a slot that [`SharedConnections::checkout`] returned.
pub(super) fn connection_of(connection: &SharedConnection) -> Result<&AsyncPgConnection> {
    connection
        .get()
        .map(PostgresConnection::client)
        .ok_or_else(|| Error::internal("a shared connection is not connected"))
}

/// Whether the server answers on a connection, so that an error was its answer to the read, which it would repeat.
pub(super) async fn answers(connection: &SharedConnection) -> bool {
    match connection_of(connection) {
        Ok(mut connection) => connection.batch_execute("").await.is_ok(),
        Err(_) => false,
    }
}

/// Whether a read may have failed because its connection is lost, or unusable. Every database error may mean that: a
/// read violates no constraint.
pub(super) fn may_be_lost<T>(outcome: &QueryResult<T>) -> bool {
    matches!(outcome, Err(DbError::DatabaseError(..) | DbError::BrokenTransactionManager))
}
