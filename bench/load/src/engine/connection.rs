//! One connection: a request on its way out, an answer on its way in.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::requests::Requests;
use super::response::{self, Expected, Read};

/// How long a server may take to accept.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection that does not block.
///
/// # Errors
/// If the server does not accept it.
pub(super) fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = std::net::TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// What came of reading.
pub(super) enum Progress {
    /// There is more to come.
    Waiting,
    /// The answer is whole and right; the request was sent, or due, then.
    Answered(Instant),
    /// It is whole and not what was expected.
    Wrong(String),
    /// The connection is of no more use.
    Lost(String),
}

pub(super) struct Connection {
    stream: TcpStream,
    /// What of the requests is not written yet.
    unsent: Range<usize>,
    /// Since when an answer is waited for.
    since: Option<Instant>,
    /// What came of an answer that is not whole yet.
    partial: Vec<u8>,
    broken: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: 0..0, since: None, partial: Vec::new(), broken: false }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.since.is_some()
    }

    pub(super) fn is_writing(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Takes a request up.
    pub(super) fn begin(&mut self, request: Range<usize>, since: Instant) {
        self.unsent = request;
        self.since = Some(since);
    }

    /// Waits no more.
    pub(super) fn break_off(&mut self) {
        self.since = None;
        self.unsent = 0..0;
        self.broken = true;
    }

    /// Writes what the system takes. Gives whether the connection is there.
    pub(super) fn write(&mut self, requests: &Requests) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.write(requests.bytes(self.unsent.clone())) {
                Ok(written) => self.unsent.start += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.break_off();
                    return false;
                }
            }
        }
        true
    }

    /// Reads what has come.
    pub(super) fn read(&mut self, buffer: &mut [u8], expected: &Expected) -> Progress {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return self.lose("the server closed the connection"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Waiting,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.lose(&error.to_string()),
            };
            let whole = if self.partial.is_empty() {
                response::read(&buffer[..read], expected)
            } else {
                self.partial.extend_from_slice(&buffer[..read]);
                response::read(&self.partial, expected)
            };
            match whole {
                Read::Partial if self.partial.is_empty() => self.partial.extend_from_slice(&buffer[..read]),
                Read::Partial => {}
                Read::Right => return self.end().map_or(Progress::Waiting, Progress::Answered),
                Read::Wrong(why) => {
                    self.end();
                    return Progress::Wrong(why);
                }
                Read::Unreadable(why) => return self.lose(&why),
            }
            // The event tells of what comes after; a full buffer may have left something behind.
            if read < buffer.len() {
                return Progress::Waiting;
            }
        }
    }

    fn end(&mut self) -> Option<Instant> {
        self.partial.clear();
        self.since.take()
    }

    fn lose(&mut self, why: &str) -> Progress {
        self.break_off();
        Progress::Lost(why.to_owned())
    }
}
