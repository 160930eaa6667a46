//! State of a client connection: phase, timeouts, requests in flight, draining, rapid-reset detection.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::timer::LazyTimer;

/// How long a connection may be idle between two requests (keep-alive timeout).
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);

/// How many bytes of an incomplete head are buffered to find its route: enough for a method and a route's prefix.
const MAX_PARTIAL_HEAD: usize = 128;

/// Requests that a client may abort on one connection before the share of aborted requests is limited to half.
const MAX_ABORTED_REQUESTS: u64 = 100;

/// Timeouts of a client connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientTimeouts {
    /// The longest time from the start of a request head to its end.
    pub(crate) head: Duration,
    /// The longest time in which the client reads nothing of a response (nginx `send_timeout`).
    pub(crate) send: Duration,
}

/// Whether a client connection uses TLS.
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

/// The HTTP version of a client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1 or HTTP/1.0.
    Http1,
    Http2,
}

/// What a listener does with the requests of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerRole {
    /// Forwards requests to the services by route.
    Proxy,
    /// Redirects requests to `https://` at this port.
    HttpsRedirect(u16),
}

/// The phase of a connection, from one request to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No request since this time.
    Idle(Instant),
    /// Reading a head that started at this time.
    ReadingHead(Instant),
    /// A request is in flight.
    HandlingRequest,
}

/// Whether a write to the client completed or waits for the client to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteState {
    Blocked,
    Ready,
}

/// A timer shared by the code that serves one HTTP/1.1 connection, or one HTTP/2 stream.
pub(crate) type SharedTimer = Rc<RefCell<LazyTimer>>;

/// The start of the head that is being read.
#[derive(Debug, Default)]
struct PartialHead {
    /// At most [`MAX_PARTIAL_HEAD`] bytes.
    bytes: Vec<u8>,
    /// Requests that the connection had received before this head.
    requests_before_head: u64,
}

/// The state of one client connection.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    pub(crate) peer: IpAddr,
    pub(crate) scheme: Scheme,
    pub(crate) listener_role: ListenerRole,
    pub(crate) timer: SharedTimer,
    phase: Cell<Phase>,
    partial_head: RefCell<PartialHead>,
    request_count: Cell<u64>,
    /// Requests whose response is not complete.
    in_flight: Cell<usize>,
    /// Requests that the client aborted before their response started.
    aborted_requests: Cell<u64>,
    /// Responses whose next piece waits for the client to read.
    responses_awaiting_client: Cell<usize>,
    /// When the client last read a piece of a response.
    last_client_progress: Cell<Instant>,
    /// No further requests are accepted.
    is_draining: Cell<bool>,
    write_blocked_since: Cell<Option<Instant>>,
    /// The client may still be sending a request that was not read to its end.
    has_unread_input: Cell<bool>,
    /// The last response was truncated, which the client can detect only by a reset.
    needs_reset: Cell<bool>,
}

impl ConnectionState {
    pub(crate) fn new(peer: IpAddr, scheme: Scheme, listener_role: ListenerRole) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            peer,
            scheme,
            listener_role,
            timer: SharedTimer::default(),
            phase: Cell::new(Phase::Idle(now)),
            partial_head: RefCell::default(),
            request_count: Cell::default(),
            in_flight: Cell::default(),
            aborted_requests: Cell::default(),
            responses_awaiting_client: Cell::default(),
            last_client_progress: Cell::new(now),
            is_draining: Cell::default(),
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

    pub(crate) fn has_received_request(&self) -> bool {
        self.request_count.get() > 0
    }

    /// Records received bytes. The timeout of the first head starts when the connection is accepted, the timeout of a
    /// later head with its first byte.
    pub(crate) fn record_read(&self, bytes: &[u8]) {
        let mut head = self.partial_head.borrow_mut();
        match self.phase() {
            Phase::Idle(since) => {
                let started_at = if self.has_received_request() { Instant::now() } else { since };
                self.phase.set(Phase::ReadingHead(started_at));
                head.bytes.clear();
                head.requests_before_head = self.request_count.get();
            }
            Phase::ReadingHead(_) if head.bytes.len() < MAX_PARTIAL_HEAD => {}
            Phase::ReadingHead(_) | Phase::HandlingRequest => return,
        }
        let remaining = MAX_PARTIAL_HEAD - head.bytes.len();
        head.bytes.extend_from_slice(&bytes[..bytes.len().min(remaining)]);
    }

    /// The start of the head that is being read; empty if it is unknown because the head was received together with
    /// another one (pipelining).
    pub(crate) fn partial_head(&self) -> Vec<u8> {
        let head = self.partial_head.borrow();
        if head.requests_before_head == self.request_count.get() { head.bytes.clone() } else { Vec::new() }
    }

    /// Records the result of a write: the send timeout runs while writes are blocked.
    pub(crate) fn record_write(&self, state: WriteState) {
        match (state, self.write_blocked_since.get()) {
            (WriteState::Blocked, None) => self.write_blocked_since.set(Some(Instant::now())),
            (WriteState::Ready, Some(_)) => self.write_blocked_since.set(None),
            _ => {}
        }
    }

    /// Records that a request was not read to its end.
    pub(crate) fn mark_unread_input(&self) {
        self.has_unread_input.set(true);
    }

    pub(crate) fn has_unread_input(&self) -> bool {
        self.has_unread_input.get()
    }

    /// Records that a response delimited by the end of the connection was truncated.
    pub(crate) fn require_reset(&self) {
        self.needs_reset.set(true);
    }

    pub(crate) fn needs_reset(&self) -> bool {
        self.needs_reset.get()
    }

    /// Whether a write has been blocked for longer than the send timeout.
    pub(crate) fn is_write_timed_out(&self, timeouts: &ClientTimeouts) -> bool {
        self.write_blocked_since.get().is_some_and(|since| since.elapsed() >= timeouts.send)
    }

    /// Ready when the send timeout or the head timeout has expired. An idle connection expires after the head timeout
    /// too, so that [`crate::http1`] can release its buffers.
    pub(crate) fn poll_timeout(&self, cx: &mut Context<'_>, timeouts: &ClientTimeouts) -> Poll<()> {
        let deadline = match (self.write_blocked_since.get(), self.phase()) {
            (Some(since), _) => since + timeouts.send,
            (None, Phase::Idle(since) | Phase::ReadingHead(since)) => since + timeouts.head,
            (None, Phase::HandlingRequest) => return Poll::Pending,
        };
        self.timer.borrow_mut().poll(cx, deadline)
    }

    /// When the client stopped reading what the gateway writes or has ready to write; `None` while the client reads.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        let unread_since = (self.responses_awaiting_client.get() > 0).then(|| self.last_client_progress.get());
        [self.write_blocked_since.get(), unread_since].into_iter().flatten().min()
    }

    /// Since when no request has been in flight: since the last one ended, or since the connection was accepted. `None`
    /// while a request is in flight.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        match self.phase() {
            Phase::Idle(since) => Some(since),
            Phase::ReadingHead(_) | Phase::HandlingRequest => {
                (self.in_flight.get() == 0).then(|| self.last_client_progress.get())
            }
        }
    }

    /// Stops accepting requests on this connection; those in flight are completed.
    pub(crate) fn start_draining(&self) {
        self.is_draining.set(true);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// Whether the client aborted more than [`MAX_ABORTED_REQUESTS`] requests, and more than half of all its requests:
    /// HTTP/2 rapid reset, CVE-2023-44487.
    pub(crate) fn is_rapid_reset_attack(&self) -> bool {
        let aborted = self.aborted_requests.get();
        aborted > MAX_ABORTED_REQUESTS && aborted > self.request_count.get() / 2
    }

    /// Starts a request, which is in flight until the guard is dropped.
    pub(crate) fn begin_request(self: &Rc<Self>) -> RequestGuard {
        self.phase.set(Phase::HandlingRequest);
        self.request_count.set(self.request_count.get() + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        RequestGuard { connection: Rc::clone(self), is_response_started: false, is_awaiting_client: false }
    }
}

/// A request in flight, until dropped.
#[derive(Debug)]
pub(crate) struct RequestGuard {
    connection: Rc<ConnectionState>,
    is_response_started: bool,
    /// The next piece of the response waits for the client to read.
    is_awaiting_client: bool,
}

impl RequestGuard {
    pub(crate) fn connection(&self) -> &Rc<ConnectionState> {
        &self.connection
    }

    /// Records that the response head was handed to hyper.
    pub(crate) fn mark_response_started(&mut self) {
        self.is_response_started = true;
        self.mark_awaiting_client();
    }

    /// Records that a piece of the response is ready and waits for the client to read.
    pub(crate) fn mark_awaiting_client(&mut self) {
        if !std::mem::replace(&mut self.is_awaiting_client, true) {
            let responses = &self.connection.responses_awaiting_client;
            responses.set(responses.get() + 1);
        }
    }

    /// Records that the client has read what was ready.
    pub(crate) fn record_client_progress(&mut self) {
        self.connection.last_client_progress.set(Instant::now());
        if std::mem::take(&mut self.is_awaiting_client) {
            let responses = &self.connection.responses_awaiting_client;
            responses.set(responses.get() - 1);
        }
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
    fn over_100_aborted_requests_that_are_most_of_all_are_a_rapid_reset_attack() {
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
        assert!(!state.is_rapid_reset_attack(), "exactly half is tolerated");
    }
}
