//! A service's answer on its way to the client.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Client, Lost};
use crate::pipe::Pipe;
use crate::wire::body::{Body, Coding};

/// The body of an answer; its head is written.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) body: Body,
    pub(crate) coding: Coding,
    /// It is given up when the service sends nothing for so long.
    pub(crate) patience: Duration,
}

/// Why the client does not have the whole answer: the head is gone already, so that nothing more can be said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the service stopped in the middle of its answer")]
    Stalled,
    #[error("the connection to the service broke in the middle of its answer: {0}")]
    Lost(io::Error),
    #[error("the service's answer is not framed as its head says")]
    Malformed,
    #[error("the client went")]
    Client,
}

impl From<Lost> for Broken {
    fn from(_: Lost) -> Self {
        Self::Client
    }
}

impl Download {
    /// Tells the client what is in `out`, and all that comes.
    pub(crate) async fn run(&mut self, pipe: &mut Pipe, client: &mut Client, out: &mut Vec<u8>) -> Result<(), Broken> {
        loop {
            let relayed = self.body.relay(&mut pipe.come, self.coding, out);
            client.tell(out).await?;
            out.clear();
            relayed.map_err(|_| Broken::Malformed)?;
            if self.body.is_over() {
                return Ok(());
            }
            match self.more(pipe, client).await? {
                0 if self.body.ends_with_connection() => {
                    self.body = Body::Over;
                    self.coding.end(out);
                    client.tell(out).await?;
                    return Ok(());
                }
                0 => return Err(Broken::Lost(io::ErrorKind::UnexpectedEof.into())),
                _ => {}
            }
        }
    }

    async fn more(&self, pipe: &mut Pipe, client: &mut Client) -> Result<usize, Broken> {
        let due = Instant::now() + self.patience;
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = pipe.poll_read(cx) {
                return Poll::Ready(read.map_err(Broken::Lost));
            }
            if client.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Broken::Client));
            }
            client.alarm.poll(cx, due).map(|()| Err(Broken::Stalled))
        });
        read.await
    }
}
