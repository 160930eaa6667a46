//! An answer's body on its way to a client.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use crate::connection::{RequestGuard, SharedAlarm};
use crate::proxy::WorkerState;
use crate::request_body::Upload;
use crate::upstreams::connection::{ProxyError, UpstreamConnection};
use crate::upstreams::instance::Lease;
use crate::upstreams::pool::Permit;

/// How much of a body is handed to hyper at once.
const LARGEST_PIECE: usize = 64 * 1024;

/// The body of an answer; the request lasts as long as it does.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    pub(crate) content: Content,
    pub(crate) guard: RequestGuard,
}

/// Where a body comes from.
#[derive(Debug)]
pub(crate) enum Content {
    /// None, or all of it.
    Whole(Option<Bytes>),
    /// More of it is to come from a service.
    Streamed(Box<Download>),
}

/// A body that comes while it is sent on.
pub(crate) struct Download {
    pub(crate) incoming: Incoming,
    /// What came with the head.
    pub(crate) next: Option<Bytes>,
    /// Until the service has sent all of it.
    pub(crate) exchange: Option<Exchange>,
    pub(crate) worker: Rc<WorkerState>,
    pub(crate) alarm: SharedAlarm,
    /// It is given up when the service sends nothing for so long.
    pub(crate) patience: Duration,
    /// Since when the service sends nothing.
    pub(crate) silent: Option<Instant>,
    /// The client learns by the end of its connection alone that the answer ends.
    pub(crate) ends_with_connection: bool,
}

/// A request that a service has not answered to the end.
pub(crate) struct Exchange {
    pub(crate) connection: UpstreamConnection,
    pub(crate) permit: Permit,
    pub(crate) lease: Lease,
    /// What the service has not been sent of the request.
    pub(crate) upload: Option<Rc<Upload>>,
    /// The answer leaves the connection to the service fit for another request.
    pub(crate) is_reusable: bool,
}

impl Exchange {
    /// The service has sent all of its answer: its connection is kept for another request, if it can be.
    fn end(self, worker: &WorkerState) {
        let Self { connection, permit, mut lease, upload, is_reusable } = self;
        lease.succeeded();
        drop(permit);
        if is_reusable && upload.is_none_or(|upload| upload.is_over()) {
            worker.pool.checkin(lease.instance().address(), connection, Instant::now());
        }
    }
}

impl Download {
    /// What has come of the body with its head: all of it, or the beginning.
    pub(crate) async fn begin(mut self) -> Result<Content, (ProxyError, Lease)> {
        match poll_fn(|cx| Poll::Ready(self.poll_piece(cx))).await {
            Poll::Ready(None) => Ok(Content::Whole(None)),
            Poll::Ready(Some(Ok(piece))) if self.exchange.is_none() => Ok(Content::Whole(Some(piece))),
            Poll::Ready(Some(Err(error))) => match self.exchange {
                Some(exchange) => Err((error, exchange.lease)),
                None => Ok(Content::Whole(None)),
            },
            Poll::Ready(Some(Ok(piece))) => {
                self.next = Some(piece);
                Ok(Content::Streamed(Box::new(self)))
            }
            Poll::Pending => Ok(Content::Streamed(Box::new(self))),
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProxyError>>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(Ok(next)));
        }
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(None) };
        let polled = exchange.connection.poll_piece(cx, &mut self.incoming);
        if polled.is_pending() {
            let silent = *self.silent.get_or_insert_with(Instant::now);
            return self.alarm.borrow_mut().poll(cx, silent + self.patience).map(|()| Some(Err(ProxyError::Timeout)));
        }
        self.silent = None;
        let piece = ready!(polled).transpose().map_err(ProxyError::Http);
        if matches!(piece, Ok(None)) || piece.is_ok() && self.incoming.is_end_stream() {
            self.finish();
        }
        Poll::Ready(piece.transpose())
    }

    fn finish(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.end(&self.worker);
        }
    }

    fn is_over(&self) -> bool {
        self.next.is_none() && self.exchange.is_none()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let Self { content, guard } = self.get_mut();
        guard.take();
        let download = match content {
            Content::Whole(bytes) => {
                guard.offer(true);
                return Poll::Ready(next_piece(bytes).map(|piece| Ok(Frame::data(piece))));
            }
            Content::Streamed(download) => download,
        };
        let piece = ready!(download.poll_piece(cx));
        guard.offer(true);
        if let Some(Err(cause)) = &piece {
            let instance = download.exchange.as_ref().map(|exchange| exchange.lease.instance().address());
            tracing::debug!(?instance, %cause, "an answer was not handed on whole");
            // Where only the end of the connection marks the end of an answer, a plain one would.
            if download.ends_with_connection {
                guard.connection().break_off();
            }
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Streamed(download) => download.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Streamed(download) => download.size_hint(),
        }
    }
}

/// At most as much at once as hyper is to copy.
fn next_piece(bytes: &mut Option<Bytes>) -> Option<Bytes> {
    let rest = bytes.as_mut().filter(|rest| !rest.is_empty())?;
    Some(rest.split_to(rest.len().min(LARGEST_PIECE)))
}

impl Download {
    pub(crate) fn size_hint(&self) -> SizeHint {
        let ahead = self.next.as_ref().map_or(0, |next| next.len() as u64);
        let rest = self.incoming.size_hint().exact();
        rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(ahead + rest))
    }
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").finish_non_exhaustive()
    }
}
