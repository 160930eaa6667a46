//! Request body from client to service: streamed with backpressure, limited in size and time. Only a body received in
//! one piece is held in full.

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

/// The body of an upstream request.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// The complete body; `None` if the request has none.
    Full(Option<Bytes>),
    /// The client is still sending the body.
    Streaming { buffered: Option<Bytes>, incoming: Incoming, state: Rc<RequestBodyState> },
}

/// Progress of a streaming body, shared with the code that waits for the response of the service.
#[derive(Debug)]
pub(crate) struct RequestBodyState {
    /// How many more bytes the size limit allows.
    remaining_bytes: Cell<u64>,
    /// Deadline for the client to send the whole body.
    deadline: Instant,
    /// The client has sent the whole body.
    is_complete: Cell<bool>,
    /// The next piece has not arrived from the client.
    is_waiting_for_client: Cell<bool>,
    /// When the last piece was forwarded to the service.
    last_forwarded: Cell<Instant>,
    /// Why forwarding stopped.
    error: Cell<Option<RequestBodyError>>,
}

/// Why a body is not forwarded to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("the request body was rejected")]
    Rejected(Rejection),
    #[error("the client aborted the request")]
    ClientAborted,
}

impl From<RequestBodyError> for ProxyError {
    fn from(error: RequestBodyError) -> Self {
        match error {
            RequestBodyError::Rejected(rejection) => Self::Rejected(rejection),
            RequestBodyError::ClientAborted => Self::ClientAborted,
        }
    }
}

/// Limits of a request body: size in bytes, and the time by which it must be complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    pub(crate) max_bytes: u64,
    pub(crate) deadline: Instant,
}

impl RequestBody {
    /// Waits for the first piece of the body, which is usually the whole body.
    pub(crate) async fn receive(
        mut incoming: Incoming,
        limits: BodyLimits,
        timer: &SharedTimer,
    ) -> Result<Self, RequestBodyError> {
        if incoming.is_end_stream() {
            return Ok(Self::Full(None));
        }
        let receive_first_frame = poll_fn(|cx| match Pin::new(&mut incoming).poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => timer
                .borrow_mut()
                .poll(cx, limits.deadline)
                .map(|()| Err(RequestBodyError::Rejected(Rejection::RequestTimeout))),
        });
        // Trailers end the body and are not forwarded.
        let first_frame = receive_first_frame.await?.transpose().map_err(|error| classify_body_error(&error))?;
        let Some(piece) = first_frame.and_then(|frame| frame.into_data().ok()) else {
            return Ok(Self::Full(Some(Bytes::new())));
        };
        let state = Rc::new(RequestBodyState {
            remaining_bytes: Cell::new(limits.max_bytes),
            deadline: limits.deadline,
            is_complete: Cell::default(),
            is_waiting_for_client: Cell::default(),
            last_forwarded: Cell::new(Instant::now()),
            error: Cell::default(),
        });
        state.count_bytes(&piece)?;
        match incoming.is_end_stream() {
            true => Ok(Self::Full(Some(piece))),
            false => Ok(Self::Streaming { buffered: Some(piece), incoming, state }),
        }
    }

    /// The progress of a streaming body; `None` if the body is complete.
    pub(crate) fn state(&self) -> Option<Rc<RequestBodyState>> {
        match self {
            Self::Full(_) => None,
            Self::Streaming { state, .. } => Some(Rc::clone(state)),
        }
    }
}

impl RequestBodyState {
    /// Whether the client has sent the whole body without an error.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.get() && self.error.get().is_none()
    }

    pub(crate) fn error(&self) -> Option<RequestBodyError> {
        self.error.get()
    }

    /// Ready with an error when the client or the service has timed out. `upstream_timeout` starts again with each
    /// forwarded piece, so that a slow client does not use up the service's time.
    pub(crate) fn poll_timeout(
        &self,
        cx: &mut Context<'_>,
        timer: &mut LazyTimer,
        upstream_timeout: Duration,
    ) -> Poll<ProxyError> {
        match self.is_waiting_for_client.get() {
            true => timer.poll(cx, self.deadline).map(|()| ProxyError::Rejected(Rejection::RequestTimeout)),
            false => timer.poll(cx, self.last_forwarded.get() + upstream_timeout).map(|()| ProxyError::Timeout),
        }
    }

    /// Subtracts a piece from the size limit.
    fn count_bytes(&self, piece: &Bytes) -> Result<(), RequestBodyError> {
        let remaining = self.remaining_bytes.get().checked_sub(piece.len() as u64);
        self.remaining_bytes.set(remaining.ok_or(RequestBodyError::Rejected(Rejection::ContentTooLarge))?);
        Ok(())
    }

    /// The next piece of the body, counted; `None` at the end, which trailers mark too.
    fn accept_frame(&self, frame: Option<hyper::Result<Frame<Bytes>>>) -> Result<Option<Bytes>, RequestBodyError> {
        let frame = frame.transpose().map_err(|error| classify_body_error(&error))?;
        let piece = frame.and_then(|frame| frame.into_data().ok());
        piece.as_ref().map_or(Ok(()), |piece| self.count_bytes(piece))?;
        Ok(piece)
    }
}

/// Reads and discards at most [`MAX_LINGERING_BYTES`] of a body for at most [`LINGERING_TIME`]: an HTTP/2 stream that
/// is reset while its client is sending may lose the response.
pub(crate) async fn discard_body(mut body: Incoming) {
    let mut remaining = MAX_LINGERING_BYTES;
    let reading = poll_fn(|cx| {
        loop {
            let Some(Ok(frame)) = ready!(Pin::new(&mut body).poll_frame(cx)) else { return Poll::Ready(()) };
            remaining = remaining.saturating_sub(frame.data_ref().map_or(1, Bytes::len));
            if remaining == 0 {
                return Poll::Ready(());
            }
        }
    });
    // The timeout ends the reading, which is no error.
    let _ = timeout(LINGERING_TIME, reading).await;
}

/// Distinguishes a client that disconnected from invalid body framing.
fn classify_body_error(error: &hyper::Error) -> RequestBodyError {
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
        let (buffered, incoming, state) = match self.get_mut() {
            Self::Full(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streaming { buffered, incoming, state } => (buffered, incoming, state),
        };
        if let Some(piece) = buffered.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        state.is_waiting_for_client.set(polled.is_pending());
        let piece = state.accept_frame(ready!(polled));
        state.last_forwarded.set(Instant::now());
        state.is_complete.set(matches!(piece, Ok(None)) || incoming.is_end_stream());
        state.error.set(piece.as_ref().err().copied());
        Poll::Ready(piece.transpose().map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Streaming { buffered, incoming, .. } => buffered.is_none() && incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Streaming { buffered, incoming, .. } => {
                let buffered = buffered.as_ref().map_or(0, |piece| piece.len() as u64);
                let remaining = incoming.size_hint().exact();
                remaining.map_or_else(SizeHint::default, |remaining| SizeHint::with_exact(buffered + remaining))
            }
        }
    }
}
