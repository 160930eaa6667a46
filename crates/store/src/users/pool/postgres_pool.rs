//! Pool of PostgreSQL connections, each used by one call at a time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use diesel::ConnectionResult;
use diesel_async::AsyncPgConnection;
use stele_core::{Error, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::connection::{ConnectionControl, PostgresConnection};
use super::slots::ConnectionSlots;
use crate::users::postgres::{CheckedConnectError, PostgresServer};

/// A pool. Idle connections are kept, and replaced when the server has closed them.
pub(in crate::users) struct ConnectionPool {
    server: PostgresServer,
    slots: ConnectionSlots,
    calls: Semaphore,
    idle: Mutex<VecDeque<PostgresConnection>>,
}

impl ConnectionPool {
    /// A pool of at most `size` connections at each host, for as many calls at a time.
    pub(super) fn new(server: PostgresServer, size: usize) -> Self {
        let (slots, calls) = (ConnectionSlots::new(size), Semaphore::new(size));
        Self { server, slots, calls, idle: Mutex::default() }
    }

    /// Checks out the connection that was idle the longest, or a new one. The caller sets the timeout.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it cannot connect.
    pub(super) async fn checkout(&self) -> Result<PooledConnection<'_>> {
        let permit = self.calls.acquire().await.map_err(Error::unavailable)?;
        while let Some(mut connection) = self.pop_idle() {
            if connection.is_usable() {
                return Ok(PooledConnection { connection: Some(connection), pool: self, _permit: permit });
            }
        }
        let connection = self.connect_with_limits().await.map_err(Error::unavailable)?;
        Ok(PooledConnection { connection: Some(connection), pool: self, _permit: permit })
    }

    /// Closes the idle connections, which lead to the same unreachable server, or to its former address.
    pub(super) fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.lock());
        drop(idle);
    }

    /// Connects in a slot of the pool, without the limits of its other connections: for migrations, which may take long.
    /// Checks that no connection pooler shares sessions between clients.
    pub(in crate::users) async fn connect_checked(
        &self,
    ) -> std::result::Result<PostgresConnection, CheckedConnectError> {
        let raw = self.server.connect_checked(&self.slots).await?;
        let connected = PostgresConnection::start(raw).await;
        connected.map_err(|e| CheckedConnectError::Unreachable(e.to_string()))
    }

    async fn connect_with_limits(&self) -> ConnectionResult<PostgresConnection> {
        let connection = self.server.connect(&self.slots).await?;
        connection.set_server_limits().await?;
        Ok(connection)
    }

    fn pop_idle(&self) -> Option<PostgresConnection> {
        self.lock().pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<PostgresConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that one call uses. If it is dropped without [`release`](Self::release), because the call was dropped
/// or timed out, the connection is closed and its statement canceled: it may be inside a statement or a transaction,
/// whose locks it would hold while idle in the pool.
pub(in crate::users) struct PooledConnection<'pool> {
    connection: Option<PostgresConnection>,
    pool: &'pool ConnectionPool,
    _permit: SemaphorePermit<'pool>,
}

impl PooledConnection<'_> {
    pub(super) fn get(&mut self) -> Result<&mut PostgresConnection> {
        self.connection.as_mut().ok_or_else(|| Error::internal("the connection was released"))
    }

    pub(in crate::users) fn parts(&mut self) -> Result<(&mut AsyncPgConnection, &ConnectionControl)> {
        self.get().map(PostgresConnection::parts)
    }

    /// Returns the connection to the pool after a completed query body.
    pub(super) fn release(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.lock().push_back(connection);
        }
    }
}
