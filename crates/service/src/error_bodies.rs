//! Answers that actix-http gives itself, before an application is asked: to a request line or a head that it cannot
//! read, and to one that does not come. They have no body; here they get the application's own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::web::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whole responses, by status, in place of those without a body.
pub type ErrorBodies = Arc<[(u16, Bytes)]>;

/// A connection on which a refusal without a body is replaced.
pub(crate) struct ErrorBodyInjector<T> {
    io: T,
    error_bodies: ErrorBodies,
    /// What is left to write of a replacement.
    unwritten: Bytes,
}

impl<T> ErrorBodyInjector<T> {
    pub(crate) fn new(io: T, refusals: ErrorBodies) -> Self {
        Self { io, error_bodies: refusals, unwritten: Bytes::new() }
    }
}

/// The response for a status, if there is one.
pub(crate) fn response_for_status(refusals: &ErrorBodies, status: u16) -> Option<&Bytes> {
    refusals.iter().find(|(known, _)| *known == status).map(|(_, whole)| whole)
}

/// Where the last of these responses starts, and its status, if it is a failure without a body. Applications answer none.
fn find_bodyless_error(responses: &[u8]) -> Option<(usize, u16)> {
    const START: &[u8] = b"HTTP/1.1 4";
    let head = responses.strip_suffix(b"\r\n\r\n")?;
    let start = head.windows(START.len()).rposition(|window| window == START)?;
    let head = std::str::from_utf8(&head[start..]).ok().filter(|head| !head.contains("\r\n\r\n"))?;
    let status = head.get(9..12)?.parse().ok()?;
    let is_empty = |line: &str| line.eq_ignore_ascii_case("content-length: 0");
    head.split("\r\n").any(is_empty).then_some((start, status))
}

impl<T: AsyncRead + Unpin> AsyncRead for ErrorBodyInjector<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ErrorBodyInjector<T> {
    /// Takes a refusal as written once its replacement is.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.unwritten.is_empty() {
            let found = find_bodyless_error(bytes)
                .and_then(|(start, status)| Some((start, response_for_status(&self.error_bodies, status)?.clone())));
            match found {
                None => return Pin::new(&mut self.io).poll_write(cx, bytes),
                Some((0, whole)) => self.unwritten = whole,
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

    /// What a client gets of these writes, over a connection that takes so many bytes at once.
    async fn received_by_client(writes: &[&str], at_once: usize) -> String {
        let (mut client, server) = tokio::io::duplex(at_once);
        let mut server =
            ErrorBodyInjector::new(server, vec![(400, Bytes::from_static(ERROR_WITH_BODY.as_bytes()))].into());
        let mut passed = String::new();
        let write = async move {
            for bytes in writes {
                server.write_all(bytes.as_bytes()).await.unwrap();
            }
        };
        let (_, read) = tokio::join!(write, client.read_to_string(&mut passed));
        read.unwrap();
        passed
    }

    #[tokio::test]
    async fn only_a_bodyless_error_response_is_replaced() {
        let fine = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nHTTP/1.1 4\r\n\r\n";
        let other = "HTTP/1.1 431 Too Large\r\ncontent-length: 0\r\n\r\n";
        for at_once in [1, 7, 4096] {
            assert_eq!(received_by_client(&[BODYLESS_ERROR], at_once).await, ERROR_WITH_BODY);
            assert_eq!(received_by_client(&[fine, BODYLESS_ERROR], at_once).await, format!("{fine}{ERROR_WITH_BODY}"));
            assert_eq!(
                received_by_client(&[&format!("{fine}{BODYLESS_ERROR}")], at_once).await,
                format!("{fine}{ERROR_WITH_BODY}")
            );
            for kept in [fine, ERROR_WITH_BODY, other, "HTTP/1.1 400 B\r\nContent-Length: 9\r\n\r\n", "\r\n\r\n"] {
                assert_eq!(received_by_client(&[kept], at_once).await, *kept);
            }
        }
    }
}
