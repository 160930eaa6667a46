//! Bodies for the error responses that actix-http sends itself, without calling the application: to a malformed request
//! line or head, and when the head does not arrive in time. These responses have no body, so the dialect's response
//! replaces them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::web::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Complete responses (head and body) by status, which replace error responses without a body.
pub type ErrorBodies = Arc<[(u16, Bytes)]>;

/// A connection that replaces error responses without a body.
pub(crate) struct ErrorBodyInjector<T> {
    io: T,
    error_bodies: ErrorBodies,
    /// The part of a replacement that is still to be written.
    unwritten: Bytes,
}

impl<T> ErrorBodyInjector<T> {
    pub(crate) fn new(io: T, error_bodies: ErrorBodies) -> Self {
        Self { io, error_bodies, unwritten: Bytes::new() }
    }
}

/// The replacement for a status, if there is one.
pub(crate) fn response_for_status(error_bodies: &ErrorBodies, status: u16) -> Option<&Bytes> {
    error_bodies.iter().find(|(of_status, _)| *of_status == status).map(|(_, response)| response)
}

/// Offset and status of the last response in `responses` if it is a 4xx without a body. Applications send every 4xx
/// with a body, so such a response comes from actix-http.
fn find_bodyless_error(responses: &[u8]) -> Option<(usize, u16)> {
    const START: &[u8] = b"HTTP/1.1 4";
    let head = responses.strip_suffix(b"\r\n\r\n")?;
    let start = head.windows(START.len()).rposition(|window| window == START)?;
    let head = std::str::from_utf8(&head[start..]).ok().filter(|head| !head.contains("\r\n\r\n"))?;
    let status = head.get(9..12)?.parse().ok()?;
    let is_zero_length = |line: &str| line.eq_ignore_ascii_case("content-length: 0");
    head.split("\r\n").any(is_zero_length).then_some((start, status))
}

impl<T: AsyncRead + Unpin> AsyncRead for ErrorBodyInjector<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ErrorBodyInjector<T> {
    /// Reports an error response as written when its replacement has been written.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.unwritten.is_empty() {
            let replacement = find_bodyless_error(bytes)
                .and_then(|(start, status)| Some((start, response_for_status(&self.error_bodies, status)?.clone())));
            match replacement {
                None => return Pin::new(&mut self.io).poll_write(cx, bytes),
                Some((0, response)) => self.unwritten = response,
                Some((start, _)) => return Pin::new(&mut self.io).poll_write(cx, &bytes[..start]),
            }
        }
        while !self.unwritten.is_empty() {
            let this = &mut *self;
            let written = ready!(Pin::new(&mut this.io).poll_write(cx, &this.unwritten))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.unwritten.advance(written);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const BODYLESS_ERROR: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const ERROR_WITH_BODY: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";

    /// The bytes that a client receives after these writes, over a connection that buffers `capacity` bytes.
    async fn received_by_client(writes: &[&str], capacity: usize) -> String {
        let (mut client, server) = tokio::io::duplex(capacity);
        let mut server =
            ErrorBodyInjector::new(server, vec![(400, Bytes::from_static(ERROR_WITH_BODY.as_bytes()))].into());
        let mut received = String::new();
        let write = async move {
            for bytes in writes {
                server.write_all(bytes.as_bytes()).await.unwrap();
            }
        };
        let (_, read) = tokio::join!(write, client.read_to_string(&mut received));
        read.unwrap();
        received
    }

    #[tokio::test]
    async fn only_a_bodyless_error_response_is_replaced() {
        let success = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nHTTP/1.1 4\r\n\r\n";
        let other = "HTTP/1.1 431 Too Large\r\ncontent-length: 0\r\n\r\n";
        for capacity in [1, 7, 4096] {
            assert_eq!(received_by_client(&[BODYLESS_ERROR], capacity).await, ERROR_WITH_BODY);
            assert_eq!(
                received_by_client(&[success, BODYLESS_ERROR], capacity).await,
                format!("{success}{ERROR_WITH_BODY}")
            );
            assert_eq!(
                received_by_client(&[&format!("{success}{BODYLESS_ERROR}")], capacity).await,
                format!("{success}{ERROR_WITH_BODY}")
            );
            for unchanged in
                [success, ERROR_WITH_BODY, other, "HTTP/1.1 400 B\r\nContent-Length: 9\r\n\r\n", "\r\n\r\n"]
            {
                assert_eq!(received_by_client(&[unchanged], capacity).await, *unchanged);
            }
        }
    }
}
