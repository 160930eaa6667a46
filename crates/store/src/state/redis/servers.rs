//! Redis client for a single server, sentinels or a cluster.

use std::fmt;
use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    RedisResult, TlsMode,
};
use tokio::sync::Mutex;

use super::cluster_nodes::ClusterNodes;
use super::driver_connection::DriverConnection;
use super::redis_url::{RedisUrl, Topology};

/// Connect timeout per server. Short, because another server may be available.
const SERVER_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of retries of a command to all masters of a cluster, which is read only: reconnects, and retries
/// after a pause. See `cluster_nodes.rs` for other commands.
const MAX_CLUSTER_RETRIES: u32 = 3;

enum TopologyClient {
    SingleServer(Client),
    Sentinel(Mutex<SentinelClient>),
    Cluster {
        /// The servers of the URL, with login and TLS.
        servers: Vec<ConnectionInfo>,
        /// The masters of the last connection, used if all servers of the URL have failed. Not before, since the
        /// address of a former master may belong to another cluster by then.
        masters: StdMutex<Vec<ConnectionInfo>>,
    },
}

/// Client that connects to the servers of a URL.
pub(super) struct RedisClient {
    client: TopologyClient,
    display_url: String,
}

impl RedisClient {
    /// Prepares the client without connecting.
    pub(super) fn new(url: &RedisUrl) -> RedisResult<Self> {
        if url.tls {
            // Selects the rustls crypto provider explicitly, in case another one is compiled in. An error means that a
            // provider is installed already, and is ignored.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let redis_login = credentials(&url.user, &url.password).set_db(url.db);
        let client = match &url.topology {
            Topology::SingleServer => {
                TopologyClient::SingleServer(Client::open(connection_infos(url, &redis_login)?.remove(0))?)
            }
            Topology::Sentinel(master) => {
                let sentinels = connection_infos(url, &credentials(&url.sentinel_user, &url.sentinel_password))?;
                let mut node = SentinelNodeConnectionInfo::default()
                    .set_redis_connection_info(redis_login)
                    .set_tcp_settings(tcp_settings());
                if url.tls {
                    node = node.set_tls_mode(TlsMode::Secure);
                }
                let client = SentinelClient::build(sentinels, master, Some(node), SentinelServerType::Master)?;
                TopologyClient::Sentinel(Mutex::new(client))
            }
            Topology::Cluster => {
                let servers = connection_infos(url, &redis_login)?;
                // An invalid server is reported now.
                cluster_client(servers.clone())?;
                TopologyClient::Cluster { servers, masters: StdMutex::default() }
            }
        };
        Ok(Self { client, display_url: url.to_string() })
    }

    /// A new connection. Sentinels are queried for the current master each time.
    pub(super) async fn connect(&self) -> RedisResult<DriverConnection> {
        // No response timeout: `RedisConnection` has its own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(SERVER_CONNECT_TIMEOUT))
            .set_response_timeout(None);
        Ok(match &self.client {
            TopologyClient::SingleServer(client) => {
                DriverConnection::SingleServer(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            TopologyClient::Sentinel(client) => {
                DriverConnection::SingleServer(client.lock().await.get_async_connection_with_config(&config).await?)
            }
            TopologyClient::Cluster { servers, masters } => {
                let masters = || masters.lock().unwrap_or_else(PoisonError::into_inner);
                let known = masters().clone();
                let mut all_masters = match cluster_client(servers.clone())?.get_async_connection().await {
                    Err(_) if !known.is_empty() => cluster_client(known)?.get_async_connection().await?,
                    result => result?,
                };
                let nodes = ClusterNodes::connect(servers[0].clone(), config, &mut all_masters).await?;
                *masters() = nodes.connection_infos();
                DriverConnection::Cluster { all_masters, nodes }
            }
        })
    }
}

impl fmt::Display for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display_url)
    }
}

/// The client that reads the slots of a cluster from one of `seeds`.
fn cluster_client(seeds: Vec<ConnectionInfo>) -> RedisResult<ClusterClient> {
    let builder = ClusterClientBuilder::new(seeds).tcp_settings(tcp_settings());
    builder.connection_timeout(SERVER_CONNECT_TIMEOUT).retries(MAX_CLUSTER_RETRIES).max_retry_wait(100).build()
}

/// The address and login of each server of a URL.
fn connection_infos(url: &RedisUrl, redis_login: &RedisConnectionInfo) -> RedisResult<Vec<ConnectionInfo>> {
    let connection_info = |(host, port): &(String, u16)| {
        let (host, port) = (host.clone(), *port);
        let address = if url.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info = address.into_connection_info()?;
        Ok(info.set_redis_settings(redis_login.clone()).set_tcp_settings(tcp_settings()))
    };
    url.hosts.iter().map(connection_info).collect()
}

fn credentials(user: &Option<String>, password: &Option<String>) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default();
    if let Some(user) = user {
        login = login.set_username(user);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    login
}

fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}
