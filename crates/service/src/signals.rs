//! Signal handling: graceful shutdown on SIGTERM and SIGINT, reload on SIGHUP.

use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::signal::unix::{SignalKind, signal};

use crate::drain::Drain;

/// Exit code after a second SIGTERM or SIGINT.
const EXIT_ABORTED: i32 = 130;

/// Graceful shutdown: stops `servers` one after the other, each after its requests in flight. On SIGTERM, first drains
/// for `drain_delay` (not at all if 0); on SIGINT, stops at once. A second signal exits the process.
///
/// Signals are received from this call on, not only after the first poll of the future. If the signal handlers cannot
/// be installed, the future logs an error and never completes.
pub fn graceful_shutdown_on_signal(
    servers: Vec<ServerHandle>,
    drain: Drain,
    drain_delay: Duration,
) -> impl Future<Output = ()> {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            tracing::error!("signal handlers cannot be installed; stop this process with SIGKILL");
            return std::future::pending().await;
        };
        let drain_time = tokio::select! { _ = interrupt.recv() => Duration::ZERO, _ = terminate.recv() => drain_delay };
        drain.start();
        tracing::info!("shutting down: draining, then finishing requests in flight");
        let stop = async {
            if !drain_time.is_zero() {
                drain.wait_until_idle(drain_time).await;
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
        tracing::warn!("second signal: exiting without finishing requests in flight");
        std::process::exit(EXIT_ABORTED);
    }
}

/// Calls `reload` on each SIGHUP received since this call. Runs until dropped.
pub fn reload_on_sighup(mut reload: impl FnMut()) -> impl Future<Output = ()> {
    let hangup = signal(SignalKind::hangup());
    async move {
        match hangup {
            Ok(mut hangup) => {
                while hangup.recv().await.is_some() {
                    reload();
                }
            }
            Err(cause) => {
                tracing::error!(%cause, "the SIGHUP handler cannot be installed; SIGHUP will end this process");
            }
        }
    }
}
