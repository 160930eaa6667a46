//! One connection: a request on its way out, an answer on its way in.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::requests::Requests;
use super::response::{self, ExpectedResponse, ParsedResponse};

/// How long a server may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that does not block.
///
/// # Errors
/// If the server does not accept it.
pub(super) fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = std::net::TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// What came of reading.
pub(super) enum ReadOutcome {
    /// There is more to come.
    Waiting,
    /// The answer is whole and right; the request was sent, or due, then.
    Completed(Instant),
    /// It is whole and not what was expected.
    UnexpectedResponse(String),
    /// The connection is of no more use.
    Disconnected(String),
}

pub(super) struct Connection {
    stream: TcpStream,
    /// What of the requests is not written yet.
    unsent: Range<usize>,
    /// Since when an answer is waited for.
    sent_at: Option<Instant>,
    /// What came of an answer that is not whole yet.
    partial_response: Vec<u8>,
    is_unusable: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: 0..0, sent_at: None, partial_response: Vec::new(), is_unusable: false }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_unusable
    }

    pub(super) fn is_awaiting_response(&self) -> bool {
        self.sent_at.is_some()
    }

    pub(super) fn has_unsent_data(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Takes a request up.
    pub(super) fn start_request(&mut self, request: Range<usize>, since: Instant) {
        self.unsent = request;
        self.sent_at = Some(since);
    }

    /// Waits no more.
    pub(super) fn abort(&mut self) {
        self.sent_at = None;
        self.unsent = 0..0;
        self.is_unusable = true;
    }

    /// Writes what the system takes. Gives whether the connection is there.
    pub(super) fn write(&mut self, requests: &Requests) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.write(requests.bytes(self.unsent.clone())) {
                Ok(written) => self.unsent.start += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.abort();
                    return false;
                }
            }
        }
        true
    }

    /// Reads what has come.
    pub(super) fn read(&mut self, buffer: &mut [u8], expected: &ExpectedResponse) -> ReadOutcome {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return self.disconnect("the server closed the connection"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return ReadOutcome::Waiting,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.disconnect(&error.to_string()),
            };
            let whole = if self.partial_response.is_empty() {
                response::parse_response(&buffer[..read], expected)
            } else {
                self.partial_response.extend_from_slice(&buffer[..read]);
                response::parse_response(&self.partial_response, expected)
            };
            match whole {
                ParsedResponse::Partial if self.partial_response.is_empty() => {
                    self.partial_response.extend_from_slice(&buffer[..read]);
                }
                ParsedResponse::Partial => {}
                ParsedResponse::Expected => {
                    return self.finish_request().map_or(ReadOutcome::Waiting, ReadOutcome::Completed);
                }
                ParsedResponse::Unexpected(why) => {
                    self.finish_request();
                    return ReadOutcome::UnexpectedResponse(why);
                }
                ParsedResponse::Unreadable(why) => return self.disconnect(&why),
            }
            // The event tells of what comes after; a full buffer may have left something behind.
            if read < buffer.len() {
                return ReadOutcome::Waiting;
            }
        }
    }

    fn finish_request(&mut self) -> Option<Instant> {
        self.partial_response.clear();
        self.sent_at.take()
    }

    fn disconnect(&mut self, why: &str) -> ReadOutcome {
        self.abort();
        ReadOutcome::Disconnected(why.to_owned())
    }
}
