//! The clients of the servers that a URL names.

use std::fmt;
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    RedisResult, TlsMode,
};
use tokio::sync::Mutex;

use super::connection::DriverConnection;
use super::redis_url::{RedisUrl, Topology};

/// How long one server may take to accept a connection: another one may be there to be asked.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a command is sent on to where its slot is said to have moved.
const MAX_REDIRECTS: u32 = 3;

enum TopologyClient {
    SingleServer(Client),
    Sentinel(Mutex<SentinelClient>),
    Cluster(ClusterClient),
}

/// The clients of some servers.
pub(super) struct RedisClient {
    client: TopologyClient,
    display_url: String,
}

impl RedisClient {
    /// The clients of the servers at `place`. Connects to nothing yet.
    pub(super) fn new(place: &RedisUrl) -> RedisResult<Self> {
        if place.tls {
            // Named, so that it does not depend on what else is built in. Someone may have been before us.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let login = credentials(&place.user, &place.password).set_db(place.db);
        let client = match &place.topology {
            Topology::SingleServer => {
                TopologyClient::SingleServer(Client::open(connection_infos(place, &login)?.remove(0))?)
            }
            Topology::Sentinel(master) => {
                let sentinels = connection_infos(place, &credentials(&place.sentinel_user, &place.sentinel_password))?;
                let mut node = SentinelNodeConnectionInfo::default()
                    .set_redis_connection_info(login)
                    .set_tcp_settings(tcp_settings());
                if place.tls {
                    node = node.set_tls_mode(TlsMode::Secure);
                }
                let client = SentinelClient::build(sentinels, master, Some(node), SentinelServerType::Master)?;
                TopologyClient::Sentinel(Mutex::new(client))
            }
            Topology::Cluster => {
                let nodes = ClusterClientBuilder::new(connection_infos(place, &login)?).tcp_settings(tcp_settings());
                let nodes = nodes.connection_timeout(CONNECT_TIMEOUT).retries(MAX_REDIRECTS).max_retry_wait(100);
                TopologyClient::Cluster(nodes.build()?)
            }
        };
        Ok(Self { client, display_url: place.to_string() })
    }

    /// A new connection, to the master of today where sentinels know it.
    pub(super) async fn connect(&self) -> RedisResult<DriverConnection> {
        // Who calls has a limit of its own for the answers.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT)).set_response_timeout(None);
        Ok(match &self.client {
            TopologyClient::SingleServer(client) => {
                DriverConnection::SingleServer(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            TopologyClient::Sentinel(client) => {
                DriverConnection::SingleServer(client.lock().await.get_async_connection_with_config(&config).await?)
            }
            TopologyClient::Cluster(client) => DriverConnection::Cluster(client.get_async_connection().await?),
        })
    }
}

impl fmt::Display for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display_url)
    }
}

fn connection_infos(place: &RedisUrl, login: &RedisConnectionInfo) -> RedisResult<Vec<ConnectionInfo>> {
    let node = |(host, port): &(String, u16)| {
        let (host, port) = (host.clone(), *port);
        let address = if place.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let node = address.into_connection_info()?;
        Ok(node.set_redis_settings(login.clone()).set_tcp_settings(tcp_settings()))
    };
    place.hosts.iter().map(node).collect()
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
