//! The gateway as a program: started, told to read its table again, stopped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ArgMatches;
use stele_service::admin::{self, ADMIN_LISTEN};
use stele_service::common_settings::{DRAIN, LISTEN};
use stele_service::metrics::Metrics;
use stele_service::{AnySetting as _, ConfigError, Settings, cli, health_check, listener, signals, telemetry};

use crate::config::{self, Config};
use crate::shared_state::Gateway;

/// Where the gateway listens unless it is told otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The gateway as a program: the whole of its `main`.
pub fn run() -> ExitCode {
    let command = cli::command("gateway", "The public address of Stele: routes by URL prefix", &config::settings());
    let matches = match cli::parse_command_line(command) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    if let Some(code) = health_check::run_if_requested(&matches, &config::settings(), DEFAULT_LISTEN) {
        return code;
    }
    let run = || {
        let settings = cli::load_settings(&matches, &config::settings())?;
        let _telemetry = telemetry::start(&settings, "stele-gateway")?;
        actix_rt::System::new().block_on(serve_until_shutdown(settings, matches.clone()))
    };
    cli::exit_code(run())
}

async fn serve_until_shutdown(settings: Settings, matches: ArgMatches) -> Result<(), ConfigError> {
    let config = Config::from_settings(&settings)?.validate()?;
    let listen = settings.get(&LISTEN)?.unwrap_or(DEFAULT_LISTEN);
    let admin_listen = admin::listen_address(&settings, listen)?;
    let time = settings.get(&DRAIN)?;
    let listener = listener::bind(listen, LISTEN.name())?;
    let admin_listener = listener::bind(admin_listen, ADMIN_LISTEN.name())?;
    // Port 0 asks the system for one; the log says which.
    let (listen, admin_listen) = (bound_address(&listener, listen), bound_address(&admin_listener, admin_listen));
    let metrics = Metrics::default();
    let gateway = Gateway::with_metrics(config, &metrics);
    let server = gateway.start(listener)?;
    let watched = gateway.clone();
    let ready = move || Box::pin(std::future::ready(watched.readiness())) as _;
    actix_rt::spawn(admin::serve(admin_listener, &settings, Arc::new(ready), metrics)?);
    actix_rt::spawn(signals::graceful_shutdown_on_signal(vec![server.handle()], gateway.drain(), time));
    let read = move || Config::from_settings(&cli::load_settings(&matches, &config::settings())?)?.validate();
    actix_rt::spawn(reload_on_sighup(gateway, read));
    tracing::info!(%listen, %admin_listen, "ready");
    server.await.map_err(|e| ConfigError::new(format!("gateway: {e}")))
}

/// Puts in force what `read` reads, on each SIGHUP since this call; what cannot be used is told, and the old goes on.
pub fn reload_on_sighup(gateway: Gateway, read: impl Fn() -> Result<Config, ConfigError>) -> impl Future<Output = ()> {
    signals::reload_on_sighup(move || match read() {
        Ok(config) => {
            gateway.reload(config);
            tracing::info!("SIGHUP: the new routing table is in force");
        }
        Err(error) => tracing::error!(%error, "SIGHUP: the old routing table stays in force"),
    })
}

fn bound_address(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}
