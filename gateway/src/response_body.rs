//! Response body from service to client: streamed with backpressure and a read timeout. The request counts as in flight
//! until the body ends.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use crate::client_connection::{RequestGuard, SharedTimer};
use crate::proxy::WorkerState;
use crate::request_body::RequestBodyState;
use crate::upstreams::connection::{ProxyError, UpstreamConnection};
use crate::upstreams::instance::InstanceGuard;
use crate::upstreams::pool::Permit;

/// Largest piece of a body handed to hyper, in bytes.
const MAX_CHUNK: usize = 64 * 1024;

/// The body of a response to a client. Its request is in flight until the body is dropped.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    pub(crate) source: ResponseSource,
    pub(crate) guard: RequestGuard,
}

/// Where the bytes of a response body come from.
#[derive(Debug)]
pub(crate) enum ResponseSource {
    /// The complete body; `None` if the response has none.
    Full(Option<Bytes>),
    /// The service is still sending the body.
    Streaming(Box<UpstreamBody>),
}

/// A body that is forwarded while the service sends it.
pub(crate) struct UpstreamBody {
    pub(crate) incoming: Incoming,
    /// A piece that was received together with the head.
    pub(crate) buffered: Option<Bytes>,
    /// The request to the service; `None` once the service has sent the whole body.
    pub(crate) upstream_request: Option<UpstreamRequest>,
    pub(crate) worker: Rc<WorkerState>,
    pub(crate) timer: SharedTimer,
    /// Longest time between two pieces from the service.
    pub(crate) read_timeout: Duration,
    /// When the gateway started to wait for the next piece.
    pub(crate) waiting_since: Option<Instant>,
    /// The body ends with the client's connection (RFC 9112 §6.3), because its length is unknown and the client cannot
    /// read chunked.
    pub(crate) is_close_delimited: bool,
}

/// A request to an instance whose response is not complete.
pub(crate) struct UpstreamRequest {
    pub(crate) connection: UpstreamConnection,
    pub(crate) permit: Permit,
    pub(crate) instance_guard: InstanceGuard,
    /// The request body, if it was still being sent when the response started.
    pub(crate) request_body: Option<Rc<RequestBodyState>>,
    /// The upstream connection can be reused after the response.
    pub(crate) is_connection_reusable: bool,
}

impl UpstreamRequest {
    /// Records the complete response, and returns the connection to the pool if it can be reused.
    fn complete(self, worker: &WorkerState) {
        let Self { connection, permit, mut instance_guard, request_body, is_connection_reusable } = self;
        instance_guard.record_success();
        drop(permit);
        if is_connection_reusable && request_body.is_none_or(|body| body.is_complete()) {
            worker.pool.checkin(instance_guard.instance().address(), connection, Instant::now());
        }
    }
}

impl UpstreamBody {
    /// Reads what is available without waiting. A body that is complete becomes [`ResponseSource::Full`].
    ///
    /// # Errors
    /// With the guard of the instance, if the body is already known to be invalid or truncated.
    pub(crate) async fn read_available(mut self) -> Result<ResponseSource, (ProxyError, InstanceGuard)> {
        match poll_fn(|cx| Poll::Ready(self.poll_data(cx))).await {
            Poll::Ready(None) => Ok(ResponseSource::Full(None)),
            Poll::Ready(Some(Ok(piece))) if self.upstream_request.is_none() => Ok(ResponseSource::Full(Some(piece))),
            Poll::Ready(Some(Err(error))) => match self.upstream_request {
                Some(upstream_request) => Err((error, upstream_request.instance_guard)),
                None => Ok(ResponseSource::Full(None)),
            },
            Poll::Ready(Some(Ok(piece))) => {
                self.buffered = Some(piece);
                Ok(ResponseSource::Streaming(Box::new(self)))
            }
            Poll::Pending => Ok(ResponseSource::Streaming(Box::new(self))),
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProxyError>>> {
        if let Some(piece) = self.buffered.take() {
            return Poll::Ready(Some(Ok(piece)));
        }
        let Some(upstream_request) = &mut self.upstream_request else { return Poll::Ready(None) };
        let polled = upstream_request.connection.poll_data(cx, &mut self.incoming);
        if polled.is_pending() {
            let deadline = *self.waiting_since.get_or_insert_with(Instant::now) + self.read_timeout;
            return self.timer.borrow_mut().poll(cx, deadline).map(|()| Some(Err(ProxyError::Timeout)));
        }
        self.waiting_since = None;
        let piece = ready!(polled).transpose().map_err(ProxyError::Http);
        if matches!(piece, Ok(None)) || piece.is_ok() && self.incoming.is_end_stream() {
            self.finish();
        }
        Poll::Ready(piece.transpose())
    }

    fn finish(&mut self) {
        if let Some(upstream_request) = self.upstream_request.take() {
            upstream_request.complete(&self.worker);
        }
    }

    fn is_complete(&self) -> bool {
        self.buffered.is_none() && self.upstream_request.is_none()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let Self { source, guard } = self.get_mut();
        guard.record_client_progress();
        let upstream_body = match source {
            ResponseSource::Full(bytes) => {
                guard.mark_awaiting_client();
                return Poll::Ready(next_chunk(bytes).map(|piece| Ok(Frame::data(piece))));
            }
            ResponseSource::Streaming(upstream_body) => upstream_body,
        };
        let piece = ready!(upstream_body.poll_data(cx));
        guard.mark_awaiting_client();
        if let Some(Err(cause)) = &piece {
            let upstream_request = upstream_body.upstream_request.as_ref();
            let instance = upstream_request.map(|request| request.instance_guard.instance().address());
            tracing::debug!(?instance, %cause, "response truncated");
            // A close would look like the end of the response.
            if upstream_body.is_close_delimited {
                guard.connection().require_reset();
            }
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            ResponseSource::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            ResponseSource::Streaming(upstream_body) => upstream_body.is_complete(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            ResponseSource::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            ResponseSource::Streaming(upstream_body) => upstream_body.size_hint(),
        }
    }
}

/// Splits off at most [`MAX_CHUNK`] bytes, because hyper copies each piece as a whole into its buffer.
fn next_chunk(bytes: &mut Option<Bytes>) -> Option<Bytes> {
    let remaining = bytes.as_mut().filter(|remaining| !remaining.is_empty())?;
    Some(remaining.split_to(remaining.len().min(MAX_CHUNK)))
}

impl UpstreamBody {
    pub(crate) fn size_hint(&self) -> SizeHint {
        let buffered = self.buffered.as_ref().map_or(0, |piece| piece.len() as u64);
        let remaining = self.incoming.size_hint().exact();
        remaining.map_or_else(SizeHint::default, |remaining| SizeHint::with_exact(buffered + remaining))
    }
}

impl std::fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamBody").finish_non_exhaustive()
    }
}
