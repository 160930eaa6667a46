//! Signals: SIGTERM and SIGINT stop a program gracefully, SIGHUP has it read its configuration again.

use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::signal::unix::{SignalKind, signal};

use crate::drain::Drain;

/// The exit code of a program that was signalled twice to stop.
const EXIT_ABORTED: i32 = 130;

/// Stops `servers`, one after the other, each once it has answered what it was asked: on SIGTERM when it has been seen
/// for `time` that this program goes (not waited for if it is 0), on SIGINT now. A second signal ends the program.
///
/// Signals count from the call on, not only from when its future is first polled.
pub fn graceful_shutdown_on_signal(
    servers: Vec<ServerHandle>,
    drain: Drain,
    time: Duration,
) -> impl Future<Output = ()> {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            tracing::error!("signals cannot be listened to; only a kill will stop this process");
            return std::future::pending().await;
        };
        let wait = tokio::select! { _ = interrupt.recv() => Duration::ZERO, _ = terminate.recv() => time };
        drain.start();
        tracing::info!("stopping: answering what was asked already");
        let stop = async {
            if !wait.is_zero() {
                drain.wait_until_idle(wait).await;
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
        tracing::warn!("a second signal to stop: requests in flight are broken off");
        std::process::exit(EXIT_ABORTED);
    }
}

/// Calls `reload` on each SIGHUP since this call, for as long as it is polled.
pub fn reload_on_sighup(mut reload: impl FnMut()) -> impl Future<Output = ()> {
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
