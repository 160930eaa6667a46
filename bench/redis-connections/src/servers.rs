//! The product's `servers.rs` without TLS, sentinels and clusters.

use std::fmt;

use redis::{AsyncConnectionConfig, Client, RedisResult};

use crate::link::Connection;

pub(super) struct Servers(Client);

impl Servers {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        Ok(Connection::One(self.0.get_multiplexed_async_connection_with_config(&config).await?))
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server measured")
    }
}
