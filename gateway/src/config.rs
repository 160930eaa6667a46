//! What the gateway is told: routes, limits, whom it believes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use stele_service::config::{ConfigError, Setting, Settings, setting};
use stele_service::net;
use stele_service::origins::AllowedOrigins;
use stele_service::settings::BodyLimit;
use stele_service::trust::Trust;
use zeroize::Zeroizing;

use crate::cors::Cors;
use crate::docs::Docs;
use crate::path;
use crate::refusal::Cause;
use crate::table::{Table, upstream_setting};
use crate::tls::{self, Tls};
use crate::upstreams::Upstreams;
use crate::upstreams::resolve::{Resolver, SystemResolver};

const REDIRECT: &str = "STELE_TLS_REDIRECT_LISTEN";
const REDIRECT_PORT: &str = "STELE_TLS_REDIRECT_PORT";
const HSTS: &str = "STELE_TLS_HSTS";

/// The settings that only the gateway reads.
pub const SETTINGS: &[Setting] = &[
    setting("STELE_ROUTES", "the built-in table", "TOML file with the routes, in place of the built-in ones"),
    // dialects: upstreams
    setting("STELE_UPSTREAM_CLOUDBOX", "http://127.0.0.1:8101", "the service, http://host:port; several by commas"),
    setting("STELE_UPSTREAM_TMS", "http://127.0.0.1:8102", "the service, http://host:port; several by commas"),
    setting("STELE_UPSTREAM_PORTAL", "http://127.0.0.1:8103", "the service, http://host:port; several by commas"),
    setting("STELE_UPSTREAM_MEFP", "http://127.0.0.1:8104", "the service, http://host:port; several by commas"),
    setting("STELE_UPSTREAM_JWT", "http://127.0.0.1:8105", "the service, http://host:port; several by commas"),
    // dialects: end
    setting("STELE_RESOLVE", "5s", "how often the names of services are looked up again"),
    setting("STELE_HEALTH_INTERVAL", "1s", "how often each instance is asked whether it is ready"),
    setting("STELE_UPSTREAM_TIMEOUT", "30s", "how long a service may take to answer"),
    setting("STELE_CLIENT_TIMEOUT", "5s", "how long a client may take to send the head of a request"),
    setting("STELE_BODY_TIMEOUT", "15s", "how long a client may take to send a body, or to take any of its answer"),
    setting(
        "STELE_MAX_CONNECTIONS",
        "10000",
        "connections of clients held at once, 1 to 1000000; further ones wait. An address (IPv6: its /64) that is no \
         trusted proxy's holds half of them at most",
    ),
    setting(tls::CERT, "none: plain HTTP", "PEM file with the certificate chain; read again when it changes"),
    setting(tls::KEY, "none", "PEM file with the certificate's private key; read again when it changes"),
    setting(
        REDIRECT,
        "none",
        "address and port at which plain HTTP is answered with a redirect to HTTPS; needs STELE_TLS_CERT",
    ),
    setting(REDIRECT_PORT, "STELE_LISTEN's", "the port of https:// that STELE_TLS_REDIRECT_LISTEN leads to"),
    setting(
        HSTS,
        "0: not said",
        "for how long browsers are to use HTTPS alone, such as 365d (Strict-Transport-Security); needs STELE_TLS_CERT",
    ),
    setting("STELE_DOCS", "true", "whether /openapi.json and the page at /docs/ are served"),
];

/// The settings it reads that the services have too.
pub const COMMON: &[Setting] = &[
    setting("STELE_LISTEN", "127.0.0.1:8080", "address and port to serve on"),
    setting("STELE_ADMIN_LISTEN", "loopback, the port plus 1000", "address and port of health, readiness and metrics"),
    setting("STELE_TRUSTED_PROXIES", "none", "whose X-Forwarded-* are believed: addresses and CIDRs, by commas"),
    stele_service::origins::SETTING,
    stele_service::settings::BODY_LIMIT,
    stele_service::settings::WORKERS,
    stele_service::settings::ADMIN_HOSTS,
    stele_service::settings::DRAIN,
    setting("STELE_LOG", "info", "level, or directives such as info,gateway=debug"),
    setting("STELE_LOG_FORMAT", "human", "human or json"),
];

/// At worst each holds heads as large as they may be and what is on its way of bodies, some 160 KiB: 1.6 GB.
const CONNECTIONS: usize = 10_000;
/// More than one process is given files for.
const MOST_CONNECTIONS: usize = 1_000_000;

/// Everything the gateway is started with.
#[derive(Clone)]
pub struct Config {
    pub(crate) table: Table,
    pub(crate) trust: Trust,
    pub(crate) cors: Cors,
    pub(crate) docs: Option<Docs>,
    pub(crate) limits: Limits,
    pub(crate) workers: usize,
    pub(crate) health_interval: Duration,
    pub(crate) resolve_interval: Duration,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) hop: Option<Zeroizing<String>>,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) redirect: Option<Redirect>,
    /// `Strict-Transport-Security`.
    pub(crate) hsts: Option<HeaderValue>,
}

/// Where plain HTTP is sent to HTTPS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Redirect {
    listen: SocketAddr,
    /// The port of `https://`; the public listener's if it is `None`.
    port: Option<u16>,
}

impl Redirect {
    fn from_settings(settings: &Settings) -> Result<Option<Self>, ConfigError> {
        if settings.text(REDIRECT).is_none() {
            return Ok(None);
        }
        let listen = settings.address(REDIRECT, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?;
        let port = settings.range(REDIRECT_PORT, 0, 0..=u16::MAX)?;
        Ok(Some(Self { listen, port: (port > 0).then_some(port) }))
    }

    /// The port that is led to, and the listener.
    pub(crate) fn bind(self, public: &TcpListener) -> Result<(u16, TcpListener), ConfigError> {
        let port = self.port.or_else(|| Some(public.local_addr().ok()?.port())).unwrap_or_default();
        Ok((port, net::bind(self.listen, REDIRECT)?))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) body: u64,
    pub(crate) body_time: Duration,
    pub(crate) head_time: Duration,
    pub(crate) upstream_time: Duration,
    /// Connections that clients hold at once.
    pub(crate) connections: usize,
}

impl Config {
    /// The service that a request for `path`, as it was sent, reaches; `None` if it reaches none.
    pub fn service_for(&self, path: &str) -> Option<&str> {
        path::is_plain(path).then(|| self.table.find(path))?.map(|route| route.service.as_str())
    }

    /// Reads and checks all there is to know.
    ///
    /// # Errors
    /// The first setting or line of the routing table that cannot be used.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let table = Table::from_settings(settings)?;
        refuse_unknown_upstreams(settings, &table)?;
        let limits = Limits {
            body: BodyLimit::from_settings(settings)?.0 as u64,
            body_time: positive(settings, "STELE_BODY_TIMEOUT", 15)?,
            head_time: positive(settings, "STELE_CLIENT_TIMEOUT", 5)?,
            upstream_time: positive(settings, "STELE_UPSTREAM_TIMEOUT", 30)?,
            connections: settings.range("STELE_MAX_CONNECTIONS", CONNECTIONS, 1..=MOST_CONNECTIONS)?,
        };
        let (tls, redirect) = (Tls::from_settings(settings)?, Redirect::from_settings(settings)?);
        let hsts = settings.span(HSTS, Duration::ZERO)?;
        Ok(Self {
            table,
            trust: Trust::from_settings(settings)?,
            cors: Cors(AllowedOrigins::from_settings(settings)?),
            docs: settings.flag("STELE_DOCS", true)?.then(Docs::default),
            limits,
            workers: stele_service::settings::workers(settings)?,
            health_interval: positive(settings, "STELE_HEALTH_INTERVAL", 1)?,
            resolve_interval: positive(settings, "STELE_RESOLVE", 5)?,
            resolver: Arc::new(SystemResolver),
            hop: None,
            tls,
            redirect,
            hsts: (!hsts.is_zero()).then(|| strict_transport(hsts)),
        })
    }

    /// Checks that nothing asks for TLS where there is no certificate.
    ///
    /// # Errors
    /// The setting that does.
    pub fn complete(self) -> Result<Self, ConfigError> {
        let wanted = [self.redirect.map(|_| REDIRECT), self.hsts.as_ref().map(|_| HSTS)];
        match wanted.into_iter().flatten().next().filter(|_| self.tls.is_none()) {
            Some(name) => Err(ConfigError::new(format!("{name}: needs {}", tls::CERT))),
            None => Ok(self),
        }
    }

    /// Serves TLS with this certificate chain and key, as PEM, whatever the settings say.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn with_certificate(mut self, cert: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        self.tls = Some(Tls::from_pem(cert, key)?);
        Ok(self)
    }

    /// Whether the public address speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Sends the requests for `service` to `urls` (one, or several separated by commas), whatever the settings say.
    ///
    /// # Errors
    /// If no route leads to the service, or a URL is more than `http://host:port`.
    pub fn with_upstream(mut self, service: &str, urls: &str) -> Result<Self, ConfigError> {
        let route = self.table.find_service_mut(service);
        let route = route.ok_or_else(|| ConfigError::new(format!("no route leads to service `{service}`")))?;
        route.upstreams = Upstreams::parse(urls).map_err(|why| ConfigError::new(format!("{service}: {why}")))?;
        Ok(self)
    }

    /// Shows `secret` to the services with every request, as [`stele_service::trust::Trust::hop`] expects it.
    #[must_use]
    pub fn with_hop_secret(mut self, secret: Zeroizing<String>) -> Self {
        self.hop = Some(secret);
        self
    }

    /// Looks names up by `resolver`, and not by the system's.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = resolver;
        self
    }

    /// The services that the routes lead to, in the table's order.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.table.routes().iter().map(|route| route.service.as_str())
    }

    /// The body with which the gateway itself answers for `service`.
    pub fn refusal(&self, service: &str, cause: Cause) -> Option<&str> {
        self.table.find_service(service).map(|route| route.refusals.body(cause))
    }
}

fn strict_transport(span: Duration) -> HeaderValue {
    HeaderValue::try_from(format!("max-age={}", span.as_secs())).unwrap_or(HeaderValue::from_static("max-age=0"))
}

fn positive(settings: &Settings, name: &str, default: u64) -> Result<Duration, ConfigError> {
    let span = settings.span(name, Duration::from_secs(default))?;
    if span.is_zero() { Err(ConfigError::new(format!("{name}: must be longer than 0"))) } else { Ok(span) }
}

/// A slip in `STELE_UPSTREAM_…` would go unnoticed, and its service be sought at the default address.
fn refuse_unknown_upstreams(settings: &Settings, table: &Table) -> Result<(), ConfigError> {
    let known = |name: &str| {
        let routed = table.routes().iter().any(|route| upstream_setting(&route.service) == name);
        routed || SETTINGS.iter().any(|setting| setting.name == name)
    };
    match settings.names().find(|name| name.starts_with("STELE_UPSTREAM_") && !known(name)) {
        Some(name) => Err(ConfigError::new(format!("{name}: no route leads to such a service"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(values: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        let values = values.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Config::from_settings(&Settings::default().with(values))
    }

    fn error(name: &'static str, value: &str) -> String {
        config(&[(name, value)]).err().unwrap().to_string()
    }

    #[test]
    fn every_built_in_route_has_its_setting() {
        let config = config(&[]).unwrap();
        let lines = include_str!("../routes.toml").lines();
        let named = lines.filter_map(|line| line.strip_prefix("service = \"")?.strip_suffix('"'));
        assert_eq!(config.services().collect::<Vec<_>>(), named.collect::<Vec<_>>());
        for route in config.table.routes() {
            let name = upstream_setting(&route.service);
            let setting = SETTINGS.iter().find(|setting| setting.name == name).unwrap();
            assert_eq!(setting.default, format!("http://{}", route.upstreams.names()[0]));
        }
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named() {
        for (name, value) in [
            ("STELE_BODY_LIMIT", "64K"),
            ("STELE_BODY_TIMEOUT", "0"),
            ("STELE_CLIENT_TIMEOUT", "soon"),
            ("STELE_UPSTREAM_TIMEOUT", "-1"),
            ("STELE_HEALTH_INTERVAL", "0"),
            ("STELE_RESOLVE", "often"),
            ("STELE_UPSTREAM_TSM", "http://a:1"),
            ("STELE_CORS_ORIGINS", "example.com"),
            ("STELE_TRUSTED_PROXIES", "lb"),
            ("STELE_WORKERS", "0"),
            ("STELE_MAX_CONNECTIONS", "0"),
            ("STELE_DOCS", "maybe"),
        ] {
            assert!(error(name, value).starts_with(&format!("{name}: ")), "{}", error(name, value));
        }
    }

    #[test]
    fn upstreams_can_be_given_by_code() {
        let config = config(&[]).unwrap().with_upstream("tms", "http://127.0.0.1:1").unwrap();
        assert_eq!(config.table.find_service("tms").unwrap().upstreams.names(), ["127.0.0.1:1"]);
        assert!(config.clone().with_upstream("tsm", "http://127.0.0.1:1").is_err());
        assert!(config.with_upstream("tms", "http://127.0.0.1:1/x").is_err());
    }
}
