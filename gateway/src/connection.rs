//! A client's connection: the state that its timers, its requests and its end go by.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::alarm::Alarm;

/// How long a connection may be idle between two requests.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How much of a head is kept until it is whole: enough for a method and a route's prefix, in bytes.
const MAX_BEGINNING: usize = 128;

/// Requests that a client may leave alone, on one connection, before it is looked at how many it does not.
const MAX_ABANDONED: u64 = 100;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// To send a head.
    pub(crate) head: Duration,
    /// To take any of an answer that it is sent.
    pub(crate) answer: Duration,
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
pub(crate) enum EntryPoint {
    /// What the routes lead to.
    Routes,
    /// `https://` at this port.
    Redirect(u16),
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The next request, since then.
    Idle(Instant),
    /// The rest of a head, which began then.
    Head(Instant),
    /// The answer to a request.
    Request,
}

/// A timer that the tasks of one connection, or of one HTTP/2 stream, share.
pub(crate) type SharedAlarm = Rc<RefCell<Alarm>>;

/// The beginning of the head that is being read.
#[derive(Debug, Default)]
struct HeadStart {
    /// Its first bytes, [`MAX_BEGINNING`] at most.
    bytes: Vec<u8>,
    /// How many requests had come before it.
    requests_before: u64,
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    pub(crate) peer: IpAddr,
    pub(crate) scheme: Scheme,
    pub(crate) entry_point: EntryPoint,
    pub(crate) alarm: SharedAlarm,
    phase: Cell<Phase>,
    head: RefCell<HeadStart>,
    /// Requests that came, that are not answered to their end, and that the client left alone.
    requests: Cell<u64>,
    in_flight: Cell<usize>,
    abandoned: Cell<u64>,
    /// Streams whose next piece is the client's to take, and when one was taken last.
    offered: Cell<usize>,
    taken: Cell<Instant>,
    /// It takes no more requests.
    retired: Cell<bool>,
    /// Since when the client takes nothing of what it is sent.
    write_blocked: Cell<Option<Instant>>,
    /// The client may be sending more than was read.
    unread: Cell<bool>,
    /// The last answer is not whole, and only a reset shows it.
    reset: Cell<bool>,
}

impl ConnectionState {
    pub(crate) fn new(peer: IpAddr, scheme: Scheme, entry_point: EntryPoint) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            peer,
            scheme,
            entry_point,
            alarm: SharedAlarm::default(),
            phase: Cell::new(Phase::Idle(now)),
            head: RefCell::default(),
            requests: Cell::default(),
            in_flight: Cell::default(),
            abandoned: Cell::default(),
            offered: Cell::default(),
            taken: Cell::new(now),
            retired: Cell::default(),
            write_blocked: Cell::default(),
            unread: Cell::default(),
            reset: Cell::default(),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase(), Phase::Idle(_))
    }

    /// Whether any request has come.
    pub(crate) fn has_served(&self) -> bool {
        self.requests.get() > 0
    }

    /// Notes that bytes came. The first head is timed from the connection's beginning, others from their first byte.
    pub(crate) fn note_read(&self, bytes: &[u8]) {
        let mut head = self.head.borrow_mut();
        match self.phase() {
            Phase::Idle(since) => {
                let began = if self.has_served() { Instant::now() } else { since };
                self.phase.set(Phase::Head(began));
                head.bytes.clear();
                head.requests_before = self.requests.get();
            }
            Phase::Head(_) if head.bytes.len() < MAX_BEGINNING => {}
            Phase::Head(_) | Phase::Request => return,
        }
        let room = MAX_BEGINNING - head.bytes.len();
        head.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// How the head begins that is being read; empty if that is not known, for it came together with another one.
    pub(crate) fn beginning(&self) -> Vec<u8> {
        let head = self.head.borrow();
        if head.requests_before == self.requests.get() { head.bytes.clone() } else { Vec::new() }
    }

    /// Notes whether a write has to wait for the client.
    pub(crate) fn note_write(&self, is_blocked: bool) {
        match (is_blocked, self.write_blocked.get()) {
            (true, None) => self.write_blocked.set(Some(Instant::now())),
            (false, Some(_)) => self.write_blocked.set(None),
            _ => {}
        }
    }

    /// Notes that not all of a request was read.
    pub(crate) fn leave_unread(&self) {
        self.unread.set(true);
    }

    pub(crate) fn has_unread(&self) -> bool {
        self.unread.get()
    }

    /// Notes that an answer broke off whose end is the connection's.
    pub(crate) fn break_off(&self) {
        self.reset.set(true);
    }

    pub(crate) fn is_broken_off(&self) -> bool {
        self.reset.get()
    }

    /// Whether a write has waited for longer than a client may take.
    pub(crate) fn is_stalled(&self, times: &Times) -> bool {
        self.write_blocked.get().is_some_and(|since| since.elapsed() >= times.answer)
    }

    /// Ready when the client has taken longer than it may. An idle connection is looked after as often as a head may
    /// take: see [`crate::http1`].
    pub(crate) fn poll_late(&self, cx: &mut Context<'_>, times: &Times) -> Poll<()> {
        let due = match (self.write_blocked.get(), self.phase()) {
            (Some(since), _) => since + times.answer,
            (None, Phase::Idle(since) | Phase::Head(since)) => since + times.head,
            (None, Phase::Request) => return Poll::Pending,
        };
        self.alarm.borrow_mut().poll(cx, due)
    }

    /// Since when the client takes nothing of what it is sent, or could be sent.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        let untaken = (self.offered.get() > 0).then(|| self.taken.get());
        [self.write_blocked.get(), untaken].into_iter().flatten().min()
    }

    /// Since when there is no request.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        match self.phase() {
            Phase::Idle(since) => Some(since),
            Phase::Head(_) | Phase::Request => (self.in_flight.get() == 0).then(|| self.taken.get()),
        }
    }

    /// Makes this connection's request its last; those in flight are answered.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Whether the client makes requests only to leave them alone: CVE-2023-44487.
    pub(crate) fn is_abusive(&self) -> bool {
        let abandoned = self.abandoned.get();
        abandoned > MAX_ABANDONED && abandoned > self.requests.get() / 2
    }

    /// Begins a request, which lasts until the guard is dropped.
    pub(crate) fn begin(self: &Rc<Self>) -> RequestGuard {
        self.phase.set(Phase::Request);
        self.requests.set(self.requests.get() + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        RequestGuard { connection: Rc::clone(self), is_answered: false, is_offered: false }
    }
}

/// A request that is not answered to the end yet.
#[derive(Debug)]
pub(crate) struct RequestGuard {
    connection: Rc<ConnectionState>,
    is_answered: bool,
    /// The next piece of the answer is the client's to take.
    is_offered: bool,
}

impl RequestGuard {
    pub(crate) fn connection(&self) -> &Rc<ConnectionState> {
        &self.connection
    }

    /// Notes that the client is answered.
    pub(crate) fn answer(&mut self) {
        self.is_answered = true;
        self.offer(true);
    }

    /// Notes that the client takes a piece of the answer, and whether there is one.
    pub(crate) fn offer(&mut self, is_offered: bool) {
        let offered = self.connection.offered.get();
        match (self.is_offered, is_offered) {
            (false, true) => self.connection.offered.set(offered + 1),
            (true, false) => self.connection.offered.set(offered - 1),
            _ => {}
        }
        self.is_offered = is_offered;
    }

    /// Notes that the client took a piece.
    pub(crate) fn take(&mut self) {
        self.connection.taken.set(Instant::now());
        self.offer(false);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let connection = Rc::clone(&self.connection);
        self.take();
        connection.in_flight.set(connection.in_flight.get() - 1);
        if !self.is_answered {
            connection.abandoned.set(connection.abandoned.get() + 1);
        }
        if connection.in_flight.get() == 0 {
            connection.phase.set(Phase::Idle(connection.taken.get()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_client_that_abandons_most_of_over_100_requests_is_abusive() {
        let state = ConnectionState::new(Ipv4Addr::LOCALHOST.into(), Scheme::Https, EntryPoint::Routes);
        for _ in 0..MAX_ABANDONED {
            drop(state.begin());
            assert!(!state.is_abusive());
        }
        drop(state.begin());
        assert!(state.is_abusive());
        for _ in 0..=MAX_ABANDONED {
            state.begin().answer();
        }
        assert!(!state.is_abusive(), "half is not most");
    }
}
