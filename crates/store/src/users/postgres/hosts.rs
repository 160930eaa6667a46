//! The hosts of a PostgreSQL URL, and their addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, TargetSessionAttrs};

use super::cancel::ServerSocket;
use super::connection::{ConnectError, Connected, ConnectionAttempt};
use crate::OpenError;
use crate::users::pool::{ConnectionSlot, ConnectionSlots};
use crate::users::tls::PostgresTlsConnector;

/// Limit of one attempt to connect if there are other hosts to try: connecting, TLS, login and the check of the
/// server's attributes, about nine round trips. A call that waits 1.5 s can so outlast a host that hangs.
pub(super) const ATTEMPT_LIMIT: Duration = Duration::from_millis(500);

/// Limit of an attempt to connect to the only host. Callers wait less long.
const ONLY_HOST_LIMIT: Duration = Duration::from_secs(4);

/// The hosts of a URL, and how to connect to one.
pub(super) struct Hosts {
    hosts: Vec<UrlHost>,
    /// Without hosts.
    template: Config,
    /// `target_session_attrs` of the URL, if given.
    required: Option<TargetSessionAttrs>,
    tls: PostgresTlsConnector,
}

/// A host as the URL names it.
struct UrlHost {
    /// `None` if the URL has only `hostaddr`.
    name: Option<Host>,
    /// `hostaddr`: connected to instead of what the name resolves to.
    address: Option<IpAddr>,
    port: u16,
}

/// One address of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Endpoint {
    /// Index in the URL.
    host: usize,
    /// `None` for a Unix socket, and for a name that could not be resolved.
    address: Option<IpAddr>,
}

impl Hosts {
    /// Takes the hosts from `config`.
    ///
    /// # Errors
    /// [`OpenError::InvalidDatabaseUrl`] if there is no host, the numbers of hosts, addresses and ports do not match, or
    /// hosts are to be used at random.
    pub(super) fn new(
        config: &Config,
        required: Option<TargetSessionAttrs>,
        tls: PostgresTlsConnector,
    ) -> Result<Self, OpenError> {
        let invalid = |cause: &str| OpenError::InvalidDatabaseUrl(cause.to_owned());
        let (names, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
        let count = names.len().max(addresses.len());
        if count == 0 {
            return Err(invalid("no host"));
        }
        if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
            return Err(invalid("host and hostaddr have different numbers of hosts"));
        }
        if ports.len() > 1 && ports.len() != count {
            return Err(invalid("the number of ports is not that of hosts"));
        }
        if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            return Err(invalid("load_balance_hosts=random would connect to any host that accepts writes"));
        }
        let port = |index| ports.get(index).or(ports.first()).copied().unwrap_or(5_432);
        let host = |index| UrlHost {
            name: names.get(index).cloned(),
            address: addresses.get(index).copied(),
            port: port(index),
        };
        Ok(Self { hosts: (0..count).map(host).collect(), template: without_hosts(config), required, tls })
    }

    /// The only address of the only host; `None` if there are several.
    pub(super) async fn only_endpoint(&self) -> Result<Option<Endpoint>, String> {
        if self.hosts.len() > 1 {
            return Ok(None);
        }
        let endpoints = self.resolve(0).await?;
        Ok(endpoints.first().copied().filter(|_| endpoints.len() == 1))
    }

    /// The addresses of all hosts, and the names that could not be resolved.
    pub(super) async fn resolve_all(&self) -> (Vec<Endpoint>, Vec<(Endpoint, ConnectError)>) {
        let (mut endpoints, mut failures) = (Vec::new(), Vec::new());
        let resolved = join_all((0..self.hosts.len()).map(|host| self.resolve_in_time(host))).await;
        for (host, resolved) in resolved.into_iter().enumerate() {
            match resolved {
                Ok(addresses) => endpoints.extend(addresses),
                Err(cause) => failures.push((Endpoint { host, address: None }, ConnectError::Failed(cause))),
            }
        }
        (endpoints, failures)
    }

    /// Whether the host still has this address. If the name cannot be resolved now, it has.
    pub(super) async fn has_endpoint(&self, endpoint: Endpoint) -> bool {
        self.resolve_in_time(endpoint.host).await.map_or(true, |endpoints| endpoints.contains(&endpoint))
    }

    async fn resolve_in_time(&self, host: usize) -> Result<Vec<Endpoint>, String> {
        let resolved = tokio::time::timeout(ATTEMPT_LIMIT, self.resolve(host)).await;
        resolved.unwrap_or_else(|_| Err("the name could not be resolved in time".to_owned()))
    }

    async fn resolve(&self, host: usize) -> Result<Vec<Endpoint>, String> {
        let UrlHost { name, address, port } = &self.hosts[host];
        let name = match (name, address) {
            (_, Some(address)) => return Ok(vec![Endpoint { host, address: Some(*address) }]),
            (Some(Host::Tcp(name)), None) => name,
            (Some(Host::Unix(_)) | None, None) => return Ok(vec![Endpoint { host, address: None }]),
        };
        let addresses = tokio::net::lookup_host((name.as_str(), *port)).await;
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for address in addresses.map_err(|e| format!("the name {name} cannot be resolved: {e}"))? {
            let endpoint = Endpoint { host, address: Some(address.ip()) };
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        if endpoints.is_empty() { Err(format!("the name {name} has no address")) } else { Ok(endpoints) }
    }

    /// Waits for a free slot of the endpoint's host.
    pub(super) async fn acquire_slot(
        &self,
        endpoint: Endpoint,
        slots: &ConnectionSlots,
    ) -> Result<ConnectionSlot, ConnectError> {
        slots.acquire(endpoint.host).await.map_err(|e| ConnectError::Failed(e.to_string()))
    }

    /// Connects to the only address that there is. The caller sets the timeout; `connect_timeout` may be shorter.
    pub(super) async fn connect_to_only(
        &self,
        endpoint: Endpoint,
        slot: ConnectionSlot,
    ) -> Result<Connected, ConnectError> {
        let limit =
            self.template.get_connect_timeout().map_or(ONLY_HOST_LIMIT, |timeout| ONLY_HOST_LIMIT.min(*timeout));
        self.attempt(endpoint, self.required.unwrap_or(TargetSessionAttrs::Any), limit).run(slot).await
    }

    /// Connects to one of several addresses within [`ATTEMPT_LIMIT`], after a slot became free within the same time.
    /// By default the server must accept writes.
    pub(super) async fn connect_to(
        &self,
        endpoint: Endpoint,
        slots: &ConnectionSlots,
    ) -> Result<Connected, ConnectError> {
        let required = self.required.unwrap_or(TargetSessionAttrs::ReadWrite);
        let slot = tokio::time::timeout(ATTEMPT_LIMIT, self.acquire_slot(endpoint, slots)).await;
        self.attempt(endpoint, required, ATTEMPT_LIMIT).run(slot.map_err(|_| ConnectError::NoFreeSlot)??).await
    }

    fn attempt(&self, endpoint: Endpoint, required: TargetSessionAttrs, limit: Duration) -> ConnectionAttempt {
        let host = &self.hosts[endpoint.host];
        let server_name = match &host.name {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(_)) | None => String::new(),
        };
        let socket = match (&host.name, endpoint.address) {
            (Some(Host::Unix(folder)), None) => ServerSocket::Unix(folder.join(format!(".s.PGSQL.{}", host.port))),
            (_, address) => {
                let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
                ServerSocket::Tcp(SocketAddr::new(address, host.port))
            }
        };
        ConnectionAttempt {
            config: self.config_for(endpoint),
            tls: self.tls.clone(),
            socket,
            server_name,
            required,
            limit,
        }
    }

    fn config_for(&self, endpoint: Endpoint) -> Config {
        let host = &self.hosts[endpoint.host];
        let mut config = self.template.clone();
        config.port(host.port);
        match &host.name {
            Some(Host::Tcp(name)) => config.host(name),
            Some(Host::Unix(folder)) => config.host_path(folder),
            None => &mut config,
        };
        if let Some(address) = endpoint.address {
            config.hostaddr(address);
        }
        config
    }

    /// Host, port and address.
    pub(super) fn describe(&self, endpoint: Endpoint) -> String {
        let UrlHost { name, port, .. } = &self.hosts[endpoint.host];
        match (name, endpoint.address) {
            (Some(Host::Tcp(name)), Some(address)) if *name != address.to_string() => {
                format!("{name}:{port} ({address})")
            }
            (_, Some(IpAddr::V6(address))) => format!("[{address}]:{port}"),
            (_, Some(IpAddr::V4(address))) => format!("{address}:{port}"),
            (Some(Host::Tcp(name)), None) => format!("{name}:{port}"),
            (Some(Host::Unix(folder)), None) => format!("{}:{port}", folder.display()),
            (None, None) => format!(":{port}"),
        }
    }
}

/// A copy without hosts, addresses and ports, and without what is decided here: the attributes and the order of hosts.
fn without_hosts(config: &Config) -> Config {
    let mut copy = Config::new();
    copy.ssl_mode(config.get_ssl_mode()).ssl_negotiation(config.get_ssl_negotiation());
    copy.channel_binding(config.get_channel_binding()).keepalives(config.get_keepalives());
    copy.keepalives_idle(config.get_keepalives_idle());
    config.get_user().map(|user| copy.user(user));
    config.get_password().map(|password| copy.password(password));
    config.get_dbname().map(|name| copy.dbname(name));
    config.get_options().map(|options| copy.options(options));
    config.get_application_name().map(|name| copy.application_name(name));
    config.get_connect_timeout().map(|timeout| copy.connect_timeout(*timeout));
    config.get_tcp_user_timeout().map(|timeout| copy.tcp_user_timeout(*timeout));
    config.get_keepalives_interval().map(|interval| copy.keepalives_interval(interval));
    config.get_keepalives_retries().map(|retries| copy.keepalives_retries(retries));
    copy
}
