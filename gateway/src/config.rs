//! Configuration of the gateway: settings, routes, limits, timeouts, TLS.

use std::borrow::Cow;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use stele_service::common_settings::{BODY_LIMIT, CLIENT_TIMEOUT, WORKERS, common_setting_lists};
use stele_service::cors::{self, CORS_ORIGINS};
use stele_service::path::canonical_path;
use stele_service::setting::{SettingList, SettingSpec, optional, with_default, with_derived_default};
use stele_service::status_200::{STATUS_200, Status200};
use stele_service::trusted_proxies::{TRUSTED_PROXIES, TrustedProxies};
use stele_service::{AnySetting as _, ConfigError, Settings, listener};
use zeroize::Zeroizing;

use crate::cors::CorsPolicy;
use crate::docs::OpenApiCache;
use crate::error_pages::Rejection;
use crate::index::{ApiDocs, IndexPage};
use crate::routing_table::{RoutingTable, upstream_setting};
use crate::tls::TlsCertificate;
use crate::upstreams::Upstreams;
use crate::upstreams::resolver::{Resolver, SystemResolver};

stele_service::settings! {
    /// The settings that only the gateway reads.
    pub const SETTINGS = "STELE_";
    /// TOML file with the routes, in place of the built-in ones
    pub(crate) ROUTES: Option<PathBuf> = optional("the built-in table");
    // dialects: upstreams
    /// instances of the service of cloudbox
    UPSTREAM_CLOUDBOX: Option<String> = upstream_shape(|| default_upstream("cloudbox"));
    /// instances of the service of tms
    UPSTREAM_TMS: Option<String> = upstream_shape(|| default_upstream("tms"));
    /// instances of the service of portal
    UPSTREAM_PORTAL: Option<String> = upstream_shape(|| default_upstream("portal"));
    /// instances of the service of mefp
    UPSTREAM_MEFP: Option<String> = upstream_shape(|| default_upstream("mefp"));
    /// instances of the service of jwt
    UPSTREAM_JWT: Option<String> = upstream_shape(|| default_upstream("jwt"));
    /// instances of the service of oauth
    UPSTREAM_OAUTH: Option<String> = upstream_shape(|| default_upstream("oauth"));
    // dialects: end
    /// interval of DNS lookups for the names of upstreams
    RESOLVE: Duration = with_default("5s").positive();
    /// interval of health checks of each instance
    HEALTH_INTERVAL: Duration = with_default("1s").positive();
    /// timeout for a service to respond
    UPSTREAM_TIMEOUT: Duration = with_default("30s").positive();
    /// timeout for a client to send a request body, or to read any part of a response
    BODY_TIMEOUT: Duration = with_default("15s").positive();
    /// maximum of client connections; further ones wait. A client address (IPv6: its /64) that is no trusted proxy may
    /// have at most half of them
    MAX_CONNECTIONS: usize = with_default("10000").range(1, 1_000_000);
    /// PEM file with the certificate chain; read again when it changes
    pub(crate) TLS_CERT: Option<PathBuf> = optional("none: plain HTTP");
    /// PEM file with the certificate's private key; read again when it changes
    pub(crate) TLS_KEY: Option<PathBuf> = optional("none");
    /// address and port at which plain HTTP is answered with a redirect to HTTPS; needs `STELE_TLS_CERT`
    TLS_REDIRECT_LISTEN: Option<SocketAddr> = optional("none");
    /// port of the `https://` URL that `STELE_TLS_REDIRECT_LISTEN` redirects to; 0: that of `STELE_LISTEN`
    TLS_REDIRECT_PORT: Option<u16> = optional("that of STELE_LISTEN").range(0, 65_535);
    /// how long browsers must use HTTPS only (`Strict-Transport-Security`); needs `STELE_TLS_CERT`
    TLS_HSTS: Option<Duration> = optional("0: not sent");
    /// whether `/openapi.json` and the page at `/docs/` are served
    DOCS: bool = with_default("true");
}

/// All settings that the gateway reads.
pub fn settings() -> Vec<SettingList> {
    let mut lists = common_setting_lists();
    lists.extend([cors::SETTINGS, SETTINGS]);
    lists
}

const fn upstream_shape(default: fn() -> Option<String>) -> SettingSpec<Option<String>> {
    with_derived_default(default).value_format("http://host:port, several by commas")
}

/// The upstream of a service in the built-in routing table.
fn default_upstream(service: &str) -> Option<String> {
    let table = RoutingTable::built_in().ok()?;
    Some(format!("http://{}", table.route_of_service(service)?.upstreams.configured_names().first()?))
}

/// The configuration of a gateway, validated.
#[derive(Clone)]
pub struct Config {
    pub(crate) table: RoutingTable,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) cors: CorsPolicy,
    /// Dialects whose error responses are sent with status 200.
    pub(crate) status_200: Status200,
    pub(crate) docs: Option<OpenApiCache>,
    pub(crate) index: IndexPage,
    pub(crate) limits: GatewayLimits,
    pub(crate) workers: usize,
    pub(crate) health_interval: Duration,
    pub(crate) resolve_interval: Duration,
    pub(crate) resolver: Arc<dyn Resolver>,
    /// Secret header value by which the gateway authenticates itself to the services; only in `stele up`.
    pub(crate) gateway_secret: Option<Zeroizing<String>>,
    pub(crate) tls: Option<Arc<TlsCertificate>>,
    pub(crate) redirect: Option<HttpsRedirect>,
    /// The value of `Strict-Transport-Security`; `None`: not sent.
    pub(crate) hsts: Option<HeaderValue>,
}

/// The listener that redirects plain HTTP to HTTPS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpsRedirect {
    listen: SocketAddr,
    /// Port of the `https://` URLs; `None`: the port of the public listener.
    https_port: Option<u16>,
}

impl HttpsRedirect {
    fn from_settings(settings: &Settings) -> Result<Option<Self>, ConfigError> {
        let port = settings.get(&TLS_REDIRECT_PORT)?.filter(|port| *port > 0);
        Ok(settings.get(&TLS_REDIRECT_LISTEN)?.map(|listen| Self { listen, https_port: port }))
    }

    /// Binds the listener. Returns it with the port of the `https://` URLs.
    pub(crate) fn bind(self, public: &TcpListener) -> Result<(u16, TcpListener), ConfigError> {
        let port = self.https_port.or_else(|| Some(public.local_addr().ok()?.port())).unwrap_or_default();
        Ok((port, listener::bind(self.listen, TLS_REDIRECT_LISTEN.name())?))
    }
}

/// Limits and timeouts of client connections, requests and upstream responses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GatewayLimits {
    pub(crate) max_body_bytes: u64,
    pub(crate) body_timeout: Duration,
    pub(crate) head_timeout: Duration,
    pub(crate) upstream_timeout: Duration,
    /// Maximum of open client connections.
    pub(crate) max_connections: usize,
}

impl Config {
    /// The service that a request for `path` is routed to, and the canonical path that the service receives; `None` if
    /// no route matches or `path` has no canonical form.
    pub fn service_for<'a>(&self, path: &'a str) -> Option<(&str, Cow<'a, str>)> {
        let path = canonical_path(path)?;
        let (route, _) = self.table.match_path(&path)?;
        Some((route.service.as_str(), path))
    }

    /// Reads and validates the settings and the routing table.
    ///
    /// # Errors
    /// The first invalid setting or line of the routing table.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let table = RoutingTable::from_settings(settings)?;
        reject_unknown_upstreams(settings, &table)?;
        let limits = GatewayLimits {
            max_body_bytes: settings.get(&BODY_LIMIT)? as u64,
            body_timeout: settings.get(&BODY_TIMEOUT)?,
            head_timeout: settings.get(&CLIENT_TIMEOUT)?,
            upstream_timeout: settings.get(&UPSTREAM_TIMEOUT)?,
            max_connections: settings.get(&MAX_CONNECTIONS)?,
        };
        let (tls, redirect) = (TlsCertificate::from_settings(settings)?, HttpsRedirect::from_settings(settings)?);
        let docs = settings.get(&DOCS)?.then(OpenApiCache::default);
        let hsts = settings.get(&TLS_HSTS)?.filter(|span| !span.is_zero());
        Ok(Self {
            index: IndexPage::new(&table, if docs.is_some() { ApiDocs::Served } else { ApiDocs::Disabled }),
            table,
            trusted_proxies: settings.get(&TRUSTED_PROXIES)?,
            cors: CorsPolicy(settings.get(&CORS_ORIGINS)?),
            status_200: settings.get(&STATUS_200)?,
            docs,
            limits,
            workers: settings.get(&WORKERS)?,
            health_interval: settings.get(&HEALTH_INTERVAL)?,
            resolve_interval: settings.get(&RESOLVE)?,
            resolver: Arc::new(SystemResolver),
            gateway_secret: None,
            tls,
            redirect,
            hsts: hsts.map(build_hsts_header),
        })
    }

    /// Checks that no setting needs TLS while there is no certificate.
    ///
    /// # Errors
    /// Names the first setting that needs TLS.
    pub fn validate(self) -> Result<Self, ConfigError> {
        let settings_that_need_tls =
            [self.redirect.map(|_| TLS_REDIRECT_LISTEN.name()), self.hsts.as_ref().map(|_| TLS_HSTS.name())];
        match settings_that_need_tls.into_iter().flatten().next().filter(|_| self.tls.is_none()) {
            Some(name) => Err(ConfigError::new(format!("{name}: needs {}; set it, or remove {name}", TLS_CERT.name()))),
            None => Ok(self),
        }
    }

    /// Serves TLS with this certificate chain and private key (PEM), instead of the files named in the settings.
    ///
    /// # Errors
    /// If one is not valid PEM, or the key does not belong to the certificate.
    pub fn with_certificate(mut self, cert: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        self.tls = Some(TlsCertificate::from_pem(cert, key)?);
        Ok(self)
    }

    /// Whether the public listener serves TLS.
    pub fn is_tls_enabled(&self) -> bool {
        self.tls.is_some()
    }

    /// Sends the requests for `service` to `urls` (one, or several separated by commas), instead of the upstreams of
    /// the settings.
    ///
    /// # Errors
    /// If no route has this service, or a URL is not `http://host:port`.
    pub fn with_upstream(mut self, service: &str, urls: &str) -> Result<Self, ConfigError> {
        let route = self.table.route_of_service_mut(service);
        let route = route.ok_or_else(|| ConfigError::new(format!("no route has the service `{service}`")))?;
        route.upstreams = Upstreams::parse(urls).map_err(|reason| ConfigError::new(format!("{service}: {reason}")))?;
        Ok(self)
    }

    /// Removes the route of a service, if there is one: its paths get 404.
    #[must_use]
    pub fn without_service(mut self, service: &str) -> Self {
        self.table.remove_service(service);
        self
    }

    /// Sends `secret` with every upstream request, to authenticate the gateway to services that were started with
    /// [`TrustedProxies::with_gateway_secret`](stele_service::trusted_proxies::TrustedProxies::with_gateway_secret).
    #[must_use]
    pub fn with_gateway_secret(mut self, secret: Zeroizing<String>) -> Self {
        self.gateway_secret = Some(secret);
        self
    }

    /// Looks names up with `resolver` instead of the system's resolver.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = resolver;
        self
    }

    /// The services in the order of the routing table.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.table.routes().iter().map(|route| route.service.as_str())
    }

    /// The body of the gateway's error page for `service`.
    pub fn error_page(&self, service: &str, rejection: Rejection) -> Option<&str> {
        self.table.route_of_service(service).map(|route| route.error_pages.body(rejection))
    }
}

fn build_hsts_header(span: Duration) -> HeaderValue {
    HeaderValue::try_from(format!("max-age={}", span.as_secs())).unwrap_or(HeaderValue::from_static("max-age=0"))
}

/// Rejects `STELE_UPSTREAM_<SERVICE>` for an unknown service: a typo would silently leave the default address in use.
fn reject_unknown_upstreams(settings: &Settings, table: &RoutingTable) -> Result<(), ConfigError> {
    let is_known = |name: &str| {
        let has_route = table.routes().iter().any(|route| upstream_setting(&route.service) == name);
        has_route || SETTINGS.iter().any(|setting| setting.name() == name)
    };
    match settings.names().find(|name| name.starts_with("STELE_UPSTREAM_") && !is_known(name)) {
        Some(name) => Err(ConfigError::new(format!("{name}: no route has this service; check the name"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(values: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        let values = values.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Config::from_settings(&Settings::default().with_values(values))
    }

    fn config_error(name: &'static str, value: &str) -> String {
        config(&[(name, value)]).err().unwrap().to_string()
    }

    #[test]
    fn every_built_in_route_has_an_upstream_setting() {
        let config = config(&[]).unwrap();
        let lines = include_str!("../routes.toml").lines();
        let services = lines.filter_map(|line| line.strip_prefix("service = \"")?.strip_suffix('"'));
        assert_eq!(config.services().collect::<Vec<_>>(), services.collect::<Vec<_>>());
        for route in config.table.routes() {
            let name = upstream_setting(&route.service);
            let setting = SETTINGS.iter().find(|setting| setting.name() == name).unwrap();
            assert_eq!(setting.default_text(), format!("http://{}", route.upstreams.configured_names()[0]));
        }
    }

    #[test]
    fn an_invalid_setting_is_named_in_the_error() {
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
            let error = config_error(name, value);
            assert!(error.starts_with(&format!("{name}: ")), "{error}");
        }
    }

    #[test]
    fn a_removed_service_has_no_route_and_the_others_keep_theirs() {
        let built_in = config(&[]).unwrap();
        let removed = built_in.clone().without_service("tms").without_service("nothing");
        let paths =
            ["/api/v1/cloudbox/x", "/container/api/v1/cloudbox/tms/x", "/i/login", "/auth/login", "/api/v1/Auth/x"];
        let services = |config: &Config| paths.map(|path| config.service_for(path).map(|(name, _)| name.to_owned()));
        let expected = services(&built_in).map(|name| name.filter(|name| name != "tms"));
        assert_eq!(services(&removed), expected);
        assert_eq!(removed.services().count() + 1, built_in.services().count());
    }

    #[test]
    fn with_upstream_overrides_the_table() {
        let config = config(&[]).unwrap().with_upstream("tms", "http://127.0.0.1:1").unwrap();
        assert_eq!(config.table.route_of_service("tms").unwrap().upstreams.configured_names(), ["127.0.0.1:1"]);
    }

    #[test]
    fn with_upstream_rejects_an_unknown_service_and_an_invalid_url() {
        let config = config(&[]).unwrap();
        assert!(config.clone().with_upstream("tsm", "http://127.0.0.1:1").is_err());
        assert!(config.with_upstream("tms", "http://127.0.0.1:1/x").is_err());
    }
}
