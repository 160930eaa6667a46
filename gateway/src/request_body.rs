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

use crate::client_connection::SharedTimer;
use crate::error_pages::Rejection;
use crate::lingering_close::{LINGERING_TIME, MAX_LINGERING_BYTES};
use crate::timer::LazyTimer;
use crate::upstreams::connection::ProxyError;

/// The body of a request to a service.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// None, or all of it.
    Full(Option<Bytes>),
    /// More of it is to come from the client.
    Streaming { buffered: Option<Bytes>, incoming: Incoming, state: Rc<RequestBodyState> },
}

/// A body that comes while it is sent on.
#[derive(Debug)]
pub(crate) struct RequestBodyState {
    /// How many bytes more it may have.
    remaining_bytes: Cell<u64>,
    /// When all of it must have come.
    deadline: Instant,
    /// The client has sent all of it.
    is_complete: Cell<bool>,
    /// It is the client who is waited for.
    is_waiting_for_client: Cell<bool>,
    /// When the service was handed the last piece.
    last_forwarded: Cell<Instant>,
    /// Why it is given up.
    error: Cell<Option<RequestBodyError>>,
}

/// Why a body is not sent on to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("the client's body was refused")]
    Rejected(Rejection),
    #[error("the client went")]
    ClientAborted,
}

impl From<RequestBodyError> for ProxyError {
    fn from(fault: RequestBodyError) -> Self {
        match fault {
            RequestBodyError::Rejected(cause) => Self::Rejected(cause),
            RequestBodyError::ClientAborted => Self::ClientAborted,
        }
    }
}

/// How long a body may be, and until when it must have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    pub(crate) max_bytes: u64,
    pub(crate) deadline: Instant,
}

impl RequestBody {
    /// Waits for the first piece, which is nearly always the whole.
    pub(crate) async fn receive(
        mut incoming: Incoming,
        limits: BodyLimits,
        alarm: &SharedTimer,
    ) -> Result<Self, RequestBodyError> {
        if incoming.is_end_stream() {
            return Ok(Self::Full(None));
        }
        let first = poll_fn(|cx| match Pin::new(&mut incoming).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => alarm
                .borrow_mut()
                .poll(cx, limits.deadline)
                .map(|()| Err(RequestBodyError::Rejected(Rejection::RequestTimeout))),
        });
        // Trailers end a body, and are not sent on.
        let first = first.await?.transpose().map_err(|error| classify_error(&error))?;
        let Some(piece) = first.and_then(|frame| frame.into_data().ok()) else {
            return Ok(Self::Full(Some(Bytes::new())));
        };
        let upload = Rc::new(RequestBodyState {
            remaining_bytes: Cell::new(limits.max_bytes),
            deadline: limits.deadline,
            is_complete: Cell::default(),
            is_waiting_for_client: Cell::default(),
            last_forwarded: Cell::new(Instant::now()),
            error: Cell::default(),
        });
        upload.count_bytes(&piece)?;
        match incoming.is_end_stream() {
            true => Ok(Self::Full(Some(piece))),
            false => Ok(Self::Streaming { buffered: Some(piece), incoming, state: upload }),
        }
    }

    /// The rest of it that is still to come.
    pub(crate) fn state(&self) -> Option<Rc<RequestBodyState>> {
        match self {
            Self::Full(_) => None,
            Self::Streaming { state: upload, .. } => Some(Rc::clone(upload)),
        }
    }
}

impl RequestBodyState {
    /// Whether the client has sent all of it, and nothing is wrong with it.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.get() && self.error.get().is_none()
    }

    pub(crate) fn error(&self) -> Option<RequestBodyError> {
        self.error.get()
    }

    /// Ready with an error when the client or the service takes too long. However long the client takes, the service
    /// has `patience` from then on.
    pub(crate) fn poll_timeout(
        &self,
        cx: &mut Context<'_>,
        alarm: &mut LazyTimer,
        patience: Duration,
    ) -> Poll<ProxyError> {
        match self.is_waiting_for_client.get() {
            true => alarm.poll(cx, self.deadline).map(|()| ProxyError::Rejected(Rejection::RequestTimeout)),
            false => alarm.poll(cx, self.last_forwarded.get() + patience).map(|()| ProxyError::Timeout),
        }
    }

    fn count_bytes(&self, piece: &Bytes) -> Result<(), RequestBodyError> {
        let left = self.remaining_bytes.get().checked_sub(piece.len() as u64);
        self.remaining_bytes.set(left.ok_or(RequestBodyError::Rejected(Rejection::ContentTooLarge))?);
        Ok(())
    }

    fn accept_frame(&self, frame: Option<hyper::Result<Frame<Bytes>>>) -> Result<Option<Bytes>, RequestBodyError> {
        let frame = frame.transpose().map_err(|error| classify_error(&error))?;
        let piece = frame.and_then(|frame| frame.into_data().ok());
        piece.as_ref().map_or(Ok(()), |piece| self.count_bytes(piece))?;
        Ok(piece)
    }
}

/// Reads on for a moment, and forgets it: a stream of HTTP/2 that is reset while its client sends may lose the answer.
pub(crate) async fn discard_body(mut body: Incoming) {
    let mut left = MAX_LINGERING_BYTES;
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
    let _ = timeout(LINGERING_TIME, reading).await;
}

/// A body that is not framed as its head says, or was broken off.
fn classify_error(error: &hyper::Error) -> RequestBodyError {
    let kind = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe) => {
            RequestBodyError::ClientAborted
        }
        _ => RequestBodyError::Rejected(Rejection::BadRequest),
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let (next, incoming, upload) = match self.get_mut() {
            Self::Full(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streaming { buffered: next, incoming, state: upload } => (next, incoming, upload),
        };
        if let Some(next) = next.take() {
            return Poll::Ready(Some(Ok(Frame::data(next))));
        }
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        upload.is_waiting_for_client.set(polled.is_pending());
        let taken = upload.accept_frame(ready!(polled));
        upload.last_forwarded.set(Instant::now());
        upload.is_complete.set(matches!(taken, Ok(None)) || incoming.is_end_stream());
        upload.error.set(taken.as_ref().err().copied());
        Poll::Ready(taken.transpose().map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Streaming { buffered: next, incoming, .. } => next.is_none() && incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Streaming { buffered: next, incoming, .. } => {
                let ahead = next.as_ref().map_or(0, |next| next.len() as u64);
                incoming.size_hint().exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(ahead + rest))
            }
        }
    }
}
