//! The admin port: health, readiness and metrics, for those who run the service.

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

/// Says whether the service can do its work right now.
pub type ReadinessProbe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Readiness> + Send>> + Send + Sync>;

/// Serves `/healthz`, `/readyz` and `/metrics` on `listener` with one thread. On loopback, `Host` must be an address,
/// `localhost` or one of `STELE_ADMIN_HOSTS`.
///
/// # Errors
/// If the listener or the setting cannot be used.
pub fn serve(
    listener: TcpListener,
    settings: &Settings,
    ready: ReadinessProbe,
    metrics: Metrics,
) -> Result<Server, ConfigError> {
    let unusable = |e| ConfigError::new(format!("the admin port cannot be used: {e}"));
    let loopback = listener.local_addr().map_err(unusable)?.ip().to_canonical().is_loopback();
    let hosts = loopback.then(|| settings.get(&ADMIN_HOSTS)).transpose()?.map(Arc::new);
    let app = move || {
        let (ready, metrics, hosts) = (ready.clone(), metrics.clone(), hosts.clone());
        let readiness = move || {
            let ready = ready.clone();
            async move { drain::readiness_response(ready().await) }
        };
        App::new()
            .wrap(from_fn(move |request, next| check_host(hosts.clone(), request, next)))
            .route("/healthz", web::get().to(|| async { drain::liveness_response() }))
            .route("/readyz", web::get().to(readiness))
            .route("/metrics", web::get().to(move || std::future::ready(metrics_response(&metrics))))
    };
    let builder = Server::build().workers(1).shutdown_timeout(1).disable_signals();
    Ok(http_server::listen(builder, "admin", listener, TIMEOUTS, ErrorBodies::default(), app)?.run())
}

crate::settings! {
    /// The admin port.
    pub const SETTINGS = "STELE_";
    /// address and port of health, readiness and metrics
    pub ADMIN_LISTEN: Option<SocketAddr> = optional("loopback, the port plus 1000");
    /// names by which an admin port on loopback may be called beside localhost and addresses
    ADMIN_HOSTS: AllowedHosts = parsed(AllowedHosts::parse, "names by commas", "");
}

/// Where the admin port of a program is that serves at `listen`.
///
/// # Errors
/// If `STELE_ADMIN_LISTEN` is not an address and a port.
pub fn listen_address(settings: &Settings, listen: SocketAddr) -> Result<SocketAddr, ConfigError> {
    Ok(settings.get(&ADMIN_LISTEN)?.unwrap_or_else(|| default_listen_address(listen)))
}

/// Loopback, 1000 ports up.
pub fn default_listen_address(listen: SocketAddr) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, listen.port().checked_add(1_000).unwrap_or(0)).into()
}

/// The names by which an admin port on loopback may be called, beside `localhost`. A page of a stranger reaches loopback
/// by a name of its own (DNS rebinding), and would read the metrics: the browser's `Host` gives it away.
#[derive(Debug)]
struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    fn parse(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(parse_host_name).collect::<Result<_, _>>().map(Self)
    }

    /// Whether this is an address, `localhost`, or one of the names; with or without a port.
    fn allows(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = host.strip_suffix('.').unwrap_or(host);
        bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|known| name.eq_ignore_ascii_case(known))
    }
}

fn parse_host_name(text: &str) -> Result<String, String> {
    let known = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    known.then(|| text.to_owned()).ok_or_else(|| format!("`{text}` is not a host name, without a port"))
}

async fn check_host<B: MessageBody + 'static>(
    hosts: Option<Arc<AllowedHosts>>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let named = request.headers().get_all(HOST).map(|host| host.to_str().unwrap_or_default());
    // Without a name (HTTP/1.0) it is no browser's.
    let fine = |hosts: &AllowedHosts| {
        named.chain(request.uri().authority().map(Authority::as_str)).all(|authority| hosts.allows(authority))
    };
    if hosts.as_deref().is_none_or(fine) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let text = "this name is not served here: use the address or localhost, or list the name in STELE_ADMIN_HOSTS\n";
    let refusal = HttpResponse::MisdirectedRequest().content_type("text/plain; charset=utf-8").body(text);
    Ok(request.into_response(refusal).map_into_right_body())
}

fn metrics_response(metrics: &Metrics) -> HttpResponse {
    match metrics.render() {
        Ok(text) => HttpResponse::Ok().content_type(CONTENT_TYPE).body(text),
        Err(cause) => {
            tracing::error!(%cause, "the metrics cannot be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_listed_names_are_served() {
        let settings = Settings::default().with_values([("STELE_ADMIN_HOSTS", " stele.internal, metrics".to_owned())]);
        let hosts = settings.get(&ADMIN_HOSTS).unwrap();
        for fine in [
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
            assert!(hosts.allows(fine), "{fine}");
        }
        for evil in ["", "evil.example", "127.0.0.1.evil.example:9080", "localhost.evil.example", "xlocalhost", "a b"] {
            assert!(!hosts.allows(evil), "{evil}");
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
