//! A service as a program of its own.

use std::process::ExitCode;

use stele_service::admin::ADMIN_LISTEN;
use stele_service::settings::{DRAIN, LISTEN};
use stele_service::{ConfigError, Declared as _, Settings, admin, cli, healthcheck, net, signals, telemetry};

use crate::background;
use crate::context::{self, Context, Surroundings};
use crate::hashing::Hashing;
use crate::readiness::readiness;
use crate::service::Service;
use crate::settings::shared;

/// Runs `service` until a signal ends it. The whole of a service's `main`.
pub fn serve(service: Service) -> ExitCode {
    let mut known = shared();
    known.push(service.settings);
    let matches = match cli::matches(cli::command(service.name, "One dialect of Stele, as a service", &known)) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    if let Some(code) = healthcheck::asked(&matches, &known, service.default_listen()) {
        return code;
    }
    let run = || {
        let settings = cli::settings(&matches, &known)?;
        let _telemetry = telemetry::start(&settings, &format!("stele-{}", service.name))?;
        actix_web::rt::System::new().block_on(run(service, settings))
    };
    cli::exit(run())
}

async fn run(service: Service, settings: Settings) -> Result<(), ConfigError> {
    let listen = settings.get(&LISTEN)?.unwrap_or_else(|| service.default_listen());
    let admin_listen = admin::address(&settings, listen)?;
    let listener = net::bind(listen, LISTEN.name())?;
    let admin_listener = net::bind(admin_listen, ADMIN_LISTEN.name())?;
    // Port 0 asks the system for one; the log says which.
    let listen = listener.local_addr().unwrap_or(listen);
    let admin_listen = admin_listener.local_addr().unwrap_or(admin_listen);
    let context = context::open(settings, Surroundings::default()).await?;
    outlive_birth(&context).await?;
    let time = context.settings.get(&DRAIN)?;
    let hashing = Hashing::read(&context.settings)?;
    let server = service.start(&context, listener)?;
    let (use_cases, trail) = (context.use_cases.clone(), context.trail.clone());
    let admin = admin::serve(admin_listener, &context.settings, readiness(&context), context.metrics.clone())?;
    actix_web::rt::spawn(admin);
    actix_web::rt::spawn(background::keep_up(context.use_cases, context.trail));
    actix_web::rt::spawn(signals::stop_on_signal(vec![server.handle()], context.drain, time));
    hashing.log();
    tracing::info!(service = service.name, %listen, %admin_listen, "ready");
    let ended = server.await.map_err(|e| ConfigError::new(format!("{}: {e}", service.name)));
    use_cases.drain_deliveries().await;
    trail.drain().await;
    ended
}

/// Waits until a proof that is made now is not from before the short-lived store was born: a second at most.
///
/// # Errors
/// The store cannot say when it was born.
pub async fn outlive_birth(context: &Context) -> Result<(), ConfigError> {
    context.use_cases.outlive_birth().await.map_err(|e| ConfigError::new(e.to_string()))
}
