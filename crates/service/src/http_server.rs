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

use crate::config::ConfigError;
use crate::error_bodies::{self, ErrorBodies, ErrorBodyInjector};

/// The longest header name that `http` takes, in bytes.
const MAX_HEADER_NAME_BYTES: usize = 65_535;
const HEADER_TOO_LARGE_RESPONSE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct ClientTimeouts {
    /// To send the head of a request.
    pub request_head: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
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
    times: ClientTimeouts,
    refusals: ErrorBodies,
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
            .keep_alive(times.keep_alive)
            .client_request_timeout(times.request_head)
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
                Ok((
                    ErrorBodyInjector::new(HeaderNameLimiter::new(socket, refusals.clone()), refusals),
                    Protocol::Http1,
                    peer,
                ))
            }
        })
        .and_then(http)
    };
    builder.listen(name, listener, service).map_err(fault)
}

/// A connection of which no header name is read that is longer than [`LONGEST_NAME`]: it is answered with 431 and
/// broken off. Names are measured in heads alone: from behind a line that ends in an HTTP version, where httparse demands
/// that a request line ends, up to an empty line.
struct HeaderNameLimiter {
    socket: TcpStream,
    state: HeadScanState,
    error_bodies: ErrorBodies,
}

/// Where in a line what was read ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeadScanState {
    /// Not in a head: in a request line or in a body, of which these are the last bytes.
    OutsideHead(LineTail),
    /// In the beginning of a head's line, of so many characters that a name may have.
    HeaderName(usize),
    /// Behind that.
    AfterName,
}

/// The last bytes of a line: enough for an HTTP version and a carriage return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LineTail([u8; 9]);

impl LineTail {
    fn append(mut self, more: &[u8]) -> Self {
        let more = &more[more.len().saturating_sub(self.0.len())..];
        self.0.rotate_left(more.len());
        let at = self.0.len() - more.len();
        self.0[at..].copy_from_slice(more);
        self
    }

    fn ends_with_http_version(&self) -> bool {
        let line = self.0.strip_suffix(b"\r").unwrap_or(&self.0);
        line.ends_with(b"HTTP/1.1") || line.ends_with(b"HTTP/1.0")
    }
}

impl HeadScanState {
    /// Where it ends with `bytes` more; `None` if there is too long a name in them.
    fn advance(mut self, mut bytes: &[u8]) -> Option<Self> {
        while let Some(first) = bytes.first() {
            let end = || bytes.iter().position(|byte| *byte == b'\n');
            (self, bytes) = match self {
                Self::OutsideHead(tail) => match end() {
                    None => return Some(Self::OutsideHead(tail.append(bytes))),
                    Some(end) if tail.append(&bytes[..end]).ends_with_http_version() => {
                        (Self::HeaderName(0), &bytes[end + 1..])
                    }
                    Some(end) => (Self::OutsideHead(LineTail::default()), &bytes[end + 1..]),
                },
                // An empty line: the head's end.
                Self::HeaderName(0) if matches!(first, b'\r' | b'\n') => {
                    (Self::OutsideHead(LineTail::default()), &bytes[1..])
                }
                Self::HeaderName(before) => {
                    let more = bytes.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(bytes.len());
                    let length = before + more;
                    match bytes.get(more) {
                        None => (Self::HeaderName(length), &bytes[more..]),
                        Some(b':') if length > MAX_HEADER_NAME_BYTES => return None,
                        Some(_) => (Self::AfterName, &bytes[more..]),
                    }
                }
                Self::AfterName => match end() {
                    Some(end) => (Self::HeaderName(0), &bytes[end + 1..]),
                    None => return Some(self),
                },
            };
        }
        Some(self)
    }
}

/// Whether a token may have it, as a header's name is: RFC 9110, section 5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl HeaderNameLimiter {
    fn new(socket: TcpStream, refusals: ErrorBodies) -> Self {
        Self { socket, state: HeadScanState::OutsideHead(LineTail::default()), error_bodies: refusals }
    }

    /// What a name that is too long is answered.
    fn error_response(&self) -> &[u8] {
        error_bodies::response_for_status(&self.error_bodies, 431).map_or(HEADER_TOO_LARGE_RESPONSE, |whole| whole)
    }
}

impl AsyncRead for HeaderNameLimiter {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        match self.state.advance(buf.filled().get(before..).unwrap_or_default()) {
            Some(line) => self.state = line,
            None => {
                buf.set_filled(before);
                // The client need not read it.
                let _ = self.socket.try_write(self.error_response());
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a header name is too long")));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HeaderNameLimiter {
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

    const OUTSIDE_HEAD: HeadScanState = HeadScanState::OutsideHead(LineTail([0; 9]));

    /// What is read of `bytes`, in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Option<HeadScanState> {
        bytes.chunks(piece).try_fold(OUTSIDE_HEAD, HeadScanState::advance)
    }

    #[test]
    fn overlong_header_names_are_rejected_across_any_fragmentation() {
        let name = "x".repeat(MAX_HEADER_NAME_BYTES);
        for piece in [1, 7, 4096, 1 << 20] {
            let fine = format!("GET / HTTP/1.1\r\nhost: h\r\n{name}: y\r\n\r\n");
            assert!(matches!(read(fine.as_bytes(), piece), Some(HeadScanState::OutsideHead(_))), "{piece}");
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
    fn long_values_targets_and_bodies_are_accepted() {
        let long = "x".repeat(2 * MAX_HEADER_NAME_BYTES);
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
