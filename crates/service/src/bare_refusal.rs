//! Answers that actix-http gives itself, before an application is asked: to a request line or a head that it cannot
//! read, and to one that does not come. They have no body; here they get the application's own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::web::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whole responses, by status, in place of those without a body.
pub type Refusals = Arc<[(u16, Bytes)]>;

/// A connection on which a refusal without a body is replaced.
pub(crate) struct WithRefusals<T> {
    io: T,
    refusals: Refusals,
    /// What is left to write of a replacement.
    rest: Bytes,
}

impl<T> WithRefusals<T> {
    pub(crate) fn new(io: T, refusals: Refusals) -> Self {
        Self { io, refusals, rest: Bytes::new() }
    }
}

/// The response for a status, if there is one.
pub(crate) fn find(refusals: &Refusals, status: u16) -> Option<&Bytes> {
    refusals.iter().find(|(known, _)| *known == status).map(|(_, whole)| whole)
}

/// Where the last of these responses starts, and its status, if it is a failure without a body. Applications answer none.
fn bare_refusal(responses: &[u8]) -> Option<(usize, u16)> {
    const START: &[u8] = b"HTTP/1.1 4";
    let head = responses.strip_suffix(b"\r\n\r\n")?;
    let start = head.windows(START.len()).rposition(|window| window == START)?;
    let head = std::str::from_utf8(&head[start..]).ok().filter(|head| !head.contains("\r\n\r\n"))?;
    let status = head.get(9..12)?.parse().ok()?;
    let is_empty = |line: &str| line.eq_ignore_ascii_case("content-length: 0");
    head.split("\r\n").any(is_empty).then_some((start, status))
}

impl<T: AsyncRead + Unpin> AsyncRead for WithRefusals<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WithRefusals<T> {
    /// Takes a refusal as written once its replacement is.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.rest.is_empty() {
            let found =
                bare_refusal(bytes).and_then(|(start, status)| Some((start, find(&self.refusals, status)?.clone())));
            match found {
                None => return Pin::new(&mut self.io).poll_write(cx, bytes),
                Some((0, whole)) => self.rest = whole,
                Some((start, _)) => return Pin::new(&mut self.io).poll_write(cx, &bytes[..start]),
            }
        }
        while !self.rest.is_empty() {
            let this = &mut *self;
            let written = ready!(Pin::new(&mut this.io).poll_write(cx, &this.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.rest.advance(written);
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

    const BARE: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const WHOLE: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";

    /// What a client gets of these writes, over a connection that takes so many bytes at once.
    async fn passed(writes: &[&str], at_once: usize) -> String {
        let (mut client, server) = tokio::io::duplex(at_once);
        let mut server = WithRefusals::new(server, vec![(400, Bytes::from_static(WHOLE.as_bytes()))].into());
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
    async fn only_a_refusal_without_a_body_gets_one() {
        let fine = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nHTTP/1.1 4\r\n\r\n";
        let other = "HTTP/1.1 431 Too Large\r\ncontent-length: 0\r\n\r\n";
        for at_once in [1, 7, 4096] {
            assert_eq!(passed(&[BARE], at_once).await, WHOLE);
            assert_eq!(passed(&[fine, BARE], at_once).await, format!("{fine}{WHOLE}"));
            assert_eq!(passed(&[&format!("{fine}{BARE}")], at_once).await, format!("{fine}{WHOLE}"));
            for kept in [fine, WHOLE, other, "HTTP/1.1 400 B\r\nContent-Length: 9\r\n\r\n", "\r\n\r\n"] {
                assert_eq!(passed(&[kept], at_once).await, *kept);
            }
        }
    }
}
