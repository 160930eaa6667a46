//! A service as a program of its own.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use tokio::signal::unix::{SignalKind, signal};

use crate::boot::{self, Surroundings};
use crate::config::{ConfigError, Settings};
use crate::service::Service;
use crate::settings::SHARED;
use crate::{admin, cli, healthcheck, net, telemetry};

/// Runs `service` until it is told to stop. The whole of a service's `main`.
pub fn serve(service: Service) -> ExitCode {
    let known = [SHARED, service.settings];
    let matches = match cli::matches(cli::command(service.name, "One dialect of Stele, as a service", &known)) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    if let Some(code) = healthcheck::asked(&matches, &known, service.default_listen()) {
        return code;
    }
    let run = || {
        let settings = cli::settings(&matches, &known)?;
        telemetry::start(&settings)?;
        actix_web::rt::System::new().block_on(run(service, settings))
    };
    cli::exit(run())
}

async fn run(service: Service, settings: Settings) -> Result<(), ConfigError> {
    let listen = settings.address("STELE_LISTEN", service.default_listen())?;
    let admin_listen = settings.address("STELE_ADMIN_LISTEN", admin_default(listen))?;
    let listener = net::bind(listen, "STELE_LISTEN")?;
    let admin_listener = net::bind(admin_listen, "STELE_ADMIN_LISTEN")?;
    let context = boot::open(settings, Surroundings::default()).await?;
    boot::outlive_birth(&context.deps).await?;
    let server = service.start(&context, listener)?;
    let (deps, delivery) = (context.deps.clone(), context.deps.delivery.clone());
    let admin = admin::serve(admin_listener, Arc::new(move || Box::pin(ready(deps.clone()))))?;
    actix_web::rt::spawn(admin);
    actix_web::rt::spawn(boot::sweep(context.deps));
    actix_web::rt::spawn(stop_on_signal(vec![server.handle()]));
    tracing::info!(service = service.name, %listen, %admin_listen, "ready");
    let ended = server.await.map_err(|e| ConfigError::new(format!("{}: {e}", service.name)));
    delivery.drain().await;
    ended
}

/// Whether both stores answer.
pub async fn ready(deps: stele_core::Deps) -> bool {
    deps.users.ping().await.is_ok() && deps.state.ping().await.is_ok()
}

/// The default of `STELE_ADMIN_LISTEN`: loopback, 1000 ports up.
pub fn admin_default(listen: SocketAddr) -> SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, listen.port().checked_add(1_000).unwrap_or(0)).into()
}

/// Stops `servers` gracefully, one after the other, on SIGINT or SIGTERM.
pub async fn stop_on_signal(servers: Vec<ServerHandle>) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("signals cannot be listened to; only a kill will stop this process");
        return;
    };
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    tracing::info!("stopping: answering what was asked already");
    for server in servers {
        server.stop(true).await;
    }
}
