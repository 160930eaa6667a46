//! What the gateway is told: routes, limits, whom it believes.

use std::borrow::Cow;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use stele_service::origins::{self, CORS_ORIGINS};
use stele_service::path::canonical;
use stele_service::setting::{List, Shape, derived, unset, value};
use stele_service::settings::{BODY_LIMIT, CLIENT_TIMEOUT, WORKERS, common};
use stele_service::status_200::{STATUS_200, Status200};
use stele_service::trust::{TRUSTED_PROXIES, Trust};
use stele_service::{ConfigError, Declared as _, Settings, net};
use zeroize::Zeroizing;

use crate::cors::Cors;
use crate::docs::Docs;
use crate::index::Index;
use crate::refusal::Cause;
use crate::table::{Table, upstream_setting};
use crate::tls::Tls;
use crate::upstreams::Upstreams;
use crate::upstreams::resolve::{Resolver, SystemResolver};

stele_service::settings! {
    /// The settings that only the gateway reads.
    pub const SETTINGS = "STELE_";
    /// TOML file with the routes, in place of the built-in ones
    pub(crate) ROUTES: Option<PathBuf> = unset("the built-in table");
    // dialects: upstreams
    /// instances of the service of cloudbox
    UPSTREAM_CLOUDBOX: Option<String> = upstream(|| built_in("cloudbox"));
    /// instances of the service of tms
    UPSTREAM_TMS: Option<String> = upstream(|| built_in("tms"));
    /// instances of the service of portal
    UPSTREAM_PORTAL: Option<String> = upstream(|| built_in("portal"));
    /// instances of the service of mefp
    UPSTREAM_MEFP: Option<String> = upstream(|| built_in("mefp"));
    /// instances of the service of jwt
    UPSTREAM_JWT: Option<String> = upstream(|| built_in("jwt"));
    // dialects: end
    /// how often the names of services are looked up again
    RESOLVE: Duration = value("5s").positive();
    /// how often each instance is asked whether it is ready
    HEALTH_INTERVAL: Duration = value("1s").positive();
    /// how long a service may take to answer
    UPSTREAM_TIMEOUT: Duration = value("30s").positive();
    /// how long a client may take to send a body, or to take any of its answer
    BODY_TIMEOUT: Duration = value("15s").positive();
    /// connections of clients held at once; further ones wait. An address (IPv6: its /64) that is no trusted proxy's holds
    /// half of them at most
    MAX_CONNECTIONS: usize = value("10000").range(1, 1_000_000);
    /// PEM file with the certificate chain; read again when it changes
    pub(crate) TLS_CERT: Option<PathBuf> = unset("none: plain HTTP");
    /// PEM file with the certificate's private key; read again when it changes
    pub(crate) TLS_KEY: Option<PathBuf> = unset("none");
    /// address and port at which plain HTTP is answered with a redirect to HTTPS; needs `STELE_TLS_CERT`
    TLS_REDIRECT_LISTEN: Option<SocketAddr> = unset("none");
    /// the port of `https://` that `STELE_TLS_REDIRECT_LISTEN` leads to; 0: that of `STELE_LISTEN`
    TLS_REDIRECT_PORT: Option<u16> = unset("that of STELE_LISTEN").range(0, 65_535);
    /// for how long browsers are to use HTTPS alone (`Strict-Transport-Security`); needs `STELE_TLS_CERT`
    TLS_HSTS: Option<Duration> = unset("0: not sent");
    /// whether `/openapi.json` and the page at `/docs/` are served
    DOCS: bool = value("true");
}

/// Every setting that the gateway reads.
pub fn settings() -> Vec<List> {
    let mut lists = common();
    lists.extend([origins::SETTINGS, SETTINGS]);
    lists
}

const fn upstream(default: fn() -> Option<String>) -> Shape<Option<String>> {
    derived(default).takes("http://host:port, several by commas")
}

/// Where the built-in table leads to for a service.
fn built_in(service: &str) -> Option<String> {
    let table = Table::built_in().ok()?;
    Some(format!("http://{}", table.find_service(service)?.upstreams.names().first()?))
}

/// Everything the gateway is started with.
#[derive(Clone)]
pub struct Config {
    pub(crate) table: Table,
    pub(crate) trust: Trust,
    pub(crate) cors: Cors,
    /// Dialects whose failures are answered with 200.
    pub(crate) status_200: Status200,
    pub(crate) docs: Option<Docs>,
    pub(crate) index: Index,
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
        let port = settings.get(&TLS_REDIRECT_PORT)?.filter(|port| *port > 0);
        Ok(settings.get(&TLS_REDIRECT_LISTEN)?.map(|listen| Self { listen, port }))
    }

    /// The port that is led to, and the listener.
    pub(crate) fn bind(self, public: &TcpListener) -> Result<(u16, TcpListener), ConfigError> {
        let port = self.port.or_else(|| Some(public.local_addr().ok()?.port())).unwrap_or_default();
        Ok((port, net::bind(self.listen, TLS_REDIRECT_LISTEN.name())?))
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
    /// The service that a request for `path`, as it was sent, reaches, and the path that it gets; `None` if it reaches none.
    pub fn service_for<'a>(&self, path: &'a str) -> Option<(&str, Cow<'a, str>)> {
        let path = canonical(path)?;
        Some((self.table.find(&path)?.service.as_str(), path))
    }

    /// Reads and checks all there is to know.
    ///
    /// # Errors
    /// The first setting or line of the routing table that cannot be used.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let table = Table::from_settings(settings)?;
        refuse_unknown_upstreams(settings, &table)?;
        let limits = Limits {
            body: settings.get(&BODY_LIMIT)? as u64,
            body_time: settings.get(&BODY_TIMEOUT)?,
            head_time: settings.get(&CLIENT_TIMEOUT)?,
            upstream_time: settings.get(&UPSTREAM_TIMEOUT)?,
            connections: settings.get(&MAX_CONNECTIONS)?,
        };
        let (tls, redirect) = (Tls::from_settings(settings)?, Redirect::from_settings(settings)?);
        let docs = settings.get(&DOCS)?.then(Docs::default);
        let hsts = settings.get(&TLS_HSTS)?.filter(|span| !span.is_zero());
        Ok(Self {
            index: Index::new(&table, docs.is_some()),
            table,
            trust: settings.get(&TRUSTED_PROXIES)?,
            cors: Cors(settings.get(&CORS_ORIGINS)?),
            status_200: settings.get(&STATUS_200)?,
            docs,
            limits,
            workers: settings.get(&WORKERS)?,
            health_interval: settings.get(&HEALTH_INTERVAL)?,
            resolve_interval: settings.get(&RESOLVE)?,
            resolver: Arc::new(SystemResolver),
            hop: None,
            tls,
            redirect,
            hsts: hsts.map(strict_transport),
        })
    }

    /// Checks that nothing asks for TLS where there is no certificate.
    ///
    /// # Errors
    /// The setting that does.
    pub fn complete(self) -> Result<Self, ConfigError> {
        let wanted = [self.redirect.map(|_| TLS_REDIRECT_LISTEN.name()), self.hsts.as_ref().map(|_| TLS_HSTS.name())];
        match wanted.into_iter().flatten().next().filter(|_| self.tls.is_none()) {
            Some(name) => Err(ConfigError::new(format!("{name}: needs {}", TLS_CERT.name()))),
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

/// A slip in `STELE_UPSTREAM_…` would go unnoticed, and its service be sought at the default address.
fn refuse_unknown_upstreams(settings: &Settings, table: &Table) -> Result<(), ConfigError> {
    let known = |name: &str| {
        let routed = table.routes().iter().any(|route| upstream_setting(&route.service) == name);
        routed || SETTINGS.iter().any(|setting| setting.name() == name)
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
            let setting = SETTINGS.iter().find(|setting| setting.name() == name).unwrap();
            assert_eq!(setting.default_text(), format!("http://{}", route.upstreams.names()[0]));
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
            ("STELE_STATUS_200", "cloudbox,nothing"),
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
