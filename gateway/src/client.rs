//! A client's connection: what it says and is told, and for how long it is waited for.
//!
//! - One request at a time: what comes behind it is kept, one piece at most, until it is answered.
//! - Every head is timed from its first byte on, the first one from the connection's beginning; so is a client that
//!   takes nothing of what it is told.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::pipe::Pipe;
use crate::wire::lines::Lines;

/// How long a client is waited for between two requests.
const KEEP: Duration = Duration::from_secs(75);
/// As much as is kept of what it says out of its turn.
const MOST_AHEAD: usize = 4 * 1024;
/// How much a client may say in vain, and for how long, before it hears why: what is closed with bytes unread is reset,
/// and a reset may overtake the answer.
const MOST_UNREAD: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(1);

const SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// To send a head.
    pub(crate) head: Duration,
    /// To take any of an answer that it is sent.
    pub(crate) answer: Duration,
}

/// A client, who may have gone.
pub(crate) struct Client {
    pipe: Pipe,
    pub(crate) peer: IpAddr,
    pub(crate) alarm: Alarm,
    times: Times,
    /// It says no more, and is answered all the same.
    ended: bool,
}

/// Why a client is heard no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It took too long.
    Late,
    /// It says that it says no more.
    Ended,
    /// It went, or is out of reach.
    Gone,
}

/// What a client says next.
pub(crate) enum Said {
    /// A head, so many bytes long.
    Head(usize),
    /// Nothing: its connection is over.
    Nothing,
    /// What is no request; this is the last that it is told.
    Nonsense(&'static [u8]),
}

impl Client {
    pub(crate) fn new(socket: TcpStream, times: Times) -> io::Result<Self> {
        let peer = socket.peer_addr()?.ip();
        Ok(Self { pipe: Pipe::new(socket), peer, alarm: Alarm::default(), times, ended: false })
    }

    /// What it has said and was not taken.
    pub(crate) fn come(&mut self) -> &mut Vec<u8> {
        &mut self.pipe.come
    }

    /// Whether no further request can come.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Waits for the next head; `first`: of this connection. Until it begins, `stopped` ends the waiting.
    pub(crate) async fn head(&mut self, first: bool, mut stopped: impl FnMut(&mut Context<'_>) -> bool) -> Said {
        let mut lines = Lines::default();
        let mut begun = first;
        let mut due = Instant::now() + if first { self.times.head } else { KEEP };
        loop {
            match lines.end(&self.pipe.come) {
                Ok(Some(length)) => return Said::Head(length),
                Ok(None) => {}
                Err(fault) => return Said::Nonsense(fault.answer()),
            }
            let silent = self.pipe.come.is_empty();
            if !silent && !std::mem::replace(&mut begun, true) {
                due = Instant::now() + self.times.head;
            }
            let read = poll_fn(|cx| match self.poll_read(cx, due) {
                Poll::Pending if silent && stopped(cx) => Poll::Ready(Err(Lost::Ended)),
                polled => polled,
            });
            match read.await {
                Ok(()) => {}
                Err(Lost::Late) if !silent => return Said::Nonsense(SLOW),
                Err(Lost::Late | Lost::Ended | Lost::Gone) => return Said::Nothing,
            }
        }
    }

    /// Waits until it says more, or `due`.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<Result<(), Lost>> {
        if self.ended {
            return Poll::Ready(Err(Lost::Ended));
        }
        match self.pipe.poll_read(cx) {
            Poll::Ready(Ok(0)) => {
                self.ended = true;
                Poll::Ready(Err(Lost::Ended))
            }
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(_)) => Poll::Ready(Err(Lost::Gone)),
            Poll::Pending => self.alarm.poll(cx, due).map(|()| Err(Lost::Late)),
        }
    }

    /// Looks, while it is the gateway's turn, whether the client is still there. What it says is kept.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.ended && self.pipe.come.len() < MOST_AHEAD {
            match self.pipe.poll_read(cx) {
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    /// Tells it all of `bytes`.
    pub(crate) async fn tell(&mut self, mut bytes: &[u8]) -> Result<(), Lost> {
        let mut due = None;
        while !bytes.is_empty() {
            let written = poll_fn(|cx| match self.pipe.poll_write(cx, bytes) {
                Poll::Ready(written) => Poll::Ready(written.map_err(|_| Lost::Gone)),
                Poll::Pending => {
                    let due = *due.get_or_insert_with(|| Instant::now() + self.times.answer);
                    self.alarm.poll(cx, due).map(|()| Err(Lost::Late))
                }
            });
            bytes = bytes.get(written.await?..).unwrap_or_default();
            due = None;
        }
        Ok(())
    }

    /// Gives back the room that only a large request needs.
    pub(crate) fn shrink(&mut self) {
        self.pipe.shrink();
    }

    /// Ends the connection so that what the client was told cannot be taken for the whole.
    pub(crate) fn cut(self) {
        self.pipe.reset();
    }

    /// Ends the connection. `unread`: the client may be saying more, and must not lose the answer over it.
    pub(crate) async fn close(mut self, unread: bool) {
        let due = Instant::now() + LINGER;
        let shut = poll_fn(|cx| self.pipe.poll_shut(cx)).await;
        if shut.is_err() {
            return;
        }
        if !unread && self.pipe.come.is_empty() {
            return self.pipe.discard(MOST_UNREAD);
        }
        let mut total = 0;
        while total < MOST_UNREAD && poll_fn(|cx| self.poll_read(cx, due)).await.is_ok() {
            total += self.pipe.come.len();
            self.pipe.come.clear();
        }
    }
}
