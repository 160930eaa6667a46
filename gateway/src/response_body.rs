//! An answer's body on its way to a client.

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

/// How much of a body is handed to hyper at once.
const MAX_CHUNK: usize = 64 * 1024;

/// The body of an answer; the request lasts as long as it does.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    pub(crate) source: ResponseSource,
    pub(crate) guard: RequestGuard,
}

/// Where a body comes from.
#[derive(Debug)]
pub(crate) enum ResponseSource {
    /// None, or all of it.
    Full(Option<Bytes>),
    /// More of it is to come from a service.
    Streaming(Box<UpstreamBody>),
}

/// A body that comes while it is sent on.
pub(crate) struct UpstreamBody {
    pub(crate) incoming: Incoming,
    /// What came with the head.
    pub(crate) buffered: Option<Bytes>,
    /// Until the service has sent all of it.
    pub(crate) upstream_request: Option<UpstreamRequest>,
    pub(crate) worker: Rc<WorkerState>,
    pub(crate) timer: SharedTimer,
    /// It is given up when the service sends nothing for so long.
    pub(crate) read_timeout: Duration,
    /// Since when the service sends nothing.
    pub(crate) silent_since: Option<Instant>,
    /// The client learns by the end of its connection alone that the answer ends.
    pub(crate) is_close_delimited: bool,
}

/// A request that a service has not answered to the end.
pub(crate) struct UpstreamRequest {
    pub(crate) connection: UpstreamConnection,
    pub(crate) permit: Permit,
    pub(crate) instance_guard: InstanceGuard,
    /// What the service has not been sent of the request.
    pub(crate) request_body: Option<Rc<RequestBodyState>>,
    /// The answer leaves the connection to the service fit for another request.
    pub(crate) is_connection_reusable: bool,
}

impl UpstreamRequest {
    /// The service has sent all of its answer: its connection is kept for another request, if it can be.
    fn complete(self, worker: &WorkerState) {
        let Self {
            connection,
            permit,
            instance_guard: mut lease,
            request_body: upload,
            is_connection_reusable: is_reusable,
        } = self;
        lease.record_success();
        drop(permit);
        if is_reusable && upload.is_none_or(|upload| upload.is_complete()) {
            worker.pool.checkin(lease.instance().address(), connection, Instant::now());
        }
    }
}

impl UpstreamBody {
    /// What has come of the body with its head: all of it, or the beginning.
    pub(crate) async fn start(mut self) -> Result<ResponseSource, (ProxyError, InstanceGuard)> {
        match poll_fn(|cx| Poll::Ready(self.poll_data(cx))).await {
            Poll::Ready(None) => Ok(ResponseSource::Full(None)),
            Poll::Ready(Some(Ok(piece))) if self.upstream_request.is_none() => Ok(ResponseSource::Full(Some(piece))),
            Poll::Ready(Some(Err(error))) => match self.upstream_request {
                Some(exchange) => Err((error, exchange.instance_guard)),
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
        if let Some(next) = self.buffered.take() {
            return Poll::Ready(Some(Ok(next)));
        }
        let Some(exchange) = &mut self.upstream_request else { return Poll::Ready(None) };
        let polled = exchange.connection.poll_data(cx, &mut self.incoming);
        if polled.is_pending() {
            let silent = *self.silent_since.get_or_insert_with(Instant::now);
            return self
                .timer
                .borrow_mut()
                .poll(cx, silent + self.read_timeout)
                .map(|()| Some(Err(ProxyError::Timeout)));
        }
        self.silent_since = None;
        let piece = ready!(polled).transpose().map_err(ProxyError::Http);
        if matches!(piece, Ok(None)) || piece.is_ok() && self.incoming.is_end_stream() {
            self.finish();
        }
        Poll::Ready(piece.transpose())
    }

    fn finish(&mut self) {
        if let Some(exchange) = self.upstream_request.take() {
            exchange.complete(&self.worker);
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
        let Self { source: content, guard } = self.get_mut();
        guard.record_client_progress();
        let download = match content {
            ResponseSource::Full(bytes) => {
                guard.set_awaiting_client(true);
                return Poll::Ready(next_chunk(bytes).map(|piece| Ok(Frame::data(piece))));
            }
            ResponseSource::Streaming(download) => download,
        };
        let piece = ready!(download.poll_data(cx));
        guard.set_awaiting_client(true);
        if let Some(Err(cause)) = &piece {
            let instance =
                download.upstream_request.as_ref().map(|exchange| exchange.instance_guard.instance().address());
            tracing::debug!(?instance, %cause, "an answer was not handed on whole");
            // Where only the end of the connection marks the end of an answer, a plain one would.
            if download.is_close_delimited {
                guard.connection().require_reset();
            }
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            ResponseSource::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            ResponseSource::Streaming(download) => download.is_complete(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            ResponseSource::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            ResponseSource::Streaming(download) => download.size_hint(),
        }
    }
}

/// At most as much at once as hyper is to copy.
fn next_chunk(bytes: &mut Option<Bytes>) -> Option<Bytes> {
    let rest = bytes.as_mut().filter(|rest| !rest.is_empty())?;
    Some(rest.split_to(rest.len().min(MAX_CHUNK)))
}

impl UpstreamBody {
    pub(crate) fn size_hint(&self) -> SizeHint {
        let ahead = self.buffered.as_ref().map_or(0, |next| next.len() as u64);
        let rest = self.incoming.size_hint().exact();
        rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(ahead + rest))
    }
}

impl std::fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").finish_non_exhaustive()
    }
}
