//! A client's connection, between the socket and the HTTP parser: what is handed on, how much of it, and for how long.
//!
//! - One request at a time: the next is not looked at before the last one's answer is made, and none after an answer
//!   that closes the connection.
//! - Every head is timed from its first byte on, the first one from the connection's beginning; so is a client that
//!   takes nothing of its answer.
//! - What the [`Scanner`] refuses is not handed on. The parser is told that the client says no more, lets what it has
//!   in hand end, and the last word is said after that.

use std::cell::{Cell, RefCell};
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::scan::{Fault, Scanner};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// To send a head.
    pub(crate) head: Duration,
    /// To take any of an answer that it is sent.
    pub(crate) answer: Duration,
}

/// How many connections clients hold, of how many.
#[derive(Debug)]
pub(crate) struct Held {
    count: AtomicUsize,
    most: AtomicUsize,
}

impl Default for Held {
    fn default() -> Self {
        Self { count: AtomicUsize::new(0), most: AtomicUsize::new(usize::MAX) }
    }
}

impl Held {
    /// How many there may be.
    pub(crate) fn allow(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether more than half of all there may be are held: none is kept for a request to come then.
    pub(crate) fn is_crowded(&self) -> bool {
        self.count() > self.most.load(Ordering::Relaxed) / 2
    }
}

/// Whose turn it is: the client's to ask, or the gateway's to answer.
#[derive(Default)]
pub(crate) struct Turn {
    state: Cell<State>,
    /// Wakes the connection that holds a request back.
    waiting: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    Answering,
    Over,
}

impl Turn {
    fn set(&self, state: State) {
        self.state.set(state);
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    fn wait(&self, cx: &Context<'_>) {
        *self.waiting.borrow_mut() = Some(cx.waker().clone());
    }
}

/// The body of an answer. When it is gone, the client may ask again, or the connection is over.
pub(crate) struct Answer {
    body: BoxBody,
    turn: Rc<Turn>,
    last: bool,
}

impl Answer {
    /// `last`: the connection is closed after it.
    pub(crate) fn new(body: BoxBody, turn: Rc<Turn>, last: bool) -> Self {
        Self { body, turn, last }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.turn.set(if self.last { State::Over } else { State::Free });
    }
}

impl MessageBody for Answer {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

/// A client's connection.
pub(crate) struct Connection {
    socket: TcpStream,
    scanner: Scanner,
    turn: Rc<Turn>,
    /// What came after the request that is being answered.
    surplus: Vec<u8>,
    times: Times,
    /// When the head that is waited for must have come.
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    stalled: Option<Pin<Box<Sleep>>>,
    /// No more is handed on; and what is said when all is answered.
    ended: bool,
    last_word: Option<&'static [u8]>,
    held: Arc<Held>,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, times: Times, held: Arc<Held>) -> Self {
        held.count.fetch_add(1, Ordering::Relaxed);
        Self {
            socket,
            scanner: Scanner::default(),
            turn: Rc::default(),
            surplus: Vec::new(),
            times,
            due: Some(Instant::now() + times.head),
            timer: None,
            stalled: None,
            ended: false,
            last_word: None,
            held,
        }
    }

    /// Whose turn it is on this connection.
    pub(crate) fn turn(&self) -> Rc<Turn> {
        Rc::clone(&self.turn)
    }

    fn end(&mut self, last_word: Option<&'static [u8]>) {
        self.ended = true;
        self.last_word = last_word;
        self.surplus = Vec::new();
        (self.due, self.timer) = (None, None);
    }

    /// Hands on what the scanner lets through of the bytes of `buf` after the first `before`, and keeps what is of a
    /// later request.
    fn hand_on(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return;
        }
        let (begins, in_head) = (self.scanner.is_at_start(), self.scanner.is_in_head());
        let read = self.scanner.read(fresh);
        let later = fresh.get(read.good..).unwrap_or_default().to_vec();
        buf.set_filled(before + read.good);
        if let Some(fault) = read.fault {
            // Within a body there is a request that is answered, in its dialect.
            return self.end(self.scanner.is_in_head().then(|| fault.answer()));
        }
        if !later.is_empty() {
            self.surplus.splice(..0, later);
        }
        if self.scanner.is_in_head() {
            self.due.get_or_insert_with(|| Instant::now() + self.times.head);
        } else if begins || in_head {
            (self.due, self.timer) = (None, None);
            self.turn.state.set(State::Answering);
        }
    }

    /// Whether the head that is waited for has not come in time; if it still may, `cx` is woken when it has not.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.due else { return false };
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(due))).as_mut().poll(cx).is_ready()
    }

    /// Between two requests: whether the next one must wait. What the client says meanwhile is kept, one piece at most.
    fn poll_wait(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.surplus.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
            let fresh = buf.filled().get(before..).unwrap_or_default();
            if fresh.is_empty() {
                // It says no more, and is answered all the same.
                self.end(None);
                return Poll::Ready(Ok(()));
            }
            self.surplus.extend_from_slice(fresh);
            buf.set_filled(before);
        }
        self.turn.wait(cx);
        Poll::Pending
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(Ok(()));
        }
        if this.scanner.is_at_start() {
            match this.turn.state.get() {
                State::Free => {}
                State::Answering => return this.poll_wait(cx, buf),
                State::Over => {
                    this.end(None);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let before = buf.filled().len();
        if !this.surplus.is_empty() {
            let taken = this.surplus.len().min(buf.remaining());
            buf.put_slice(this.surplus.get(..taken).unwrap_or_default());
            this.surplus.drain(..taken);
            this.hand_on(buf, before);
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.socket).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                this.hand_on(buf, before);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if this.is_late(cx) => {
                // Who has said nothing at all need not be told.
                this.end(this.scanner.is_in_head().then_some(SLOW));
                Poll::Ready(Ok(()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.socket).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                this.stalled = None;
                Poll::Ready(written)
            }
            Poll::Pending => {
                let due = this.times.answer;
                let stalled = this.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(due)));
                stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(word) = this.last_word.take() {
            // All before it is flushed, so that there is room for it, or the client is past listening.
            let _ = Pin::new(&mut this.socket).poll_write(cx, word)?;
        }
        ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
        // What is closed with bytes unread is reset, and a reset may overtake the answer.
        let mut scratch = [0; 4096];
        for _ in 0..MOST_UNREAD / scratch.len() {
            if !matches!(this.socket.try_read(&mut scratch), Ok(1..)) {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.held.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a client may have sent in vain before it hears why.
const MOST_UNREAD: usize = 256 * 1024;

const SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

impl Fault {
    /// What is said where no route is known, and so no dialect.
    fn answer(self) -> &'static [u8] {
        match self {
            Self::Malformed => b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            Self::HeadTooLarge => {
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            }
        }
    }
}
