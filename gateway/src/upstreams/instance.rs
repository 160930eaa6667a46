//! One instance of a service: its address, readiness, circuit breaker and requests in flight.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use hyper::header::HeaderValue;

use super::circuit_breaker::{CircuitBreaker, CircuitState, RequestKind, monotonic_millis};

/// Values of [`Instance::readiness`].
const UNCHECKED: u8 = 0;
const READY: u8 = 1;
const NOT_READY: u8 = 2;
/// The last probe got no response, or a request has failed to connect since.
const NO_RESPONSE: u8 = 3;

/// An instance at one address, shared by all workers.
#[derive(Debug)]
pub(crate) struct Instance {
    address: SocketAddr,
    /// `host:port` as configured, sent as `Host`.
    host_header: HeaderValue,
    readiness: AtomicU8,
    circuit_breaker: CircuitBreaker,
    in_flight: AtomicUsize,
    failures: AtomicU64,
    /// A health check is in progress.
    is_checking: AtomicBool,
}

/// The result of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthCheckResult {
    Ready,
    NotReady,
    /// The instance accepts connections, but sends no valid response in time.
    NoResponse,
    ConnectFailed,
}

impl Instance {
    pub(super) fn new(address: SocketAddr, host_header: HeaderValue) -> Arc<Self> {
        Arc::new(Self {
            address,
            host_header,
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

    /// Whether the last health check found the instance ready, no connect has failed since, and the circuit is closed.
    pub(crate) fn is_healthy(&self) -> bool {
        self.readiness.load(Ordering::Relaxed) == READY && self.circuit_breaker.is_closed()
    }

    /// Whether the last probe got a response, ready or not, and no connect has failed since.
    fn has_answered_last_probe(&self) -> bool {
        matches!(self.readiness.load(Ordering::Relaxed), READY | NOT_READY)
    }

    /// Whether requests may reach the instance, ready or not.
    pub(super) fn is_circuit_closed(&self) -> bool {
        self.circuit_breaker.is_closed()
    }

    /// Counts a request in flight until the guard is dropped.
    pub(super) fn acquire(self: &Arc<Self>) -> InstanceGuard {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InstanceGuard { instance: Arc::clone(self), request_kind: RequestKind::Regular }
    }

    /// Acquires the instance for a trial request, if the backoff of its open circuit is over.
    pub(super) fn try_acquire_trial(self: &Arc<Self>) -> Option<InstanceGuard> {
        if !self.circuit_breaker.try_start_trial(monotonic_millis()) {
            return None;
        }
        let mut guard = self.acquire();
        guard.request_kind = RequestKind::Trial;
        Some(guard)
    }

    /// Marks a health check as in progress. False if one already is; otherwise the caller must run the health check,
    /// and end it by [`Self::record_health_check`].
    pub(crate) fn try_begin_check(&self) -> bool {
        !self.is_checking.swap(true, Ordering::AcqRel)
    }

    /// Records the result of a health check. Returns whether the readiness or the health of the
    /// instance changed.
    pub(crate) fn record_health_check(&self, result: HealthCheckResult) -> bool {
        let was_healthy = self.is_healthy();
        let readiness = match result {
            HealthCheckResult::Ready => READY,
            HealthCheckResult::NotReady => NOT_READY,
            HealthCheckResult::NoResponse | HealthCheckResult::ConnectFailed => NO_RESPONSE,
        };
        let before = self.readiness.swap(readiness, Ordering::Relaxed);
        match result {
            // A response proves that requests reach the instance.
            HealthCheckResult::Ready | HealthCheckResult::NotReady => self.circuit_breaker.close(),
            HealthCheckResult::NoResponse => {}
            HealthCheckResult::ConnectFailed => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.circuit_breaker.record_failed_probe(monotonic_millis());
            }
        }
        self.is_checking.store(false, Ordering::Release);
        before != readiness || was_healthy != self.is_healthy()
    }
}

/// A request in flight to an instance, until dropped.
#[derive(Debug)]
pub(crate) struct InstanceGuard {
    instance: Arc<Instance>,
    request_kind: RequestKind,
}

impl InstanceGuard {
    pub(crate) fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Records a complete response of the instance.
    pub(crate) fn record_success(&mut self) {
        let kind = self.take_request_kind();
        self.instance.circuit_breaker.record_success(kind);
    }

    /// The kind of this request. A trial becomes a regular request, so that its result counts once and dropping the
    /// guard does not abandon the trial.
    fn take_request_kind(&mut self) -> RequestKind {
        std::mem::replace(&mut self.request_kind, RequestKind::Regular)
    }

    /// Records a failed connect: the instance is unhealthy until a health check finds it ready.
    pub(crate) fn record_connect_failure(&mut self) {
        self.instance.readiness.store(NO_RESPONSE, Ordering::Relaxed);
        self.record_failure();
    }

    /// Records a timeout. While the instance responds to probes, the request is slow rather than the instance
    /// unhealthy: the failure is counted but does not affect the circuit.
    pub(crate) fn record_timeout(&mut self) {
        if self.instance.has_answered_last_probe() {
            self.instance.failures.fetch_add(1, Ordering::Relaxed);
        } else {
            self.record_failure();
        }
    }

    /// Records a broken connection or a malformed response.
    pub(crate) fn record_failure(&mut self) {
        self.instance.failures.fetch_add(1, Ordering::Relaxed);
        let kind = self.take_request_kind();
        if self.instance.circuit_breaker.record_failure(monotonic_millis(), kind) {
            let backoff = self.instance.circuit_breaker.remaining_backoff(monotonic_millis());
            tracing::warn!(instance = %self.instance.address, pause = ?backoff, "circuit opened");
        }
    }
}

impl Drop for InstanceGuard {
    fn drop(&mut self) {
        self.instance.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.request_kind == RequestKind::Trial {
            self.instance.circuit_breaker.abandon_trial(monotonic_millis());
        }
    }
}
