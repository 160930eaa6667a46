//! A request's body on its way to a service: counted, timed, never held as a whole.

use std::cell::RefCell;
use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::web::{Bytes, Payload};
use futures_util::Stream;
use tokio::time::{Sleep, sleep};

use crate::refusal::Cause;

/// How a request says its body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// No body, and no word about one.
    None,
    /// `Content-Length`.
    Sized(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl Framing {
    /// The server has checked that the headers do not contradict each other.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        if request.headers().contains_key(TRANSFER_ENCODING) {
            return Self::Chunked;
        }
        let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        length.map_or(Self::None, Self::Sized)
    }

    /// Whether bytes follow the head.
    pub(crate) fn has_body(self) -> bool {
        !matches!(self, Self::None | Self::Sized(0))
    }
}

/// The body of one request. Clones share it, so that an attempt that never began to send it can be made again.
#[derive(Clone)]
pub(crate) struct Upload(Rc<RefCell<Inner>>);

struct Inner {
    payload: Payload,
    left: u64,
    deadline: Pin<Box<Sleep>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Untouched,
    Flowing,
    Done,
    Refused(Cause),
}

/// Breaks the request to the service off; the cause is kept by the [`Upload`].
#[derive(Debug, thiserror::Error)]
#[error("the client's body was refused")]
pub(crate) struct Refused;

impl Upload {
    pub(crate) fn new(payload: Payload, framing: Framing, limit: u64, time: Duration) -> Self {
        let state = if framing.has_body() { State::Untouched } else { State::Done };
        Self(Rc::new(RefCell::new(Inner { payload, left: limit, deadline: Box::pin(sleep(time)), state })))
    }

    /// Whether none of it has been read yet.
    pub(crate) fn is_untouched(&self) -> bool {
        let state = self.0.borrow().state;
        // An empty body can be sent any number of times, for there is nothing to lose.
        matches!(state, State::Untouched | State::Done)
    }

    /// Whether the client has sent all of it.
    pub(crate) fn is_done(&self) -> bool {
        self.0.borrow().state == State::Done
    }

    /// Why it was refused.
    pub(crate) fn refusal(&self) -> Option<Cause> {
        match self.0.borrow().state {
            State::Refused(cause) => Some(cause),
            State::Untouched | State::Flowing | State::Done => None,
        }
    }
}

impl Inner {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cause>>> {
        self.state = State::Flowing;
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Cause::SlowRequest)));
        }
        let chunk = match ready!(Pin::new(&mut self.payload).poll_next(cx)) {
            Some(Ok(chunk)) => chunk,
            Some(Err(PayloadError::Overflow)) => return Poll::Ready(Some(Err(Cause::TooLarge))),
            Some(Err(_)) => return Poll::Ready(Some(Err(Cause::BadRequest))),
            None => {
                self.state = State::Done;
                return Poll::Ready(None);
            }
        };
        match self.left.checked_sub(chunk.len() as u64) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(chunk)))
            }
            None => Poll::Ready(Some(Err(Cause::TooLarge))),
        }
    }
}

impl Stream for Upload {
    type Item = Result<Bytes, Refused>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let inner = &mut *self.0.borrow_mut();
        if let State::Refused(_) = inner.state {
            return Poll::Ready(Some(Err(Refused)));
        }
        let polled = ready!(inner.poll(cx));
        Poll::Ready(polled.map(|chunk| {
            chunk.map_err(|cause| {
                inner.state = State::Refused(cause);
                Refused
            })
        }))
    }
}
