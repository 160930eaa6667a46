//! HTTP/1.1 server of services and admin ports: actix-http with a filter in front of each connection.
//!
//! actix-http 3.20 panics on a header name of 64 KiB or more, which httparse accepts and `http::HeaderName` rejects. No
//! setting bounds a head below 64 KiB, so `HeaderNameLimiter` scans the bytes read before actix-http parses them.

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

/// The longest header name that the `http` crate accepts, in bytes.
const MAX_HEADER_NAME_BYTES: usize = 65_535;
const HEADER_TOO_LARGE_RESPONSE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Timeouts of a client connection.
#[derive(Clone, Copy, Debug)]
pub struct ClientTimeouts {
    /// Timeout for receiving the head of a request.
    pub request_head: Duration,
    /// How long a connection may be idle between two requests.
    pub keep_alive: Duration,
}

/// Adds a server of `factory`'s application on `listener` to `builder`. `error_bodies` replaces the responses that
/// actix-http sends without calling the application; `name` identifies the server in errors. Header names of responses
/// are in Title-Case, since some clients compare them case-sensitively.
///
/// # Errors
/// If the listener cannot be used.
pub fn listen<F, I, S, B>(
    builder: ServerBuilder,
    name: &'static str,
    listener: TcpListener,
    timeouts: ClientTimeouts,
    error_bodies: ErrorBodies,
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
    let listen_error = |e: io::Error| ConfigError::new(format!("{name}: cannot listen: {e}"));
    let address = listener.local_addr().map_err(listen_error)?;
    let shutdown = builder.graceful_shutdown_signal();
    let build_service = move || {
        let shutdown = shutdown.clone();
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
                let shutdown = shutdown.clone();
                async move { shutdown.notified().await }
            })
            .keep_alive(timeouts.keep_alive)
            .client_request_timeout(timeouts.request_head)
            // Lingering close, as in actix-web's `HttpServer`: if the connection were closed while the client still
            // sends a body, a TCP reset could discard the error response.
            .client_disconnect_timeout(Duration::from_secs(1))
            .local_addr(address)
            // Host and address of the application for generated URLs; not used here, and not settable by clients.
            .finish(map_config(app, |()| AppConfig::default()));
        let error_bodies = error_bodies.clone();
        fn_service(move |socket: TcpStream| {
            let error_bodies = error_bodies.clone();
            async move {
                let peer = socket.peer_addr().ok();
                Ok((
                    ErrorBodyInjector::new(HeaderNameLimiter::new(socket, error_bodies.clone()), error_bodies),
                    Protocol::Http1,
                    peer,
                ))
            }
        })
        .and_then(http)
    };
    builder.listen(name, listener, build_service).map_err(listen_error)
}

/// A connection that answers a header name longer than [`MAX_HEADER_NAME_BYTES`] with 431 and closes. Names are
/// measured only in heads: from a line that ends in an HTTP version, as httparse requires of a request line, to an
/// empty line.
struct HeaderNameLimiter {
    socket: TcpStream,
    state: HeadScanState,
    error_bodies: ErrorBodies,
}

/// Position in the message after the bytes read so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeadScanState {
    /// In a request line or a body; with the last bytes of the current line.
    OutsideHead(LineTail),
    /// In a header name, after this many bytes of it.
    HeaderName(usize),
    /// After the header name, until the end of the line.
    AfterName,
}

/// The last bytes of a line: enough for `HTTP/1.1` and a carriage return.
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
    /// The position after `bytes`; `None` if they contain a header name that is too long.
    fn advance(mut self, mut bytes: &[u8]) -> Option<Self> {
        while let Some(first) = bytes.first() {
            let find_line_end = || bytes.iter().position(|byte| *byte == b'\n');
            (self, bytes) = match self {
                Self::OutsideHead(tail) => match find_line_end() {
                    None => return Some(Self::OutsideHead(tail.append(bytes))),
                    Some(end) if tail.append(&bytes[..end]).ends_with_http_version() => {
                        (Self::HeaderName(0), &bytes[end + 1..])
                    }
                    Some(end) => (Self::OutsideHead(LineTail::default()), &bytes[end + 1..]),
                },
                // An empty line ends the head.
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
                Self::AfterName => match find_line_end() {
                    Some(end) => (Self::HeaderName(0), &bytes[end + 1..]),
                    None => return Some(self),
                },
            };
        }
        Some(self)
    }
}

/// Whether `byte` is allowed in a token, such as a header name (RFC 9110, section 5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl HeaderNameLimiter {
    fn new(socket: TcpStream, error_bodies: ErrorBodies) -> Self {
        Self { socket, state: HeadScanState::OutsideHead(LineTail::default()), error_bodies }
    }

    /// The response to a header name that is too long.
    fn error_response(&self) -> &[u8] {
        error_bodies::response_for_status(&self.error_bodies, 431)
            .map_or(HEADER_TOO_LARGE_RESPONSE, |response| response)
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
            Some(state) => self.state = state,
            None => {
                buf.set_filled(before);
                // Best effort: the client may not be reading.
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

    /// The state after `bytes`, read in fragments of `fragment` bytes; `None` if they are rejected.
    fn scan(bytes: &[u8], fragment: usize) -> Option<HeadScanState> {
        bytes.chunks(fragment).try_fold(OUTSIDE_HEAD, HeadScanState::advance)
    }

    #[test]
    fn overlong_header_names_are_rejected_across_any_fragmentation() {
        let name = "x".repeat(MAX_HEADER_NAME_BYTES);
        for fragment in [1, 7, 4096, 1 << 20] {
            let accepted = format!("GET / HTTP/1.1\r\nhost: h\r\n{name}: y\r\n\r\n");
            assert!(matches!(scan(accepted.as_bytes(), fragment), Some(HeadScanState::OutsideHead(_))), "{fragment}");
            for overlong in [
                format!("GET / HTTP/1.1\r\n{name}x: y\r\n"),
                format!("GET / HTTP/1.0\n{name}x:"),
                format!("\r\n\r\nGET / HTTP/1.1\r\na: b\n{name}x:"),
                format!("POST / HTTP/1.1\r\n\r\nbodyGET / HTTP/1.1\r\n{name}x: y"),
            ] {
                assert_eq!(scan(overlong.as_bytes(), fragment), None, "{fragment}");
            }
        }
    }

    #[test]
    fn long_values_targets_and_bodies_are_accepted() {
        let long = "x".repeat(2 * MAX_HEADER_NAME_BYTES);
        for accepted in [
            format!("GET /{long} HTTP/1.1\r\n"),
            format!("GET / HTTP/1.1\r\na: {long}\r\n"),
            format!("POST / HTTP/1.1\r\nhost: h\r\n\r\n{{\"password\":\"{long}\"}}"),
            format!("POST / HTTP/1.1\r\nhost: h\r\n\r\nusername={long}&password={long}"),
            format!("POST / HTTP/1.1\r\nhost: h\r\n\r\n{long}:y\r\n{long}: y\r\n"),
        ] {
            for fragment in [1, 4096] {
                assert!(scan(accepted.as_bytes(), fragment).is_some(), "{}", &accepted[..20]);
            }
        }
    }
}
