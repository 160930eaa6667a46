//! A request sent to one instance, until the head of its answer is there.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use actix_web::http::Method;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::client::{Client, Lost};
use crate::pipe::Pipe;
use crate::refusal::Cause;
use crate::upload::Upload;
use crate::wire::response::Response;

/// An instance on this network accepts at once, or another one is asked.
const CONNECT: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The client's fault, not the instance's.
    #[error("the client's body was refused")]
    Refused(Cause),
    #[error("the client went")]
    Gone,
    #[error("no answer in time")]
    Late,
    #[error("{0}")]
    Broken(io::Error),
    #[error("its answer is not HTTP/1.1")]
    Malformed,
}

/// A request on its way.
pub(crate) struct Exchange<'a> {
    pub(crate) client: &'a mut Client,
    pub(crate) pipe: &'a mut Pipe,
    pub(crate) upload: &'a mut Upload,
    patience: Duration,
    /// When the service must have taken the next piece, or answered.
    due: Instant,
    /// All of the request was sent.
    sent: bool,
}

enum More {
    OfBody,
    OfAnswer,
}

/// Connects to `address` before `due`, unless the client goes.
pub(crate) async fn connect(client: &mut Client, address: SocketAddr, due: Instant) -> Result<Pipe, Failed> {
    let due = due.min(Instant::now() + CONNECT);
    let mut connecting = pin!(TcpStream::connect(address));
    let connected = poll_fn(|cx| {
        if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
            return Poll::Ready(connected.map_err(Failed::Broken));
        }
        if client.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Failed::Gone));
        }
        client.alarm.poll(cx, due).map(|()| Err(Failed::Late))
    });
    Ok(Pipe::new(connected.await?))
}

impl<'a> Exchange<'a> {
    /// A request to the service at the end of `pipe`, which may take `patience` over each piece, and over its answer.
    pub(crate) fn new(client: &'a mut Client, pipe: &'a mut Pipe, upload: &'a mut Upload, patience: Duration) -> Self {
        Self { client, pipe, upload, patience, due: Instant::now() + patience, sent: false }
    }

    /// Whether the service was sent all of the request.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent
    }

    /// Sends the head that is in `out` and the body behind it, as it comes; and hands on the head of the answer, with
    /// `out` cleared for what is to be said of it.
    pub(crate) async fn run<T>(
        &mut self,
        method: &Method,
        out: &mut Vec<u8>,
        answered: impl FnOnce(&mut Self, Response<'_>, &mut Vec<u8>) -> T,
    ) -> Result<T, Failed> {
        self.send(out).await?;
        out.clear();
        self.due = Instant::now() + self.patience;
        loop {
            // What is handed on borrows what has come, and `self` does not.
            let come = std::mem::take(&mut self.pipe.come);
            let parsed = Response::parse(&come, method).map_err(|_| Failed::Malformed)?;
            if let Some(response) = parsed {
                let size = response.size;
                let told = answered(self, response, out);
                self.pipe.come = come;
                self.pipe.come.drain(..size);
                return Ok(told);
            }
            self.pipe.come = come;
            self.listen().await?;
        }
    }

    /// Sends head and body. An instance that answers before it has all of the body, or hears no more of it, has its
    /// reasons: the answer tells them.
    async fn send(&mut self, out: &mut Vec<u8>) -> Result<(), Failed> {
        loop {
            self.upload.relay(self.client.come(), out).map_err(Failed::Refused)?;
            let heard = self.write(out).await?;
            if !heard || self.upload.is_over() {
                self.sent = heard;
                return Ok(());
            }
            out.clear();
            // What came while the last piece was written is the next one.
            if self.client.come().is_empty()
                && let More::OfAnswer = self.more().await?
            {
                return Ok(());
            }
            let now = Instant::now();
            if now >= self.upload.due {
                return Err(Failed::Refused(Cause::SlowRequest));
            }
            // However long the client takes, the service has its time from then on.
            self.due = now + self.patience;
        }
    }

    /// Writes to the instance; whether it takes all of it, and has not begun to answer.
    async fn write(&mut self, mut bytes: &[u8]) -> Result<bool, Failed> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| {
                if let Poll::Ready(written) = self.pipe.poll_write(cx, bytes) {
                    return Poll::Ready(Ok(written.ok()));
                }
                if self.pipe.poll_read(cx).is_ready() {
                    return Poll::Ready(Ok(None));
                }
                if self.client.poll_gone(cx).is_ready() {
                    return Poll::Ready(Err(Failed::Gone));
                }
                self.client.alarm.poll(cx, self.due).map(|()| Err(Failed::Late))
            });
            let Some(written) = written.await? else { return Ok(false) };
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(true)
    }

    /// Waits for more of the body, or for the beginning of an answer.
    async fn more(&mut self) -> Result<More, Failed> {
        let due = self.upload.due;
        let more = poll_fn(|cx| {
            if self.pipe.poll_read(cx).is_ready() {
                return Poll::Ready(Ok(More::OfAnswer));
            }
            self.client.poll_read(cx, due).map(|read| read.map(|()| More::OfBody))
        });
        more.await.map_err(|lost| match lost {
            Lost::Late => Failed::Refused(Cause::SlowRequest),
            Lost::Ended => Failed::Refused(Cause::BadRequest),
            Lost::Gone => Failed::Gone,
        })
    }

    /// Waits for more of the answer.
    async fn listen(&mut self) -> Result<(), Failed> {
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = self.pipe.poll_read(cx) {
                return Poll::Ready(read.map_err(Failed::Broken));
            }
            if self.client.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Failed::Gone));
            }
            self.client.alarm.poll(cx, self.due).map(|()| Err(Failed::Late))
        });
        match read.await? {
            0 => Err(Failed::Broken(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;

    use super::*;
    use crate::client::Times;
    use crate::wire::request::Framing;

    /// What is read ahead while the first piece is written has its end within it.
    const LENGTH: usize = 10_000;
    const SOON: Duration = Duration::from_secs(3);

    /// Both ends of a connection that has next to no room for what is on its way.
    async fn narrow() -> (TcpStream, TcpStream) {
        let (near, far) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
        far.set_recv_buffer_size(1024).unwrap();
        far.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        near.set_send_buffer_size(1024).unwrap();
        let listener = far.listen(1).unwrap();
        let near = near.connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn what_comes_of_a_body_while_it_is_written_is_not_forgotten() {
        for half_closed in [false, true] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut sending = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let times = Times { head: SOON, answer: SOON };
            let mut client = Client::new(listener.accept().await.unwrap().0, times).unwrap();
            sending.write_all(&[b'x'; LENGTH]).await.unwrap();
            if half_closed {
                sending.shutdown().await.unwrap();
            }
            let (link, mut service) = narrow().await;
            let serving = async {
                service.read_exact(&mut [0; LENGTH]).await.unwrap();
                service.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                std::future::pending::<()>().await;
            };
            let mut pipe = Pipe::new(link);
            let mut upload = Upload::new(Framing::Sized(LENGTH as u64), LENGTH as u64, Instant::now(), SOON);
            let mut exchange = Exchange::new(&mut client, &mut pipe, &mut upload, SOON);
            let mut out = Vec::new();
            let asking = exchange.run(&Method::POST, &mut out, |_, response, _| response.status);
            let status = tokio::select! { status = asking => status, () = serving => unreachable!() };
            assert_eq!(status.unwrap(), StatusCode::OK, "{half_closed}");
            assert!(exchange.is_sent());
        }
    }
}
