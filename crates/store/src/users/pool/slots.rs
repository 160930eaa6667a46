//! Slots for connections: a connection, or an attempt at one, holds a slot until the server has let go of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use diesel::{ConnectionError, ConnectionResult};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One connection's place among those that may exist at a server.
pub(in crate::users) type ConnectionSlot = OwnedSemaphorePermit;

/// The slots of one use of connections, apart for each host: after a failover, connections that a dead host has not let
/// go of do not keep others from its successor.
pub(in crate::users) struct ConnectionSlots {
    size: usize,
    by_host: Mutex<HashMap<usize, Arc<Semaphore>>>,
}

impl ConnectionSlots {
    pub(in crate::users) fn new(size: usize) -> Self {
        Self { size, by_host: Mutex::default() }
    }

    /// Waits for a free slot of `host`, an index into the hosts of the database's URL.
    ///
    /// # Errors
    /// None in practice: the semaphores are never closed.
    pub(in crate::users) async fn acquire(&self, host: usize) -> ConnectionResult<ConnectionSlot> {
        let slots = {
            let mut by_host = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(by_host.entry(host).or_insert_with(|| Arc::new(Semaphore::new(self.size))))
        };
        slots.acquire_owned().await.map_err(|e| ConnectionError::BadConnection(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::ConnectionSlots;

    #[tokio::test]
    async fn slots_are_limited_for_each_host() {
        let slots = ConnectionSlots::new(2);
        let (first, _second) = (slots.acquire(0).await.unwrap(), slots.acquire(0).await.unwrap());
        assert!(slots.acquire(0).now_or_never().is_none(), "a third slot");
        assert!(slots.acquire(1).now_or_never().is_some(), "another host's slot");
        drop(first);
        assert!(slots.acquire(0).now_or_never().is_some(), "a freed slot");
    }
}
