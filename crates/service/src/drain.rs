//! The last seconds of a program: no longer ready, still serving, then quiet.
//!
//! Whoever passes requests on must learn that this instance goes before it is gone. So a program that is told to stop
//! first says that it is not ready, and asks every client to close its connection; it stops once its clients have
//! turned elsewhere. A connection that is idle when the server stops is closed without a word, and a request that was
//! on its way into it is lost: that is what the wait is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::ConnectionType;
use tokio::time::{Instant, sleep};

/// Clients have turned elsewhere when no request has come for so long.
const QUIET_PERIOD: Duration = Duration::from_millis(300);
/// How much longer than the time set requests may go on coming: with no other instance, clients never turn elsewhere.
const MAX_EXTRA_WAIT: Duration = Duration::from_secs(8);
/// How often it is looked whether requests still come.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Whether a program is going to stop. Clones share it: all workers, the health pages and the one who hears signals.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<DrainState>);

#[derive(Debug, Default)]
struct DrainState {
    draining: AtomicBool,
    requests_while_draining: AtomicU64,
}

impl Drain {
    /// Turns not ready, for good.
    pub fn start(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether this program is going to stop.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Notes that a request has come; whether its connection is to be closed with the answer.
    pub fn record_request(&self) -> bool {
        let draining = self.is_draining();
        if draining {
            self.0.requests_while_draining.fetch_add(1, Ordering::Relaxed);
        }
        draining
    }

    /// Waits for `time`, and then until no request has come for a moment: 8 seconds more at most.
    pub async fn wait_until_idle(&self, time: Duration) {
        let begun = Instant::now();
        let (mut seen, mut since) = (self.0.requests_while_draining.load(Ordering::Relaxed), begun);
        loop {
            sleep(POLL_INTERVAL).await;
            let now = Instant::now();
            let requests = self.0.requests_while_draining.load(Ordering::Relaxed);
            if requests != seen {
                (seen, since) = (requests, now);
            }
            let waited = now - begun;
            if waited >= time && (now - since >= QUIET_PERIOD || waited >= time + MAX_EXTRA_WAIT) {
                return;
            }
        }
    }
}

/// Asks the client to close its connection after this answer.
pub fn set_connection_close(response: &mut HttpResponse<impl Sized>) {
    response.head_mut().set_connection_type(ConnectionType::Close);
}

/// The paths that those who look after a program ask at, and not its clients.
pub fn is_health_check_path(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// Answers `/healthz`: the program runs.
pub fn liveness_response() -> HttpResponse {
    HttpResponse::Ok().body("ok\n")
}

/// Whether a program can do its work right now; if not, why, in words for operators.
pub type Readiness = Result<(), String>;

/// That a program which is going to stop is not ready.
pub const DRAINING_REASON: &str = "it is going to stop";

/// Answers `/readyz`.
pub fn readiness_response(readiness: Readiness) -> HttpResponse {
    match readiness {
        Ok(()) => HttpResponse::Ok().body("ready\n"),
        Err(reason) => HttpResponse::ServiceUnavailable().body(format!("not ready: {reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_drain_delay_elapses_even_without_requests() {
        let drain = Drain::default();
        assert!(!drain.record_request());
        drain.start();
        let begun = Instant::now();
        drain.wait_until_idle(2 * SECOND).await;
        assert!((2 * SECOND..2 * SECOND + 2 * POLL_INTERVAL).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn draining_continues_while_requests_arrive_up_to_a_limit() {
        for (requests, least, most) in [(30, 3 * SECOND, 4 * SECOND), (1_000, 9 * SECOND, 10 * SECOND)] {
            let drain = Drain::default();
            drain.start();
            let begun = Instant::now();
            let asked = async {
                for _ in 0..requests {
                    assert!(drain.record_request());
                    sleep(SECOND / 10).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! { () = drain.wait_until_idle(SECOND) => {}, () = asked => {} }
            assert!((least..most).contains(&begun.elapsed()), "{requests}: {:?}", begun.elapsed());
        }
    }
}
