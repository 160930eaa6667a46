//! A request's body on its way to a service: counted, timed, never held as a whole unless it has come as a whole.

use std::cell::Cell;
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, timeout};

use crate::alarm::Alarm;
use crate::close::{LINGER, MOST_UNREAD};
use crate::connection::SharedAlarm;
use crate::refusal::Cause;
use crate::upstreams::connection::ProxyError;

/// The body of a request to a service.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// None, or all of it.
    Whole(Option<Bytes>),
    /// More of it is to come from the client.
    Streamed { next: Option<Bytes>, incoming: Incoming, upload: Rc<Upload> },
}

/// A body that comes while it is sent on.
#[derive(Debug)]
pub(crate) struct Upload {
    /// How many bytes more it may have.
    left: Cell<u64>,
    /// When all of it must have come.
    due: Instant,
    /// The client has sent all of it.
    is_over: Cell<bool>,
    /// It is the client who is waited for.
    is_starved: Cell<bool>,
    /// When the service was handed the last piece.
    handed: Cell<Instant>,
    /// Why it is given up.
    fault: Cell<Option<Fault>>,
}

/// Why a body is not sent on to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the client's body was refused")]
    Refused(Cause),
    #[error("the client went")]
    Aborted,
}

impl From<Fault> for ProxyError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(cause) => Self::Refused(cause),
            Fault::Aborted => Self::ClientAborted,
        }
    }
}

/// How long a body may be, and until when it must have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    pub(crate) bytes: u64,
    pub(crate) due: Instant,
}

impl RequestBody {
    /// Waits for the first piece, which is nearly always the whole.
    pub(crate) async fn receive(
        mut incoming: Incoming,
        limits: BodyLimits,
        alarm: &SharedAlarm,
    ) -> Result<Self, Fault> {
        if incoming.is_end_stream() {
            return Ok(Self::Whole(None));
        }
        let first = poll_fn(|cx| match Pin::new(&mut incoming).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => alarm.borrow_mut().poll(cx, limits.due).map(|()| Err(Fault::Refused(Cause::SlowRequest))),
        });
        // Trailers end a body, and are not sent on.
        let first = first.await?.transpose().map_err(|error| fault(&error))?;
        let Some(piece) = first.and_then(|frame| frame.into_data().ok()) else {
            return Ok(Self::Whole(Some(Bytes::new())));
        };
        let upload = Rc::new(Upload {
            left: Cell::new(limits.bytes),
            due: limits.due,
            is_over: Cell::default(),
            is_starved: Cell::default(),
            handed: Cell::new(Instant::now()),
            fault: Cell::default(),
        });
        upload.count(&piece)?;
        match incoming.is_end_stream() {
            true => Ok(Self::Whole(Some(piece))),
            false => Ok(Self::Streamed { next: Some(piece), incoming, upload }),
        }
    }

    /// The rest of it that is still to come.
    pub(crate) fn upload(&self) -> Option<Rc<Upload>> {
        match self {
            Self::Whole(_) => None,
            Self::Streamed { upload, .. } => Some(Rc::clone(upload)),
        }
    }
}

impl Upload {
    /// Whether the client has sent all of it, and nothing is wrong with it.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get() && self.fault.get().is_none()
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// Ready with an error when the client or the service takes too long. However long the client takes, the service
    /// has `patience` from then on.
    pub(crate) fn poll_late(&self, cx: &mut Context<'_>, alarm: &mut Alarm, patience: Duration) -> Poll<ProxyError> {
        match self.is_starved.get() {
            true => alarm.poll(cx, self.due).map(|()| ProxyError::Refused(Cause::SlowRequest)),
            false => alarm.poll(cx, self.handed.get() + patience).map(|()| ProxyError::Timeout),
        }
    }

    fn count(&self, piece: &Bytes) -> Result<(), Fault> {
        let left = self.left.get().checked_sub(piece.len() as u64);
        self.left.set(left.ok_or(Fault::Refused(Cause::TooLarge))?);
        Ok(())
    }

    fn take(&self, frame: Option<hyper::Result<Frame<Bytes>>>) -> Result<Option<Bytes>, Fault> {
        let frame = frame.transpose().map_err(|error| fault(&error))?;
        let piece = frame.and_then(|frame| frame.into_data().ok());
        piece.as_ref().map_or(Ok(()), |piece| self.count(piece))?;
        Ok(piece)
    }
}

/// Reads on for a moment, and forgets it: a stream of HTTP/2 that is reset while its client sends may lose the answer.
pub(crate) async fn discard(mut body: Incoming) {
    let mut left = MOST_UNREAD;
    let reading = poll_fn(|cx| {
        loop {
            let Some(Ok(frame)) = ready!(Pin::new(&mut body).poll_frame(cx)) else { return Poll::Ready(()) };
            left = left.saturating_sub(frame.data_ref().map_or(1, Bytes::len));
            if left == 0 {
                return Poll::Ready(());
            }
        }
    });
    // In vain or not, it is over.
    let _ = timeout(LINGER, reading).await;
}

/// A body that is not framed as its head says, or was broken off.
fn fault(error: &hyper::Error) -> Fault {
    let kind = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe) => {
            Fault::Aborted
        }
        _ => Fault::Refused(Cause::BadRequest),
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let (next, incoming, upload) = match self.get_mut() {
            Self::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed { next, incoming, upload } => (next, incoming, upload),
        };
        if let Some(next) = next.take() {
            return Poll::Ready(Some(Ok(Frame::data(next))));
        }
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        upload.is_starved.set(polled.is_pending());
        let taken = upload.take(ready!(polled));
        upload.handed.set(Instant::now());
        upload.is_over.set(matches!(taken, Ok(None)) || incoming.is_end_stream());
        upload.fault.set(taken.as_ref().err().copied());
        Poll::Ready(taken.transpose().map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Streamed { next, incoming, .. } => next.is_none() && incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Streamed { next, incoming, .. } => {
                let ahead = next.as_ref().map_or(0, |next| next.len() as u64);
                incoming.size_hint().exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(ahead + rest))
            }
        }
    }
}
