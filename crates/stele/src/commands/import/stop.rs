//! Ctrl-C and SIGTERM during an import: it stops between two batches.

use std::pin::pin;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::CommandError;

/// Exit code after a second signal.
const EXIT_ABORTED: i32 = 130;

/// The signals that stop an import, received from its creation on.
pub(super) struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
    is_requested: bool,
}

impl StopSignal {
    pub(super) fn listen() -> Result<Self, CommandError> {
        let listen =
            |kind| signal(kind).map_err(|error| super::setup_error(&format!("cannot receive signals: {error}")));
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, is_requested: false })
    }

    async fn receive(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for what comes next; `None` if a signal came first.
    pub(super) async fn or<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        if self.is_requested {
            return None;
        }
        tokio::select! {
            biased;
            () = self.receive() => None,
            next = next => Some(next),
        }
    }

    /// Completes a step although a signal arrives. A second signal ends the process at once: a step is one transaction,
    /// so nothing is half-written then, either.
    pub(super) async fn after<T>(&mut self, step: impl Future<Output = T>) -> T {
        let mut step = pin!(step);
        loop {
            tokio::select! {
                done = &mut step => return done,
                () = self.receive() => {
                    if self.is_requested {
                        std::process::exit(EXIT_ABORTED);
                    }
                    self.is_requested = true;
                }
            }
        }
    }
}
