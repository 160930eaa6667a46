//! Replaces the store's module `servers`, which the included modules import: a Redis client for a single server,
//! without TLS, Sentinel and Cluster.

use std::fmt;

use redis::{AsyncConnectionConfig, Client, RedisResult};

use crate::driver_connection::DriverConnection;

/// Makes connections to one server.
pub(super) struct RedisClient(Client);

impl RedisClient {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    /// Opens a multiplexed connection without a response timeout.
    pub(super) async fn connect(&self) -> RedisResult<DriverConnection> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        Ok(DriverConnection::SingleServer(self.0.get_multiplexed_async_connection_with_config(&config).await?))
    }
}

impl fmt::Display for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the measured server")
    }
}
