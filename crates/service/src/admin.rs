//! Admin port for operators: liveness (`/healthz`), readiness (`/readyz`), Prometheus metrics (`/metrics`). Requests to
//! loopback are protected against DNS rebinding.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::http::header::HOST;
use actix_web::http::uri::Authority;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, HttpResponse, web};

use crate::config::{ConfigError, Settings};
use crate::drain::{self, Readiness};
use crate::error_bodies::ErrorBodies;
use crate::http_server::{self, ClientTimeouts};
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::setting::{optional, parsed};

const TIMEOUTS: ClientTimeouts =
    ClientTimeouts { request_head: Duration::from_secs(5), keep_alive: Duration::from_secs(5) };

/// Returns whether the process is ready for requests, and if not, the reason. Called for each request of `/readyz`.
pub type ReadinessCheckFn = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Readiness> + Send>> + Send + Sync>;

/// Serves `/healthz`, `/readyz` and `/metrics` on `listener` with one thread. On loopback, the `Host` of a request must
/// be an IP address, `localhost` or a name in `STELE_ADMIN_HOSTS`, which prevents DNS rebinding.
///
/// # Errors
/// If the listener cannot be used or `STELE_ADMIN_HOSTS` is invalid.
pub fn serve(
    listener: TcpListener,
    settings: &Settings,
    readiness_check: ReadinessCheckFn,
    metrics: Metrics,
) -> Result<Server, ConfigError> {
    let listener_error = |e| ConfigError::new(format!("the admin port cannot be used: {e}"));
    let is_loopback = listener.local_addr().map_err(listener_error)?.ip().to_canonical().is_loopback();
    let hosts = is_loopback.then(|| settings.get(&ADMIN_HOSTS)).transpose()?.map(Arc::new);
    let build_app = move || {
        let (readiness_check, metrics, hosts) = (readiness_check.clone(), metrics.clone(), hosts.clone());
        let handle_readyz = move || {
            let readiness_check = readiness_check.clone();
            async move { drain::readiness_response(readiness_check().await) }
        };
        App::new()
            .wrap(from_fn(move |request, next| check_host(hosts.clone(), request, next)))
            .route("/healthz", web::get().to(|| async { drain::liveness_response() }))
            .route("/readyz", web::get().to(handle_readyz))
            .route("/metrics", web::get().to(move || std::future::ready(metrics_response(&metrics))))
    };
    let builder = Server::build().workers(1).shutdown_timeout(1).disable_signals();
    Ok(http_server::listen(builder, "admin", listener, TIMEOUTS, ErrorBodies::default(), build_app)?.run())
}

crate::settings! {
    /// The admin port.
    pub const SETTINGS = "STELE_";
    /// address and port of health checks, readiness and metrics
    pub ADMIN_LISTEN: Option<SocketAddr> = optional("loopback, STELE_LISTEN's port plus 1000");
    /// host names that an admin port on loopback accepts in `Host`, in addition to localhost and IP addresses
    ADMIN_HOSTS: AllowedHosts = parsed(AllowedHosts::parse, "host names, separated by commas", "");
}

/// The address of the admin port: `STELE_ADMIN_LISTEN`, or the default for a program that serves on `listen`.
///
/// # Errors
/// If `STELE_ADMIN_LISTEN` is not an IP address and a port.
pub fn listen_address(settings: &Settings, listen: SocketAddr) -> Result<SocketAddr, ConfigError> {
    Ok(settings.get(&ADMIN_LISTEN)?.unwrap_or_else(|| default_listen_address(listen)))
}

/// Loopback, at the port of `listen` plus 1000.
pub fn default_listen_address(listen: SocketAddr) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, listen.port().checked_add(1_000).unwrap_or(0)).into()
}

/// Host names that an admin port on loopback accepts, in addition to `localhost` and IP addresses. By DNS rebinding, a
/// page of any website could reach loopback under the website's host name and read the metrics. The browser sends that
/// name in `Host`, so the request can be rejected.
#[derive(Debug)]
struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    fn parse(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(parse_host_name).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `authority`, with or without a port, is an IP address, `localhost` or one of the names.
    fn allows(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let host = authority.host();
        let without_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = host.strip_suffix('.').unwrap_or(host);
        without_brackets.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|allowed| name.eq_ignore_ascii_case(allowed))
    }
}

fn parse_host_name(text: &str) -> Result<String, String> {
    let is_host_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    is_host_name
        .then(|| text.to_owned())
        .ok_or_else(|| format!("`{text}` is not a host name; write only the name, without scheme and port"))
}

/// Middleware: rejects a request with 421 if `Host` or the request target names a host that is not allowed. With
/// `None`, every host is allowed.
async fn check_host<B: MessageBody + 'static>(
    hosts: Option<Arc<AllowedHosts>>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let host_fields = request.headers().get_all(HOST).map(|host| host.to_str().unwrap_or_default());
    // A request without `Host` (HTTP/1.0) does not come from a browser, and is accepted.
    let is_allowed = |hosts: &AllowedHosts| {
        host_fields.chain(request.uri().authority().map(Authority::as_str)).all(|authority| hosts.allows(authority))
    };
    if hosts.as_deref().is_none_or(is_allowed) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let message =
        "this host name is not allowed: use the IP address or localhost, or add the name to STELE_ADMIN_HOSTS\n";
    let rejection = HttpResponse::MisdirectedRequest().content_type("text/plain; charset=utf-8").body(message);
    Ok(request.into_response(rejection).map_into_right_body())
}

fn metrics_response(metrics: &Metrics) -> HttpResponse {
    match metrics.render() {
        Ok(text) => HttpResponse::Ok().content_type(CONTENT_TYPE).body(text),
        Err(cause) => {
            tracing::error!(%cause, "the metrics cannot be rendered");
            HttpResponse::InternalServerError().finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_listed_names_are_allowed() {
        let settings = Settings::default().with_values([("STELE_ADMIN_HOSTS", " stele.internal, metrics".to_owned())]);
        let hosts = settings.get(&ADMIN_HOSTS).unwrap();
        for allowed in [
            "127.0.0.1",
            "127.0.0.1:9080",
            "[::1]:9080",
            "10.0.0.7:1",
            "localhost",
            "LOCALHOST:9080",
            "localhost.",
            "stele.internal:9080",
            "Metrics",
        ] {
            assert!(hosts.allows(allowed), "{allowed}");
        }
        for foreign in
            ["", "evil.example", "127.0.0.1.evil.example:9080", "localhost.evil.example", "xlocalhost", "a b"]
        {
            assert!(!hosts.allows(foreign), "{foreign}");
        }
    }

    #[test]
    fn an_invalid_admin_host_is_reported_with_its_setting() {
        for bad in ["http://x", "x:80", "a b", "*"] {
            let settings = Settings::default().with_values([("STELE_ADMIN_HOSTS", bad.to_owned())]);
            let error = settings.get(&ADMIN_HOSTS).unwrap_err().to_string();
            assert!(error.starts_with("STELE_ADMIN_HOSTS: "), "{error}");
        }
    }
}
