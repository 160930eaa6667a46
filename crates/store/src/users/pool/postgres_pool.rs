//! Pool of PostgreSQL connections, each used by one call at a time.

use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{BuildError, Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use stele_core::{Error, Result};

use super::connection::{ConnectionControl, PostgresConnection};
use super::slots::ConnectionSlots;
use crate::users::postgres::{CheckedConnectError, PostgresServer};

/// How long a call waits for its turn: less than its whole time. The calls that an overloaded pool serves have waited
/// almost this long; without time left for their statements, most would be canceled, and each cost a connection.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);

/// A pool. Idle connections are kept, and replaced when the server has closed them.
pub(in crate::users) struct ConnectionPool(Pool<ConnectionManager>);

/// Makes the connections of a pool. A connection that the pool has given up holds its slot until the server has let go
/// of it, so that the pool's size also bounds the connections at the server.
struct ConnectionManager {
    server: PostgresServer,
    slots: ConnectionSlots,
}

impl Manager for ConnectionManager {
    type Type = PostgresConnection;
    type Error = ConnectionError;

    async fn create(&self) -> ConnectionResult<PostgresConnection> {
        let connection = self.server.connect(&self.slots).await?;
        connection.set_server_limits().await?;
        Ok(connection)
    }

    async fn recycle(&self, connection: &mut PostgresConnection, _: &Metrics) -> RecycleResult<ConnectionError> {
        if !connection.is_usable() {
            return Err(RecycleError::message("the connection has ended"));
        }
        if !self.server.is_selected(connection) {
            return Err(RecycleError::message("another host has been selected"));
        }
        Ok(())
    }
}

impl ConnectionPool {
    /// A pool of at most `size` connections at each host, for as many calls at a time.
    ///
    /// # Errors
    /// None in practice: the pool is given the runtime for its timeout.
    pub(super) fn new(server: PostgresServer, size: usize) -> std::result::Result<Self, BuildError> {
        let manager = ConnectionManager { server, slots: ConnectionSlots::new(size) };
        let builder = Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1);
        builder.wait_timeout(Some(QUEUE_TIMEOUT)).build().map(Self)
    }

    /// Checks out the connection that was idle the longest, or a new one. The caller sets the timeout.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if all connections are in use for a second, or it cannot connect.
    pub(super) async fn checkout(&self) -> Result<PooledConnection> {
        self.0.get().await.map(|object| PooledConnection(Some(object))).map_err(|error| match error {
            PoolError::Timeout(_) => Error::unavailable("all pooled connections are in use"),
            PoolError::Backend(error) => Error::unavailable(error),
            error => Error::unavailable(error),
        })
    }

    /// Closes the idle connections, which lead to the same unreachable server, or to its former address.
    pub(super) fn close_idle(&self) {
        self.0.retain(|_, _| false);
    }

    /// Connects in a slot of the pool, without the limits of its other connections: for migrations, which may take long.
    /// Checks that no connection pooler shares sessions between clients.
    pub(in crate::users) async fn connect_checked(
        &self,
    ) -> std::result::Result<PostgresConnection, CheckedConnectError> {
        let ConnectionManager { server, slots } = self.0.manager();
        let raw = server.connect_checked(slots).await?;
        let connected = PostgresConnection::start(raw).await;
        connected.map_err(|e| CheckedConnectError::Unreachable(e.to_string()))
    }
}

/// A connection that one call uses. If it is dropped without [`release`](Self::release), because the call was dropped
/// or timed out, the connection is closed and its statement canceled: it may be inside a statement or a transaction,
/// whose locks it would hold while idle in the pool.
pub(in crate::users) struct PooledConnection(Option<Object<ConnectionManager>>);

impl PooledConnection {
    pub(super) fn get(&mut self) -> Result<&mut PostgresConnection> {
        self.0.as_deref_mut().ok_or_else(|| Error::internal("the connection was released"))
    }

    pub(in crate::users) fn parts(&mut self) -> Result<(&mut AsyncPgConnection, &ConnectionControl)> {
        self.get().map(PostgresConnection::parts)
    }

    /// Returns the connection to the pool after a completed query body.
    pub(super) fn release(mut self) {
        drop(self.0.take());
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
