//! The clock of a store's server, which the clock of this machine is compared with.

use crate::time::Timestamp;

/// A reading of the clock of a store's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerClock {
    /// The server's address in a store of several servers; empty if the store has one.
    pub server: String,
    /// The server's time at some moment between the request and its response.
    pub now: Timestamp,
}
