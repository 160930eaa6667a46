//! A connection to an instance, by hyper. It is driven by the request that it is used for: no task of its own.

use std::cell::RefCell;
use std::error::Error;
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

/// An instance on this network accepts at once, or another one is asked.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest head of an answer, and the most that is read ahead of a body.
const MAX_READ_BUFFER: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The client's fault, not the instance's.
    #[error("the client's body was refused")]
    Rejected(Rejection),
    #[error("the client went")]
    ClientAborted,
    #[error("no answer in time")]
    Timeout,
    #[error("{0}")]
    Io(io::Error),
    #[error("{}", with_sources(.0))]
    Http(hyper::Error),
    #[error("its answer is not HTTP/1.1")]
    Malformed,
    #[error("no instance can be asked")]
    Unavailable,
}

/// A connection to an instance.
#[derive(Debug)]
pub(crate) struct UpstreamConnection {
    sender: SendRequest<RequestBody>,
    driver: Connection<TokioIo<SharedSocket>, RequestBody>,
    socket: SharedSocket,
    /// hyper has closed it.
    is_closed: bool,
}

/// The socket, which hyper holds and the pool looks at.
#[derive(Clone, Debug)]
struct SharedSocket(Rc<RefCell<TcpStream>>);

/// Connects to `address` before `due`.
pub(crate) async fn connect(
    address: SocketAddr,
    due: Instant,
    alarm: &SharedTimer,
) -> Result<UpstreamConnection, ProxyError> {
    let due = due.min(Instant::now() + CONNECT_TIMEOUT);
    let mut connecting = pin!(TcpStream::connect(address));
    let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(connected.map_err(ProxyError::Io)),
        Poll::Pending => alarm.borrow_mut().poll(cx, due).map(|()| Err(ProxyError::Timeout)),
    });
    UpstreamConnection::new(connected.await?).await.map_err(ProxyError::Http)
}

impl UpstreamConnection {
    pub(crate) async fn new(socket: TcpStream) -> hyper::Result<Self> {
        // Without it messages are late, not wrong.
        let _ = socket.set_nodelay(true);
        let socket = SharedSocket(Rc::new(RefCell::new(socket)));
        let mut builder = Builder::new();
        builder.max_buf_size(MAX_READ_BUFFER).writev(false);
        let (sender, driver) = builder.handshake(TokioIo::new(socket.clone())).await?;
        Ok(Self { sender, driver, socket, is_closed: false })
    }

    /// Sends a request; the head of its answer, unless `late` is ready before.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
        mut late: impl FnMut(&mut Context<'_>) -> Poll<ProxyError>,
    ) -> Result<Response<Incoming>, ProxyError> {
        let mut answering = pin!(self.sender.send_request(request));
        poll_fn(|cx| {
            if !self.is_closed {
                self.is_closed = Pin::new(&mut self.driver).poll(cx).is_ready();
            }
            match answering.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(answer.map_err(ProxyError::Http)),
                Poll::Pending => late(cx).map(Err),
            }
        })
        .await
    }

    /// The next piece of an answer's body; trailers end it.
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

    /// Whether another request may be sent, and nothing that was not asked for has come: neither bytes nor the end, as
    /// far as the reactor knows.
    pub(crate) fn is_idle(&self) -> bool {
        let mut byte = [0];
        let read = self.socket.0.borrow().try_read(&mut byte);
        let is_silent = matches!(read, Err(cause) if cause.kind() == io::ErrorKind::WouldBlock);
        is_silent && self.is_reusable()
    }

    /// Whether hyper takes another request.
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

/// An error and what it came of, which hyper's own words leave out.
pub(crate) fn with_sources(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_sources(source)),
        None => error.to_string(),
    }
}
