//! Drain during a graceful shutdown: report not ready, keep serving, stop when requests cease.
//!
//! A load balancer must learn that this instance stops before it has stopped. So on a signal the program first reports
//! not ready and answers with `Connection: close`; the program stops when clients have moved to other instances. This
//! wait matters because stopping closes idle connections, and a request that arrives on such a connection at that
//! moment is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::ConnectionType;
use tokio::time::{Instant, sleep};

/// Clients count as moved to other instances when no request has arrived for this long.
const QUIET_PERIOD: Duration = Duration::from_millis(300);
/// Longest extension of the drain delay by arriving requests: without another instance, clients never move.
const MAX_EXTRA_WAIT: Duration = Duration::from_secs(8);
/// Interval of checking for arriving requests.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Whether the program is draining. Clones share the state: workers, readiness endpoints and the signal handler.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<DrainState>);

#[derive(Debug, Default)]
struct DrainState {
    is_draining: AtomicBool,
    requests_while_draining: AtomicU64,
}

impl Drain {
    /// Starts draining, which cannot be undone.
    pub fn start(&self) {
        self.0.is_draining.store(true, Ordering::Release);
    }

    /// Whether the program is draining.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Acquire)
    }

    /// Counts a request. Returns whether the program is draining, so that the response needs `Connection: close`.
    pub fn record_request(&self) -> bool {
        let is_draining = self.is_draining();
        if is_draining {
            self.0.requests_while_draining.fetch_add(1, Ordering::Relaxed);
        }
        is_draining
    }

    /// Waits for `delay`, and then until no request has arrived for 300 ms, at most 8 s longer than `delay`.
    pub async fn wait_until_idle(&self, delay: Duration) {
        let started_at = Instant::now();
        let (mut seen, mut idle_since) = (self.0.requests_while_draining.load(Ordering::Relaxed), started_at);
        loop {
            sleep(POLL_INTERVAL).await;
            let now = Instant::now();
            let requests = self.0.requests_while_draining.load(Ordering::Relaxed);
            if requests != seen {
                (seen, idle_since) = (requests, now);
            }
            let waited = now - started_at;
            if waited >= delay && (now - idle_since >= QUIET_PERIOD || waited >= delay + MAX_EXTRA_WAIT) {
                return;
            }
        }
    }
}

/// Adds `Connection: close` to a response.
pub fn set_connection_close(response: &mut HttpResponse<impl Sized>) {
    response.head_mut().set_connection_type(ConnectionType::Close);
}

/// Whether `path` is a health check (`/healthz`, `/readyz`), which operators and load balancers request, not clients.
pub fn is_health_check_path(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// The response of `/healthz`: the process runs.
pub fn liveness_response() -> HttpResponse {
    HttpResponse::Ok().body("ok\n")
}

/// Whether a program is ready for requests; if not, the reason, for operators.
pub type Readiness = Result<(), String>;

/// The reason why a draining program is not ready.
pub const DRAINING_REASON: &str = "the program is shutting down";

/// The response of `/readyz`: 200, or 503 with the reason.
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
        let started_at = Instant::now();
        drain.wait_until_idle(2 * SECOND).await;
        let elapsed = started_at.elapsed();
        assert!((2 * SECOND..2 * SECOND + 2 * POLL_INTERVAL).contains(&elapsed), "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn draining_continues_while_requests_arrive_up_to_a_limit() {
        for (requests, least, most) in [(30, 3 * SECOND, 4 * SECOND), (1_000, 9 * SECOND, 10 * SECOND)] {
            let drain = Drain::default();
            drain.start();
            let started_at = Instant::now();
            let clients = async {
                for _ in 0..requests {
                    assert!(drain.record_request());
                    sleep(SECOND / 10).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! { () = drain.wait_until_idle(SECOND) => {}, () = clients => {} }
            let elapsed = started_at.elapsed();
            assert!((least..most).contains(&elapsed), "{requests}: {elapsed:?}");
        }
    }
}
