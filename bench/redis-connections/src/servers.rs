//! Stands in for the store's `servers.rs`: one server, without TLS, sentinels and clusters.

use std::fmt;

use redis::{AsyncConnectionConfig, Client, RedisResult};

use crate::connection::DriverConnection;

pub(super) struct RedisClient(Client);

impl RedisClient {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    pub(super) async fn connect(&self) -> RedisResult<DriverConnection> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        Ok(DriverConnection::SingleServer(self.0.get_multiplexed_async_connection_with_config(&config).await?))
    }
}

impl fmt::Display for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server measured")
    }
}
