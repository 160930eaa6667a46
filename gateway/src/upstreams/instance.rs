//! One instance of a service: where it is, and how it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use hyper::header::HeaderValue;

use super::circuit_breaker::{CircuitBreaker, CircuitState, monotonic_millis};

const UNCHECKED: u8 = 0;
const READY: u8 = 1;
const NOT_READY: u8 = 2;
/// The last probe got no answer, or a request could not connect since.
const NO_RESPONSE: u8 = 3;

/// An instance, at one address. All workers share it.
#[derive(Debug)]
pub(crate) struct Instance {
    address: SocketAddr,
    /// What the service is called in the settings, and so in `Host`.
    host_header: HeaderValue,
    readiness: AtomicU8,
    circuit_breaker: CircuitBreaker,
    in_flight: AtomicUsize,
    failures: AtomicU64,
    /// Somebody is looking how it does.
    is_checking: AtomicBool,
}

/// What came of looking how an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthCheckResult {
    /// It says that it can work.
    Ready,
    /// It says that it cannot.
    NotReady,
    /// It accepts connections and does not answer.
    NoResponse,
    /// It cannot be connected to.
    ConnectFailed,
}

impl Instance {
    pub(super) fn new(address: SocketAddr, host: HeaderValue) -> Arc<Self> {
        Arc::new(Self {
            address,
            host_header: host,
            readiness: AtomicU8::new(UNCHECKED),
            circuit_breaker: CircuitBreaker::default(),
            in_flight: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
            is_checking: AtomicBool::new(false),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(crate) fn circuit_state(&self) -> CircuitState {
        self.circuit_breaker.state()
    }

    /// Whether it said, last time it was asked, that it can work, and nothing has been amiss since.
    pub(crate) fn is_healthy(&self) -> bool {
        self.readiness.load(Ordering::Relaxed) == READY && self.circuit_breaker.is_closed()
    }

    /// Whether the last probe was answered, whatever it said.
    fn answers_probes(&self) -> bool {
        matches!(self.readiness.load(Ordering::Relaxed), READY | NOT_READY)
    }

    /// Whether a request may reach it, whatever it says of itself.
    pub(super) fn is_circuit_closed(&self) -> bool {
        self.circuit_breaker.is_closed()
    }

    /// Takes it for a request.
    pub(super) fn acquire(self: &Arc<Self>) -> InstanceGuard {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InstanceGuard { instance: Arc::clone(self), is_trial: false }
    }

    /// Takes it for the one request that finds out whether it is back, if it is time for that.
    pub(super) fn try_acquire_trial(self: &Arc<Self>) -> Option<InstanceGuard> {
        if !self.circuit_breaker.try_start_trial(monotonic_millis()) {
            return None;
        }
        let mut lease = self.acquire();
        lease.is_trial = true;
        Some(lease)
    }

    /// Whether nobody else is looking how it does; then the caller must, and say so by [`Self::checked`].
    pub(crate) fn try_begin_check(&self) -> bool {
        !self.is_checking.swap(true, Ordering::AcqRel)
    }

    /// Notes how it does; whether that is news.
    pub(crate) fn record_health_check(&self, outcome: HealthCheckResult) -> bool {
        let was_usable = self.is_healthy();
        let readiness = match outcome {
            HealthCheckResult::Ready => READY,
            HealthCheckResult::NotReady => NOT_READY,
            HealthCheckResult::NoResponse | HealthCheckResult::ConnectFailed => NO_RESPONSE,
        };
        let before = self.readiness.swap(readiness, Ordering::Relaxed);
        match outcome {
            // It answers, so that requests reach it; what it answers them is its own.
            HealthCheckResult::Ready | HealthCheckResult::NotReady => self.circuit_breaker.close(),
            HealthCheckResult::NoResponse => {}
            HealthCheckResult::ConnectFailed => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.circuit_breaker.record_failed_probe(monotonic_millis());
            }
        }
        self.is_checking.store(false, Ordering::Release);
        before != readiness || was_usable != self.is_healthy()
    }
}

/// An instance in use by a request, until dropped.
#[derive(Debug)]
pub(crate) struct InstanceGuard {
    instance: Arc<Instance>,
    /// The fate of this request decides whether the circuit closes.
    is_trial: bool,
}

impl InstanceGuard {
    pub(crate) fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// It answered.
    pub(crate) fn record_success(&mut self) {
        self.instance.circuit_breaker.record_success(std::mem::take(&mut self.is_trial));
    }

    /// It could not be connected to: it gets nothing more until somebody has looked how it does.
    pub(crate) fn record_connect_failure(&mut self) {
        self.instance.readiness.store(NO_RESPONSE, Ordering::Relaxed);
        self.record_failure();
    }

    /// It did not answer in time. While it answers probes, this says that the request takes long, not that the instance
    /// is unwell: it is counted, and the circuit stays as it is.
    pub(crate) fn record_timeout(&mut self) {
        if self.instance.answers_probes() {
            self.instance.failures.fetch_add(1, Ordering::Relaxed);
        } else {
            self.record_failure();
        }
    }

    /// It broke the connection, or answered nothing sensible.
    pub(crate) fn record_failure(&mut self) {
        self.instance.failures.fetch_add(1, Ordering::Relaxed);
        if self.instance.circuit_breaker.record_failure(monotonic_millis(), std::mem::take(&mut self.is_trial)) {
            let left = self.instance.circuit_breaker.remaining_backoff(monotonic_millis());
            tracing::warn!(instance = %self.instance.address, pause = ?left, "no more requests for a while");
        }
    }
}

impl Drop for InstanceGuard {
    fn drop(&mut self) {
        self.instance.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.is_trial {
            self.instance.circuit_breaker.abandon_trial(monotonic_millis());
        }
    }
}
