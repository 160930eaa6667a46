//! The HTTP/1.1 server of services and admin ports: actix's, behind a guard on each connection.
//!
//! actix-http 3.20 panics on a header name of 64 KiB or more, which httparse reads and `http::HeaderName` refuses. It has
//! no setting that bounds a head below that, so `NameGuard` looks at what is read before actix-http does.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::{HttpService, Protocol, Request, Response};
use actix_server::ServerBuilder;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::bare_refusal::{self, Refusals, WithRefusals};
use crate::config::ConfigError;

/// The longest header name that `http` takes, in bytes.
const LONGEST_NAME: usize = 65_535;
const REFUSAL: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// To send the head of a request.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
}

/// Adds a server of `factory`'s application on `listener`, with `refusals` where no application is asked; `name` is what
/// errors call it. The names of its answers' headers are in Title-Case, for some clients look them up by letter case.
///
/// # Errors
/// If the listener cannot be used.
pub fn listen<F, I, S, B>(
    builder: ServerBuilder,
    name: &'static str,
    listener: TcpListener,
    times: Times,
    refusals: Refusals,
    factory: F,
) -> Result<ServerBuilder, ConfigError>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let fault = |e: io::Error| ConfigError::new(format!("{name}: cannot listen: {e}"));
    let address = listener.local_addr().map_err(fault)?;
    let stopping = builder.graceful_shutdown_signal();
    let service = move || {
        let stopping = stopping.clone();
        let app = factory().into_factory().map(|response| {
            let mut response: Response<B> = response.into();
            response.head_mut().set_camel_case_headers(true);
            response
        });
        let app = app.map_err(|error| {
            let mut response = error.into().error_response();
            response.head_mut().set_camel_case_headers(true);
            response
        });
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(times.idle)
            .client_request_timeout(times.head)
            // As `HttpServer`'s: closed at once, a refusal of a body that still comes could be lost in a reset.
            .client_disconnect_timeout(Duration::from_secs(1))
            .local_addr(address)
            // Where the application is: asked by nothing here, and not for others to set.
            .finish(map_config(app, |()| AppConfig::default()));
        let refusals = refusals.clone();
        fn_service(move |socket: TcpStream| {
            let refusals = refusals.clone();
            async move {
                let peer = socket.peer_addr().ok();
                Ok((WithRefusals::new(NameGuard::new(socket, refusals.clone()), refusals), Protocol::Http1, peer))
            }
        })
        .and_then(http)
    };
    builder.listen(name, listener, service).map_err(fault)
}

/// A connection of which no header name is read that is longer than [`LONGEST_NAME`]: it is answered with 431 and
/// broken off. Names are measured in heads alone: from behind a line that ends in an HTTP version, where httparse demands
/// that a request line ends, up to an empty line.
struct NameGuard {
    socket: TcpStream,
    line: Line,
    refusals: Refusals,
}

/// Where in a line what was read ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Not in a head: in a request line or in a body, of which these are the last bytes.
    Outside(Tail),
    /// In the beginning of a head's line, of so many characters that a name may have.
    Name(usize),
    /// Behind that.
    Rest,
}

/// The last bytes of a line: enough for an HTTP version and a carriage return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tail([u8; 9]);

impl Tail {
    fn with(mut self, more: &[u8]) -> Self {
        let more = &more[more.len().saturating_sub(self.0.len())..];
        self.0.rotate_left(more.len());
        let at = self.0.len() - more.len();
        self.0[at..].copy_from_slice(more);
        self
    }

    fn is_version(&self) -> bool {
        let line = self.0.strip_suffix(b"\r").unwrap_or(&self.0);
        line.ends_with(b"HTTP/1.1") || line.ends_with(b"HTTP/1.0")
    }
}

impl Line {
    /// Where it ends with `bytes` more; `None` if there is too long a name in them.
    fn read(mut self, mut bytes: &[u8]) -> Option<Self> {
        while let Some(first) = bytes.first() {
            let end = || bytes.iter().position(|byte| *byte == b'\n');
            (self, bytes) = match self {
                Self::Outside(tail) => match end() {
                    None => return Some(Self::Outside(tail.with(bytes))),
                    Some(end) if tail.with(&bytes[..end]).is_version() => (Self::Name(0), &bytes[end + 1..]),
                    Some(end) => (Self::Outside(Tail::default()), &bytes[end + 1..]),
                },
                // An empty line: the head's end.
                Self::Name(0) if matches!(first, b'\r' | b'\n') => (Self::Outside(Tail::default()), &bytes[1..]),
                Self::Name(before) => {
                    let more = bytes.iter().position(|byte| !is_token(*byte)).unwrap_or(bytes.len());
                    let length = before + more;
                    match bytes.get(more) {
                        None => (Self::Name(length), &bytes[more..]),
                        Some(b':') if length > LONGEST_NAME => return None,
                        Some(_) => (Self::Rest, &bytes[more..]),
                    }
                }
                Self::Rest => match end() {
                    Some(end) => (Self::Name(0), &bytes[end + 1..]),
                    None => return Some(self),
                },
            };
        }
        Some(self)
    }
}

/// Whether a token may have it, as a header's name is: RFC 9110, section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl NameGuard {
    fn new(socket: TcpStream, refusals: Refusals) -> Self {
        Self { socket, line: Line::Outside(Tail::default()), refusals }
    }

    /// What a name that is too long is answered.
    fn refusal(&self) -> &[u8] {
        bare_refusal::find(&self.refusals, 431).map_or(REFUSAL, |whole| whole)
    }
}

impl AsyncRead for NameGuard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        match self.line.read(buf.filled().get(before..).unwrap_or_default()) {
            Some(line) => self.line = line,
            None => {
                buf.set_filled(before);
                // The client need not read it.
                let _ = self.socket.try_write(self.refusal());
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a header name is too long")));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for NameGuard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTSIDE: Line = Line::Outside(Tail([0; 9]));

    /// What is read of `bytes`, in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Option<Line> {
        bytes.chunks(piece).try_fold(OUTSIDE, Line::read)
    }

    #[test]
    fn names_are_measured_however_they_arrive() {
        let name = "x".repeat(LONGEST_NAME);
        for piece in [1, 7, 4096, 1 << 20] {
            let fine = format!("GET / HTTP/1.1\r\nhost: h\r\n{name}: y\r\n\r\n");
            assert!(matches!(read(fine.as_bytes(), piece), Some(Line::Outside(_))), "{piece}");
            for long in [
                format!("GET / HTTP/1.1\r\n{name}x: y\r\n"),
                format!("GET / HTTP/1.0\n{name}x:"),
                format!("\r\n\r\nGET / HTTP/1.1\r\na: b\n{name}x:"),
                format!("POST / HTTP/1.1\r\n\r\nbodyGET / HTTP/1.1\r\n{name}x: y"),
            ] {
                assert_eq!(read(long.as_bytes(), piece), None, "{piece}");
            }
        }
    }

    #[test]
    fn values_targets_and_bodies_are_not_names() {
        let long = "x".repeat(2 * LONGEST_NAME);
        for fine in [
            format!("GET /{long} HTTP/1.1\r\n"),
            format!("GET / HTTP/1.1\r\na: {long}\r\n"),
            format!("POST / HTTP/1.1\r\nhost: h\r\n\r\n{{\"password\":\"{long}\"}}"),
            format!("POST / HTTP/1.1\r\nhost: h\r\n\r\nusername={long}&password={long}"),
            format!("POST / HTTP/1.1\r\nhost: h\r\n\r\n{long}:y\r\n{long}: y\r\n"),
        ] {
            for piece in [1, 4096] {
                assert!(read(fine.as_bytes(), piece).is_some(), "{}", &fine[..20]);
            }
        }
    }
}
