//! One instance of a service: where it is, and how it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use hyper::header::HeaderValue;

use super::circuit::{Circuit, CircuitState, now};

const UNCHECKED: u8 = 0;
const READY: u8 = 1;
const UNREADY: u8 = 2;
/// The last probe got no answer, or a request could not connect since.
const UNANSWERED: u8 = 3;

/// An instance, at one address. All workers share it.
#[derive(Debug)]
pub(crate) struct Instance {
    address: SocketAddr,
    /// What the service is called in the settings, and so in `Host`.
    host: HeaderValue,
    readiness: AtomicU8,
    circuit: Circuit,
    in_flight: AtomicUsize,
    failures: AtomicU64,
    /// Somebody is looking how it does.
    checking: AtomicBool,
}

/// What came of looking how an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It says that it can work.
    Ready,
    /// It says that it cannot.
    Unready,
    /// It accepts connections and does not answer.
    Silent,
    /// It cannot be connected to.
    Absent,
}

impl Instance {
    pub(super) fn new(address: SocketAddr, host: HeaderValue) -> Arc<Self> {
        Arc::new(Self {
            address,
            host,
            readiness: AtomicU8::new(UNCHECKED),
            circuit: Circuit::default(),
            in_flight: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
            checking: AtomicBool::new(false),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn host(&self) -> &HeaderValue {
        &self.host
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(crate) fn circuit(&self) -> CircuitState {
        self.circuit.state()
    }

    /// Whether it said, last time it was asked, that it can work, and nothing has been amiss since.
    pub(crate) fn is_usable(&self) -> bool {
        self.readiness.load(Ordering::Relaxed) == READY && self.circuit.is_closed()
    }

    /// Whether the last probe was answered, whatever it said.
    fn answers_probes(&self) -> bool {
        matches!(self.readiness.load(Ordering::Relaxed), READY | UNREADY)
    }

    /// Whether a request may reach it, whatever it says of itself.
    pub(super) fn is_reachable(&self) -> bool {
        self.circuit.is_closed()
    }

    /// Takes it for a request.
    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Lease { instance: Arc::clone(self), trial: false }
    }

    /// Takes it for the one request that finds out whether it is back, if it is time for that.
    pub(super) fn try_trial(self: &Arc<Self>) -> Option<Lease> {
        if !self.circuit.try_trial(now()) {
            return None;
        }
        let mut lease = self.lease();
        lease.trial = true;
        Some(lease)
    }

    /// Whether nobody else is looking how it does; then the caller must, and say so by [`Self::checked`].
    pub(crate) fn begin_check(&self) -> bool {
        !self.checking.swap(true, Ordering::AcqRel)
    }

    /// Notes how it does; whether that is news.
    pub(crate) fn checked(&self, outcome: Checked) -> bool {
        let was_usable = self.is_usable();
        let readiness = match outcome {
            Checked::Ready => READY,
            Checked::Unready => UNREADY,
            Checked::Silent | Checked::Absent => UNANSWERED,
        };
        let before = self.readiness.swap(readiness, Ordering::Relaxed);
        match outcome {
            // It answers, so that requests reach it; what it answers them is its own.
            Checked::Ready | Checked::Unready => self.circuit.close(),
            Checked::Silent => {}
            Checked::Absent => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.circuit.absent(now());
            }
        }
        self.checking.store(false, Ordering::Release);
        before != readiness || was_usable != self.is_usable()
    }
}

/// An instance in use by a request, until dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    instance: Arc<Instance>,
    /// The fate of this request decides whether the circuit closes.
    trial: bool,
}

impl Lease {
    pub(crate) fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// It answered.
    pub(crate) fn succeeded(&mut self) {
        self.instance.circuit.succeed(std::mem::take(&mut self.trial));
    }

    /// It could not be connected to: it gets nothing more until somebody has looked how it does.
    pub(crate) fn unreachable(&mut self) {
        self.instance.readiness.store(UNANSWERED, Ordering::Relaxed);
        self.failed();
    }

    /// It did not answer in time. While it answers probes, this says that the request takes long, not that the instance
    /// is unwell: it is counted, and the circuit stays as it is.
    pub(crate) fn late(&mut self) {
        if self.instance.answers_probes() {
            self.instance.failures.fetch_add(1, Ordering::Relaxed);
        } else {
            self.failed();
        }
    }

    /// It broke the connection, or answered nothing sensible.
    pub(crate) fn failed(&mut self) {
        self.instance.failures.fetch_add(1, Ordering::Relaxed);
        if self.instance.circuit.fail(now(), std::mem::take(&mut self.trial)) {
            let left = self.instance.circuit.left(now());
            tracing::warn!(instance = %self.instance.address, pause = ?left, "no more requests for a while");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.instance.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.trial {
            self.instance.circuit.give_back(now());
        }
    }
}
