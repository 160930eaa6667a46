//! A client's connection: the state that its timers, its requests and its end go by.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::timer::LazyTimer;

/// How long a connection may be idle between two requests.
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);

/// How much of a head is kept until it is whole: enough for a method and a route's prefix, in bytes.
const MAX_PARTIAL_HEAD: usize = 128;

/// Requests that a client may leave alone, on one connection, before it is looked at how many it does not.
const MAX_ABORTED_REQUESTS: u64 = 100;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientTimeouts {
    /// To send a head.
    pub(crate) head: Duration,
    /// To take any of an answer that it is sent.
    pub(crate) send: Duration,
}

/// How a client's connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What a client's connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1, or 1.0: one request at a time.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What the requests of a connection are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerRole {
    /// What the routes lead to.
    Proxy,
    /// `https://` at this port.
    HttpsRedirect(u16),
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The next request, since then.
    Idle(Instant),
    /// The rest of a head, which began then.
    ReadingHead(Instant),
    /// The answer to a request.
    HandlingRequest,
}

/// A timer that the tasks of one connection, or of one HTTP/2 stream, share.
pub(crate) type SharedTimer = Rc<RefCell<LazyTimer>>;

/// The beginning of the head that is being read.
#[derive(Debug, Default)]
struct PartialHead {
    /// Its first bytes, [`MAX_BEGINNING`] at most.
    bytes: Vec<u8>,
    /// How many requests had come before it.
    requests_before_head: u64,
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    pub(crate) peer: IpAddr,
    pub(crate) scheme: Scheme,
    pub(crate) listener_role: ListenerRole,
    pub(crate) timer: SharedTimer,
    phase: Cell<Phase>,
    partial_head: RefCell<PartialHead>,
    /// Requests that came, that are not answered to their end, and that the client left alone.
    request_count: Cell<u64>,
    in_flight: Cell<usize>,
    aborted_requests: Cell<u64>,
    /// Streams whose next piece is the client's to take, and when one was taken last.
    streams_awaiting_client: Cell<usize>,
    last_client_progress: Cell<Instant>,
    /// It takes no more requests.
    draining: Cell<bool>,
    /// Since when the client takes nothing of what it is sent.
    write_blocked_since: Cell<Option<Instant>>,
    /// The client may be sending more than was read.
    has_unread_input: Cell<bool>,
    /// The last answer is not whole, and only a reset shows it.
    needs_reset: Cell<bool>,
}

impl ConnectionState {
    pub(crate) fn new(peer: IpAddr, scheme: Scheme, entry_point: ListenerRole) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            peer,
            scheme,
            listener_role: entry_point,
            timer: SharedTimer::default(),
            phase: Cell::new(Phase::Idle(now)),
            partial_head: RefCell::default(),
            request_count: Cell::default(),
            in_flight: Cell::default(),
            aborted_requests: Cell::default(),
            streams_awaiting_client: Cell::default(),
            last_client_progress: Cell::new(now),
            draining: Cell::default(),
            write_blocked_since: Cell::default(),
            has_unread_input: Cell::default(),
            needs_reset: Cell::default(),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase(), Phase::Idle(_))
    }

    /// Whether any request has come.
    pub(crate) fn has_received_request(&self) -> bool {
        self.request_count.get() > 0
    }

    /// Notes that bytes came. The first head is timed from the connection's beginning, others from their first byte.
    pub(crate) fn record_read(&self, bytes: &[u8]) {
        let mut head = self.partial_head.borrow_mut();
        match self.phase() {
            Phase::Idle(since) => {
                let began = if self.has_received_request() { Instant::now() } else { since };
                self.phase.set(Phase::ReadingHead(began));
                head.bytes.clear();
                head.requests_before_head = self.request_count.get();
            }
            Phase::ReadingHead(_) if head.bytes.len() < MAX_PARTIAL_HEAD => {}
            Phase::ReadingHead(_) | Phase::HandlingRequest => return,
        }
        let room = MAX_PARTIAL_HEAD - head.bytes.len();
        head.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// How the head begins that is being read; empty if that is not known, for it came together with another one.
    pub(crate) fn partial_head(&self) -> Vec<u8> {
        let head = self.partial_head.borrow();
        if head.requests_before_head == self.request_count.get() { head.bytes.clone() } else { Vec::new() }
    }

    /// Notes whether a write has to wait for the client.
    pub(crate) fn record_write(&self, is_blocked: bool) {
        match (is_blocked, self.write_blocked_since.get()) {
            (true, None) => self.write_blocked_since.set(Some(Instant::now())),
            (false, Some(_)) => self.write_blocked_since.set(None),
            _ => {}
        }
    }

    /// Notes that not all of a request was read.
    pub(crate) fn mark_unread_input(&self) {
        self.has_unread_input.set(true);
    }

    pub(crate) fn has_unread_input(&self) -> bool {
        self.has_unread_input.get()
    }

    /// Notes that an answer broke off whose end is the connection's.
    pub(crate) fn require_reset(&self) {
        self.needs_reset.set(true);
    }

    pub(crate) fn needs_reset(&self) -> bool {
        self.needs_reset.get()
    }

    /// Whether a write has waited for longer than a client may take.
    pub(crate) fn is_write_timed_out(&self, times: &ClientTimeouts) -> bool {
        self.write_blocked_since.get().is_some_and(|since| since.elapsed() >= times.send)
    }

    /// Ready when the client has taken longer than it may. An idle connection is looked after as often as a head may
    /// take: see [`crate::http1`].
    pub(crate) fn poll_timeout(&self, cx: &mut Context<'_>, times: &ClientTimeouts) -> Poll<()> {
        let due = match (self.write_blocked_since.get(), self.phase()) {
            (Some(since), _) => since + times.send,
            (None, Phase::Idle(since) | Phase::ReadingHead(since)) => since + times.head,
            (None, Phase::HandlingRequest) => return Poll::Pending,
        };
        self.timer.borrow_mut().poll(cx, due)
    }

    /// Since when the client takes nothing of what it is sent, or could be sent.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        let untaken = (self.streams_awaiting_client.get() > 0).then(|| self.last_client_progress.get());
        [self.write_blocked_since.get(), untaken].into_iter().flatten().min()
    }

    /// Since when there is no request.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        match self.phase() {
            Phase::Idle(since) => Some(since),
            Phase::ReadingHead(_) | Phase::HandlingRequest => {
                (self.in_flight.get() == 0).then(|| self.last_client_progress.get())
            }
        }
    }

    /// Makes this connection's request its last; those in flight are answered.
    pub(crate) fn start_draining(&self) {
        self.draining.set(true);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether the client makes requests only to leave them alone: CVE-2023-44487.
    pub(crate) fn is_rapid_reset_attack(&self) -> bool {
        let abandoned = self.aborted_requests.get();
        abandoned > MAX_ABORTED_REQUESTS && abandoned > self.request_count.get() / 2
    }

    /// Begins a request, which lasts until the guard is dropped.
    pub(crate) fn begin_request(self: &Rc<Self>) -> RequestGuard {
        self.phase.set(Phase::HandlingRequest);
        self.request_count.set(self.request_count.get() + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        RequestGuard { connection: Rc::clone(self), is_response_started: false, is_awaiting_client: false }
    }
}

/// A request that is not answered to the end yet.
#[derive(Debug)]
pub(crate) struct RequestGuard {
    connection: Rc<ConnectionState>,
    is_response_started: bool,
    /// The next piece of the answer is the client's to take.
    is_awaiting_client: bool,
}

impl RequestGuard {
    pub(crate) fn connection(&self) -> &Rc<ConnectionState> {
        &self.connection
    }

    /// Notes that the client is answered.
    pub(crate) fn mark_response_started(&mut self) {
        self.is_response_started = true;
        self.set_awaiting_client(true);
    }

    /// Notes that the client takes a piece of the answer, and whether there is one.
    pub(crate) fn set_awaiting_client(&mut self, is_offered: bool) {
        let offered = self.connection.streams_awaiting_client.get();
        match (self.is_awaiting_client, is_offered) {
            (false, true) => self.connection.streams_awaiting_client.set(offered + 1),
            (true, false) => self.connection.streams_awaiting_client.set(offered - 1),
            _ => {}
        }
        self.is_awaiting_client = is_offered;
    }

    /// Notes that the client took a piece.
    pub(crate) fn record_client_progress(&mut self) {
        self.connection.last_client_progress.set(Instant::now());
        self.set_awaiting_client(false);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let connection = Rc::clone(&self.connection);
        self.record_client_progress();
        connection.in_flight.set(connection.in_flight.get() - 1);
        if !self.is_response_started {
            connection.aborted_requests.set(connection.aborted_requests.get() + 1);
        }
        if connection.in_flight.get() == 0 {
            connection.phase.set(Phase::Idle(connection.last_client_progress.get()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn aborting_most_of_over_100_requests_is_a_rapid_reset_attack() {
        let state = ConnectionState::new(Ipv4Addr::LOCALHOST.into(), Scheme::Https, ListenerRole::Proxy);
        for _ in 0..MAX_ABORTED_REQUESTS {
            drop(state.begin_request());
            assert!(!state.is_rapid_reset_attack());
        }
        drop(state.begin_request());
        assert!(state.is_rapid_reset_attack());
        for _ in 0..=MAX_ABORTED_REQUESTS {
            state.begin_request().mark_response_started();
        }
        assert!(!state.is_rapid_reset_attack(), "half is not most");
    }
}
