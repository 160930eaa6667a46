//! A service as a program of its own.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use stele_core::UseCases;
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::Ready;
use crate::boot::{self, Surroundings};
use crate::config::{ConfigError, Settings};
use crate::drain::{Drain, Readiness};
use crate::hashing::Hashing;
use crate::readiness::ReadinessCheck;
use crate::service::{Context, Service};
use crate::settings::SHARED;
use crate::{admin, cli, healthcheck, net, otlp, telemetry};

/// The default of `STELE_DRAIN` where others can take the requests over: the gateway looks every second.
pub const DRAIN: Duration = Duration::from_secs(2);
/// A store that has not answered by then does not. Below the second that the gateway gives a service to say so.
const PING: Duration = Duration::from_millis(700);
/// The exit code of a program that was told twice to stop.
const ABORTED: i32 = 130;

/// Runs `service` until it is told to stop. The whole of a service's `main`.
pub fn serve(service: Service) -> ExitCode {
    let known = [SHARED, service.settings, otlp::SETTINGS];
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
    let listen = settings.address("STELE_LISTEN", service.default_listen())?;
    let admin_listen = settings.address("STELE_ADMIN_LISTEN", admin_default(listen))?;
    let listener = net::bind(listen, "STELE_LISTEN")?;
    let admin_listener = net::bind(admin_listen, "STELE_ADMIN_LISTEN")?;
    // Port 0 asks the system for one; the log says which.
    let listen = listener.local_addr().unwrap_or(listen);
    let admin_listen = admin_listener.local_addr().unwrap_or(admin_listen);
    let context = boot::open(settings, Surroundings::default()).await?;
    outlive_birth(&context).await?;
    let time = drain_time(&context.settings, DRAIN)?;
    let hashing = Hashing::read(&context.settings)?;
    let server = service.start(&context, listener)?;
    let (use_cases, trail) = (context.use_cases.clone(), context.trail.clone());
    let admin = admin::serve(admin_listener, &context.settings, readiness(&context), context.metrics.clone())?;
    actix_web::rt::spawn(admin);
    actix_web::rt::spawn(boot::keep_up(context.use_cases, context.trail));
    actix_web::rt::spawn(stop_on_signal(vec![server.handle()], context.drain, time));
    hashing.tell();
    tracing::info!(service = service.name, %listen, %admin_listen, "ready");
    let ended = server.await.map_err(|e| ConfigError::new(format!("{}: {e}", service.name)));
    use_cases.drain_deliveries().await;
    trail.drain().await;
    ended
}

/// Whether both stores answer, and in time, and nothing is wrong with their setup. A stalled store must not be taken for
/// a dead service.
pub async fn ready(use_cases: &UseCases) -> Readiness {
    let (users, state) = tokio::join!(
        answers("the users' database", use_cases.ping_users()),
        answers("the store of short-lived state", use_cases.ping_state())
    );
    users.and(state)?;
    use_cases.state_defect().map_or(Ok(()), Err)
}

async fn answers(store: &str, ping: impl Future<Output = stele_core::Result<()>>) -> Readiness {
    match tokio::time::timeout(PING, ping).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(format!("{store} does not answer, or cannot be written")),
    }
}

/// Waits until a proof that is made now is not from before the short-lived store was born: a second at most.
///
/// # Errors
/// The store cannot say when it was born.
pub async fn outlive_birth(context: &Context) -> Result<(), ConfigError> {
    context.use_cases.outlive_birth().await.map_err(|e| ConfigError::new(e.to_string()))
}

/// What the admin port says: both stores answer, the audit trail is written, and the program is not going to stop.
pub fn readiness(context: &Context) -> Ready {
    let readiness = ReadinessCheck::of(context);
    Arc::new(move || {
        let readiness = readiness.clone();
        Box::pin(async move { readiness.check().await })
    })
}

/// The default of `STELE_ADMIN_LISTEN`: loopback, 1000 ports up.
pub fn admin_default(listen: SocketAddr) -> SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, listen.port().checked_add(1_000).unwrap_or(0)).into()
}

/// `STELE_DRAIN`.
///
/// # Errors
/// If it is not a span of time.
pub fn drain_time(settings: &Settings, default: Duration) -> Result<Duration, ConfigError> {
    settings.span("STELE_DRAIN", default)
}

/// Stops `servers`, one after the other, each once it has answered what it was asked: on SIGTERM when it has been seen
/// for `time` that this program goes (not waited for if it is 0), on SIGINT now. A second signal ends the program.
///
/// Signals count from the call on, not only from when its future is first polled.
pub fn stop_on_signal(servers: Vec<ServerHandle>, drain: Drain, time: Duration) -> impl Future<Output = ()> {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            tracing::error!("signals cannot be listened to; only a kill will stop this process");
            return std::future::pending().await;
        };
        let wait = tokio::select! { _ = interrupt.recv() => Duration::ZERO, _ = terminate.recv() => time };
        drain.begin();
        tracing::info!("stopping: answering what was asked already");
        let stop = async {
            if !wait.is_zero() {
                drain.until_quiet(wait).await;
            }
            for server in servers {
                server.stop(true).await;
            }
        };
        tokio::select! {
            () = stop => return,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::warn!("told to stop a second time: requests in flight are broken off");
        std::process::exit(ABORTED);
    }
}

/// Calls `reload` on each SIGHUP since this call, for as long as it is polled.
pub fn on_hangup(mut reload: impl FnMut()) -> impl Future<Output = ()> {
    let hangup = signal(SignalKind::hangup());
    async move {
        match hangup {
            Ok(mut hangup) => {
                while hangup.recv().await.is_some() {
                    reload();
                }
            }
            Err(cause) => tracing::error!(%cause, "SIGHUP cannot be listened to; it will end this process"),
        }
    }
}
