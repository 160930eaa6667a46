//! HTTP/1.1 connection to an instance, by hyper. A connection has no task of its own: the request that uses it polls
//! it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::client_connection::SharedTimer;
use crate::error_pages::Rejection;
use crate::request_body::RequestBody;

/// Connect timeout. When it expires, the request is retried on another instance.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum size of a response head, and of the part of a body that is read ahead (backpressure), in bytes.
const MAX_READ_BUFFER: usize = 64 * 1024;

/// Why a request got no upstream response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The client caused the error, not the instance.
    #[error("the request body was rejected")]
    Rejected(Rejection),
    #[error("the client aborted the request")]
    ClientAborted,
    #[error("upstream timeout")]
    Timeout,
    #[error("{0}")]
    Io(io::Error),
    #[error("{}", stele_service::with_sources(.0))]
    Http(hyper::Error),
    #[error("the upstream response is not valid HTTP/1.1")]
    Malformed,
    #[error("no upstream instance is available")]
    Unavailable,
}

/// A connection to an instance.
#[derive(Debug)]
pub(crate) struct UpstreamConnection {
    sender: SendRequest<RequestBody>,
    driver: Connection<TokioIo<SharedSocket>, RequestBody>,
    socket: SharedSocket,
    /// hyper has ended the connection.
    is_closed: bool,
}

/// The socket, used by hyper and by [`UpstreamConnection::is_idle`].
#[derive(Clone, Debug)]
struct SharedSocket(Rc<RefCell<TcpStream>>);

/// Connects to `address`, until `deadline` or [`CONNECT_TIMEOUT`], whichever is earlier.
pub(crate) async fn connect(
    address: SocketAddr,
    deadline: Instant,
    timer: &SharedTimer,
) -> Result<UpstreamConnection, ProxyError> {
    let deadline = deadline.min(Instant::now() + CONNECT_TIMEOUT);
    let mut connecting = pin!(TcpStream::connect(address));
    let socket = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result.map_err(ProxyError::Io)),
        Poll::Pending => timer.borrow_mut().poll(cx, deadline).map(|()| Err(ProxyError::Timeout)),
    });
    UpstreamConnection::new(socket.await?).await.map_err(ProxyError::Http)
}

impl UpstreamConnection {
    pub(crate) async fn new(socket: TcpStream) -> hyper::Result<Self> {
        // An error is ignored: it costs latency only.
        let _ = socket.set_nodelay(true);
        let socket = SharedSocket(Rc::new(RefCell::new(socket)));
        let mut builder = Builder::new();
        builder.max_buf_size(MAX_READ_BUFFER).writev(false);
        let (sender, driver) = builder.handshake(TokioIo::new(socket.clone())).await?;
        Ok(Self { sender, driver, socket, is_closed: false })
    }

    /// Sends a request and returns the response head. `poll_timeout` is polled until the head arrives; an error of
    /// `poll_timeout` ends the wait.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
        mut poll_timeout: impl FnMut(&mut Context<'_>) -> Poll<ProxyError>,
    ) -> Result<Response<Incoming>, ProxyError> {
        let mut sending = pin!(self.sender.send_request(request));
        poll_fn(|cx| {
            if !self.is_closed {
                self.is_closed = Pin::new(&mut self.driver).poll(cx).is_ready();
            }
            match sending.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(response.map_err(ProxyError::Http)),
                Poll::Pending => poll_timeout(cx).map(Err),
            }
        })
        .await
    }

    /// The next piece of a response body. Trailers end the body and are dropped.
    pub(crate) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Incoming,
    ) -> Poll<Option<hyper::Result<Bytes>>> {
        let mut polled = Pin::new(&mut *body).poll_frame(cx);
        if polled.is_pending() && !self.is_closed {
            self.is_closed = Pin::new(&mut self.driver).poll(cx).is_ready();
            polled = Pin::new(body).poll_frame(cx);
        }
        polled.map(|frame| frame?.map(|frame| frame.into_data().ok()).transpose())
    }

    /// Whether the connection can be reused and has received nothing since its last response: no bytes, no end of
    /// stream.
    pub(crate) fn is_idle(&self) -> bool {
        let mut byte = [0];
        let read = self.socket.0.borrow().try_read(&mut byte);
        let has_no_input = matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        has_no_input && self.is_reusable()
    }

    /// Whether hyper accepts another request on this connection.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.is_closed && self.sender.is_ready()
    }
}

impl AsyncRead for SharedSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for SharedSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)
    }
}
