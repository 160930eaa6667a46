//! Runs one service as its own process: command line, start, graceful shutdown.

use std::process::ExitCode;

use stele_service::admin::ADMIN_LISTEN;
use stele_service::common_settings::{DRAIN, LISTEN};
use stele_service::{AnySetting as _, ConfigError, Settings, admin, cli, health_check, listener, signals, telemetry};

use crate::background;
use crate::context::{self, Context, Environment};
use crate::issuer::PublicEndpoint;
use crate::password_hashing::HashingConfig;
use crate::readiness::build_readiness_check;
use crate::service::Service;
use crate::settings::shared_settings;

/// Runs `service` until a signal stops it. The complete `main` of a service.
pub fn serve(service: Service) -> ExitCode {
    let mut known_settings = shared_settings();
    known_settings.push(service.settings);
    let about = if service.is_login_dialect() { "One dialect of Stele, as a service" } else { "A service of Stele" };
    let matches = match cli::parse_command_line(cli::build_command(service.name, about, &known_settings)) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    if let Some(code) = health_check::run_if_requested(&matches, &known_settings, service.default_listen_address()) {
        return code;
    }
    let run = || {
        let settings = cli::load_settings(&matches, &known_settings)?;
        let _telemetry = telemetry::start(&settings, &format!("stele-{}", service.name))?;
        actix_web::rt::System::new().block_on(run(service, settings))
    };
    cli::exit_code(run())
}

async fn run(service: Service, settings: Settings) -> Result<(), ConfigError> {
    let configured_listen = settings.get(&LISTEN)?.unwrap_or_else(|| service.default_listen_address());
    let configured_admin_listen = admin::listen_address(&settings, configured_listen)?;
    let listener = listener::bind(configured_listen, LISTEN.name())?;
    let admin_listener = listener::bind(configured_admin_listen, ADMIN_LISTEN.name())?;
    // With port 0 the system chooses a port, which is logged.
    let listen = listener.local_addr().unwrap_or(configured_listen);
    let admin_listen = admin_listener.local_addr().unwrap_or(configured_admin_listen);
    let mut context = context::open(settings, Environment::default()).await?;
    context.public_endpoint = Some(PublicEndpoint { scheme: "http", address: listen });
    wait_past_store_birth(&context).await?;
    context.log_newer_schema();
    let drain_delay = context.settings.get(&DRAIN)?;
    let hashing = HashingConfig::from_settings(&context.settings)?;
    let server = service.start(&context, listener)?;
    let (use_cases, audit_log) = (context.use_cases.clone(), context.audit_log.clone());
    let admin =
        admin::serve(admin_listener, &context.settings, build_readiness_check(&context), context.metrics.clone())?;
    actix_web::rt::spawn(admin);
    actix_web::rt::spawn(background::hash_imported(context.clone()));
    actix_web::rt::spawn(background::run_background_tasks(context.clone()));
    actix_web::rt::spawn(signals::graceful_shutdown_on_signal(vec![server.handle()], context.drain, drain_delay));
    hashing.log_summary();
    tracing::info!(service = service.name, %listen, %admin_listen, "ready");
    let result = server.await.map_err(|e| ConfigError::new(format!("{}: {e}", service.name)));
    use_cases.drain_deliveries().await;
    audit_log.drain().await;
    result
}

/// Waits, at most a second, until a proof made now is newer than the state store. Replay protection rejects older
/// proofs, since a new store does not know which ones were used.
///
/// # Errors
/// If the state store cannot return its creation time.
pub async fn wait_past_store_birth(context: &Context) -> Result<(), ConfigError> {
    context.use_cases.wait_until_store_accepts_proofs().await.map_err(|e| ConfigError::new(e.to_string()))
}
