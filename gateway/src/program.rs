//! The `gateway` program: start, reload on SIGHUP, graceful shutdown on SIGTERM.

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

/// The default of `STELE_LISTEN`.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Runs the program; returns its exit code.
pub fn run() -> ExitCode {
    let command = cli::build_command(
        "gateway",
        "HTTP reverse proxy of Stele: routes requests by URL prefix",
        &config::settings(),
    );
    let matches = match cli::parse_command_line(command) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    if let Some(code) = health_check::run_if_requested(&matches, &config::settings(), DEFAULT_LISTEN) {
        return code;
    }
    let run_gateway = || {
        let settings = cli::load_settings(&matches, &config::settings())?;
        let _telemetry = telemetry::start(&settings, "stele-gateway")?;
        actix_rt::System::new().block_on(serve_until_shutdown(settings, matches.clone()))
    };
    cli::exit_code(run_gateway())
}

async fn serve_until_shutdown(settings: Settings, matches: ArgMatches) -> Result<(), ConfigError> {
    let config = Config::from_settings(&settings)?.validate()?;
    let listen = settings.get(&LISTEN)?.unwrap_or(DEFAULT_LISTEN);
    let admin_listen = admin::listen_address(&settings, listen)?;
    let drain_time = settings.get(&DRAIN)?;
    let listener = listener::bind(listen, LISTEN.name())?;
    let admin_listener = listener::bind(admin_listen, ADMIN_LISTEN.name())?;
    // For port 0 the system chooses one, which is logged.
    let (listen, admin_listen) = (bound_address(&listener, listen), bound_address(&admin_listener, admin_listen));
    let metrics = Metrics::default();
    let gateway = Gateway::with_metrics(config, &metrics);
    let server = gateway.start(listener)?;
    let observed_gateway = gateway.clone();
    let check_readiness = move || Box::pin(std::future::ready(observed_gateway.readiness())) as _;
    actix_rt::spawn(admin::serve(admin_listener, &settings, Arc::new(check_readiness), metrics)?);
    actix_rt::spawn(signals::graceful_shutdown_on_signal(vec![server.handle()], gateway.drain(), drain_time));
    let read_config = move || Config::from_settings(&cli::load_settings(&matches, &config::settings())?)?.validate();
    actix_rt::spawn(reload_on_sighup(gateway, read_config));
    tracing::info!(%listen, %admin_listen, "ready");
    server.await.map_err(|e| ConfigError::new(format!("gateway: {e}")))
}

/// Reloads the configuration from `read_config` on each SIGHUP. If the new configuration is invalid, the error is
/// logged and the old configuration stays in force.
pub fn reload_on_sighup(
    gateway: Gateway,
    read_config: impl Fn() -> Result<Config, ConfigError>,
) -> impl Future<Output = ()> {
    signals::reload_on_sighup(move || match read_config() {
        Ok(config) => {
            gateway.reload(config);
            tracing::info!("SIGHUP: the new routing table is in force");
        }
        Err(error) => tracing::error!(%error, "SIGHUP: the old routing table stays in force"),
    })
}

fn bound_address(listener: &TcpListener, requested: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(requested)
}
