//! Client socket for hyper, plain or TLS: reports reads and blocked writes to the connection's timeouts, and withholds
//! hyper's error responses without a body.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::client_connection::{ConnectionState, Protocol, Scheme, WriteState};
use crate::hyper_error_response;

/// A client's socket, plain or with TLS.
#[derive(Debug)]
pub(crate) enum ClientStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The client's stream that hyper reads and writes.
#[derive(Debug)]
pub(crate) struct ClientIo {
    stream: ClientStream,
    state: Rc<ConnectionState>,
    /// hyper's error response without a body to a head that it cannot parse. Withheld: the gateway sends an error page
    /// instead.
    suppressed_response: Option<Vec<u8>>,
}

impl ClientStream {
    pub(crate) fn scheme(&self) -> Scheme {
        match self {
            Self::Plain(_) => Scheme::Http,
            Self::Tls(_) => Scheme::Https,
        }
    }

    /// The protocol negotiated by ALPN; HTTP/1.1 without TLS.
    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2".as_slice()) => Protocol::Http2,
            Self::Plain(_) | Self::Tls(_) => Protocol::Http1,
        }
    }
}

impl ClientIo {
    pub(crate) fn new(stream: ClientStream, state: Rc<ConnectionState>) -> Self {
        Self { stream, state, suppressed_response: None }
    }

    /// The TCP socket; for a TLS stream, the socket that carries it.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match &self.stream {
            ClientStream::Plain(tcp) => tcp,
            ClientStream::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Removes and returns hyper's error response that was withheld.
    pub(crate) fn take_suppressed_response(&mut self) -> Option<Vec<u8>> {
        self.suppressed_response.take()
    }

    /// Shuts down the write side. hyper's own shutdown does nothing: see `poll_shutdown`.
    pub(crate) fn poll_close_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            ClientStream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            ClientStream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    fn record_write_result<T>(&self, written: Poll<T>) -> Poll<T> {
        self.state.record_write(if written.is_pending() { WriteState::Blocked } else { WriteState::Ready });
        written
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.stream {
            ClientStream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            ClientStream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        })?;
        if let Some(bytes @ [_, ..]) = buf.filled().get(before..) {
            self.state.record_read(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.suppressed_response.is_none() && hyper_error_response::status_of_bare_error(buf).is_some() {
            self.suppressed_response = Some(buf.to_vec());
            return Poll::Ready(Ok(buf.len()));
        }
        let written = match &mut self.stream {
            ClientStream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            ClientStream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        };
        self.record_write_result(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.stream {
            ClientStream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            ClientStream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        };
        self.record_write_result(flushed)
    }

    /// Does nothing: the connection is closed after hyper has released it, by [`crate::lingering_close`].
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
