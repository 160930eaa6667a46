//! Connections to PostgreSQL that reads share: each is sent without waiting for the answers to those before it.
//!
//! A pool hands a connection to one query at a time, and whoever finds none waits; sharing costs neither a wait nor a
//! lock of it, and the server takes up the next query without being asked by a second process. A transaction cannot be
//! shared, nor should anything slow be: what writes and what looks at every user goes through the pool.

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

/// How many connections the threads of one runtime share: one is on its way while the other's answers are read.
pub(super) const CONNECTIONS_PER_RUNTIME: usize = 2;

/// Connects when it is first used; who comes meanwhile waits for that.
pub(super) type SharedConnection = Arc<OnceCell<AsyncPgConnection>>;

/// The shared connections to a server: some for each runtime, for a connection lives on the one that made it.
pub(super) struct SharedConnections {
    server: PostgresServer,
    by_runtime: Mutex<HashMap<Id, [SharedConnection; CONNECTIONS_PER_RUNTIME]>>,
    next_index: AtomicUsize,
}

impl SharedConnections {
    pub(super) fn new(server: PostgresServer) -> Self {
        Self { server, by_runtime: Mutex::default(), next_index: AtomicUsize::new(0) }
    }

    /// The lane whose turn it is, connected.
    pub(super) async fn checkout(&self) -> Result<SharedConnection> {
        let turn = self.next_index.fetch_add(1, Ordering::Relaxed) % CONNECTIONS_PER_RUNTIME;
        let lane = self.lock().entry(Handle::current().id()).or_default()[turn].clone();
        if !lane.initialized() {
            let connected: ConnectionResult<_> =
                lane.get_or_try_init(|| connect_with_server_timeouts(&self.server)).await;
            connected.map_err(Error::unavailable)?;
        }
        Ok(lane)
    }

    /// Gives a lane up: whoever comes next connects anew.
    pub(super) fn discard(&self, lane: &SharedConnection) {
        for ours in self.lock().values_mut().flatten().filter(|ours| Arc::ptr_eq(ours, lane)) {
            *ours = SharedConnection::default();
        }
    }

    /// Gives all of them up: they lead to the same server, or to where it was.
    pub(super) fn discard_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, [SharedConnection; CONNECTIONS_PER_RUNTIME]>> {
        self.by_runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection of a lane that [`Lanes::lane`] gave.
pub(super) fn connection_of(lane: &SharedConnection) -> Result<&AsyncPgConnection> {
    lane.get().ok_or_else(|| Error::internal("a lane that is not connected"))
}

/// Whether a read failed for what a new connection may not have: it breaks no rule of the schema.
pub(super) fn is_connection_lost<T>(outcome: &QueryResult<T>) -> bool {
    matches!(outcome, Err(DbError::DatabaseError(..) | DbError::BrokenTransactionManager))
}
