//! One end of a connection: its socket, and what has come over it and nobody has taken yet.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::net::TcpStream;

/// Room for what comes at once, to begin with; more is made for who fills it.
const LEAST_ROOM: usize = 4 * 1024;
const MOST_ROOM: usize = 16 * 1024;

/// A socket and what has come.
#[derive(Debug)]
pub(crate) struct Pipe {
    socket: TcpStream,
    /// What has come and was not taken.
    pub(crate) come: Vec<u8>,
    room: usize,
}

impl Pipe {
    pub(crate) fn new(socket: TcpStream) -> Self {
        // Without it messages are late, not wrong.
        let _ = socket.set_nodelay(true);
        Self { socket, come: Vec::new(), room: LEAST_ROOM }
    }

    /// Adds to what has come; 0: the other side says no more.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Who waits holds no room.
        ready!(self.socket.poll_read_ready(cx))?;
        self.come.reserve(self.room);
        let room = self.come.capacity() - self.come.len();
        let read = ready!(pin!(self.socket.read_buf(&mut self.come)).poll(cx))?;
        if read == room {
            self.room = (self.room * 2).min(MOST_ROOM);
        }
        Poll::Ready(Ok(read))
    }

    /// How many of the bytes are on their way.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(Ok(written)),
        }
    }

    /// Says that no more follows.
    pub(crate) fn poll_shut(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    /// Makes the other side see that what it was sent is not whole: a connection reset, not closed.
    pub(crate) fn reset(&self) {
        // Without it the other side sees a close.
        let _ = self.socket.set_zero_linger();
    }

    /// Whether the other side still listens and has nothing to say, as far as the reactor has told: that no answer is
    /// pending, nor the end.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let silent = matches!(self.socket.try_read(&mut byte), Err(cause) if cause.kind() == io::ErrorKind::WouldBlock);
        silent && self.come.is_empty()
    }

    /// Takes what is there to be read, as far as the reactor has told, `most` bytes of it, and forgets it.
    pub(crate) fn discard(&mut self, most: usize) {
        let mut scratch = [0; 1024];
        for _ in 0..most / scratch.len() {
            if !matches!(self.socket.try_read(&mut scratch), Ok(1..)) {
                break;
            }
        }
    }

    /// Gives back what more room there is than most need.
    pub(crate) fn shrink(&mut self) {
        self.room = LEAST_ROOM;
        if self.come.capacity() > 2 * LEAST_ROOM {
            self.come.shrink_to(LEAST_ROOM);
        }
    }
}
