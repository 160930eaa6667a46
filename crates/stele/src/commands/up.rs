//! `stele up`: runs the gateway and every dialect in one process, up to the graceful shutdown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use gateway::{Config, Gateway, reload_on_sighup};
use stele_app::password_hashing::HashingConfig;
use stele_app::readiness::build_readiness_check;
use stele_app::serve::wait_past_store_birth;
use stele_app::{Context, Environment, PublicEndpoint, background};
use stele_service::admin::{self, ADMIN_LISTEN};
use stele_service::common_settings::{DRAIN, LISTEN};
use stele_service::trusted_proxies::TrustedProxies;
use stele_service::{AnySetting as _, ConfigError, Settings, listener, signals};
use zeroize::Zeroizing;

use super::{CommandError, demo, print_line};
use crate::services;

/// Where the gateway's certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateSource {
    /// `STELE_TLS_CERT`, if it is set.
    Settings,
    /// Generated at the start, and stored nowhere.
    SelfSigned,
}

/// Runs until SIGTERM or SIGINT, then shuts down gracefully.
pub(crate) async fn run(settings: Settings, certificate: CertificateSource) -> Result<(), CommandError> {
    let configured_listen = settings.get(&LISTEN)?.unwrap_or(gateway::DEFAULT_LISTEN);
    let creates_demo_users = settings.get(&services::DEMO)?;
    let self_signed = match certificate {
        CertificateSource::Settings => None,
        CertificateSource::SelfSigned => Some(self_signed_certificate(configured_listen.ip())?),
    };
    let configure = move |settings: &Settings| {
        let config = Config::from_settings(settings)?;
        match &self_signed {
            Some((cert, key)) => config.with_certificate(cert.as_bytes(), key.as_bytes())?.validate(),
            None => config.validate(),
        }
    };
    let config = configure(&settings)?;
    let examples = match certificate {
        CertificateSource::SelfSigned => ClientExamples { scheme: "https", curl_command: "curl -sk" },
        CertificateSource::Settings if config.is_tls_enabled() => {
            ClientExamples { scheme: "https", curl_command: "curl -s" }
        }
        CertificateSource::Settings => ClientExamples { scheme: "http", curl_command: "curl -s" },
    };
    let listener = listener::bind(configured_listen, "STELE_LISTEN, or --listen")?;
    let listen = listener.local_addr().unwrap_or(configured_listen);
    let admin_listen = admin::listen_address(&settings, listen)?;
    let admin_listener = listener::bind(admin_listen, ADMIN_LISTEN.name())?;
    let admin_listen = admin_listener.local_addr().unwrap_or(admin_listen);

    let environment = Environment::default();
    let gateway_secret = Zeroizing::new(environment.random.hex128());
    stele_app::provision(&settings, &services::ALL, environment.random.as_ref()).await?;
    let mut context = stele_app::open(settings, environment).await?;
    context.trusted_proxies = TrustedProxies::with_gateway_secret(gateway_secret.clone());
    context.public_endpoint = Some(PublicEndpoint { scheme: examples.scheme, address: listen });
    wait_past_store_birth(&context).await?;

    let services = RunningServices::start(&context)?;
    // No other instance takes over from this process, so by default it stops without a drain.
    let has_drain_setting = context.settings.raw_value(&DRAIN).is_some();
    let drain_time = if has_drain_setting { context.settings.get(&DRAIN)? } else { Duration::ZERO };
    let gateway = Gateway::with_metrics(services.gateway_config(config, &gateway_secret)?, &context.metrics);
    context.drain = gateway.drain();
    let server = gateway.start(listener)?;
    let handles = [server.handle()].into_iter().chain(services.handles.clone()).collect();
    let settings = context.settings.clone();
    let reload_config = move || services.gateway_config(configure(&settings)?, &gateway_secret);
    actix_web::rt::spawn(reload_on_sighup(gateway, reload_config));
    let readiness_check = build_readiness_check(&context);
    actix_web::rt::spawn(admin::serve(admin_listener, &context.settings, readiness_check, context.metrics.clone())?);
    actix_web::rt::spawn(background::run_background_tasks(context.clone()));
    actix_web::rt::spawn(background::wrap_earlier_hashes(context.clone()));
    actix_web::rt::spawn(background::hash_imported(context.clone()));

    let gateway = actix_web::rt::spawn(server);
    let shutdown = signals::graceful_shutdown_on_signal(handles, context.drain.clone(), drain_time);
    HashingConfig::from_settings(&context.settings)?.log_summary();
    context.log_newer_schema();
    print_endpoints(&context, listen, admin_listen, creates_demo_users, examples).await?;
    shutdown.await;
    context.use_cases.drain_deliveries().await;
    context.audit_log.drain().await;
    let result = gateway.await.map_err(|e| ConfigError::new(format!("the gateway stopped: {e}")))?;
    Ok(result.map_err(|e| ConfigError::new(format!("the gateway stopped: {e}")))?)
}

/// A new self-signed certificate for loopback and `listen`, and its key, as PEM.
fn self_signed_certificate(listen: IpAddr) -> Result<(String, Zeroizing<String>), ConfigError> {
    let certificate_error = |error: rcgen::Error| ConfigError::new(format!("--tls-self-signed: {error}"));
    let names =
        ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string(), listen.to_string()];
    let certified = rcgen::generate_simple_self_signed(names).map_err(certificate_error)?;
    Ok((certified.cert.pem(), Zeroizing::new(certified.signing_key.serialize_pem())))
}

/// How clients reach the gateway, for the printed examples.
#[derive(Clone, Copy, Debug)]
struct ClientExamples {
    scheme: &'static str,
    curl_command: &'static str,
}

/// Every service, each on a free port of loopback. They trust only requests with the gateway secret.
struct RunningServices {
    addresses: Vec<(&'static str, SocketAddr)>,
    /// Services that the settings do not permit to start.
    left_out: Vec<&'static str>,
    handles: Vec<ServerHandle>,
}

impl RunningServices {
    fn start(context: &Context) -> Result<Self, ConfigError> {
        let (mut addresses, mut left_out, mut handles) = (Vec::new(), Vec::new(), Vec::new());
        for service in services::ALL {
            if !service.has_prerequisite(context) {
                left_out.push(service.name);
                continue;
            }
            let listener = bind_service(service.name, &context.settings)?;
            let bound = listener.local_addr().map_err(|e| ConfigError::new(format!("{}: {e}", service.name)))?;
            addresses.push((service.name, reachable_address(bound)));
            let server: Server = service.start(context, listener)?;
            handles.push(server.handle());
            actix_web::rt::spawn(server);
        }
        Ok(Self { addresses, left_out, handles })
    }

    /// `config` with these services as the only upstreams. A routing table of the operator (`STELE_ROUTES`) may lack the
    /// route of a service that is no login dialect.
    fn gateway_config(&self, config: Config, gateway_secret: &Zeroizing<String>) -> Result<Config, ConfigError> {
        let with_upstream = |config: Config, (name, address): &(&str, SocketAddr)| {
            let is_routed = config.services().any(|service| service == *name);
            match is_routed || services::is_login_dialect(name) {
                true => config.with_upstream(name, &format!("http://{address}")),
                false => Ok(config),
            }
        };
        let config = self.left_out.iter().fold(config, |config, name| config.without_service(name));
        Ok(self.addresses.iter().try_fold(config, with_upstream)?.with_gateway_secret(gateway_secret.clone()))
    }
}

/// Binds a service's own listener: a free port of loopback, except for the service that reverse proxies ask.
fn bind_service(name: &str, settings: &Settings) -> Result<TcpListener, ConfigError> {
    let configured = settings.get(&services::AUTHZ_LISTEN)?.filter(|_| name == svc_oauth::SERVICE.name);
    match configured {
        Some(address) => listener::bind(address, services::AUTHZ_LISTEN.name()),
        None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(|e| ConfigError::new(format!("no free port on loopback for {name}: {e}"))),
    }
}

/// Where this process reaches a listener: one on every address is reached on loopback.
fn reachable_address(bound: SocketAddr) -> SocketAddr {
    match bound.ip() {
        ip if !ip.is_unspecified() => bound,
        IpAddr::V4(_) => (Ipv4Addr::LOCALHOST, bound.port()).into(),
        IpAddr::V6(_) => (Ipv6Addr::LOCALHOST, bound.port()).into(),
    }
}

async fn print_endpoints(
    context: &Context,
    listen: SocketAddr,
    admin: SocketAddr,
    creates_demo_users: bool,
    ClientExamples { scheme, curl_command: curl }: ClientExamples,
) -> Result<(), CommandError> {
    let data = context.settings.data_dir();
    let up = format!("Stele is up at {scheme}://{listen}   (health: http://{admin}/readyz, data: {})", data.display());
    let instructions = if creates_demo_users {
        let lines = demo::prepare(context, listen).await?;
        lines.replace("curl -s", curl).replace("http://", &format!("{scheme}://"))
    } else {
        "`stele up --demo` creates a user for each dialect and shows how to call it.\n".to_owned()
    };
    // The server keeps running if these lines cannot be written.
    let _ = print_line(&format!("{up}\n{instructions}Ctrl-C stops it."));
    Ok(())
}
