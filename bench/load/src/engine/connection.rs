//! A non-blocking connection of the load generator, with one request in flight at a time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::requests::Requests;
use super::response::{self, ExpectedResponse, ParsedResponse};

/// The longest wait for the server to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens a non-blocking connection.
///
/// # Errors
/// If the server does not accept the connection within five seconds.
pub(super) fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = std::net::TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// Result of a read.
pub(super) enum ReadOutcome {
    /// The response is not complete yet.
    Waiting,
    /// The expected response is complete. The instant is when its request was sent, or due.
    Completed(Instant),
    /// A complete response that was not expected.
    UnexpectedResponse(String),
    /// The connection failed.
    Disconnected(String),
}

pub(super) struct Connection {
    stream: TcpStream,
    /// The range of the request bytes that is not written yet.
    unsent: Range<usize>,
    /// When the request in flight was sent, or due.
    sent_at: Option<Instant>,
    /// The received part of an incomplete response.
    partial_response: Vec<u8>,
    is_broken: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: 0..0, sent_at: None, partial_response: Vec::new(), is_broken: false }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    pub(super) fn is_awaiting_response(&self) -> bool {
        self.sent_at.is_some()
    }

    pub(super) fn has_unsent_data(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Starts to send a request; call [`Connection::write`] next.
    pub(super) fn start_request(&mut self, request: Range<usize>, since: Instant) {
        self.unsent = request;
        self.sent_at = Some(since);
    }

    /// Gives up the request in flight; the connection is broken afterwards.
    pub(super) fn abort(&mut self) {
        self.sent_at = None;
        self.unsent = 0..0;
        self.is_broken = true;
    }

    /// Writes as much as the socket accepts. Returns false if the connection failed.
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

    /// Reads the bytes that have arrived, and compares a complete response with `expected`.
    pub(super) fn read(&mut self, buffer: &mut [u8], expected: &ExpectedResponse) -> ReadOutcome {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return self.disconnect("the server closed the connection"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return ReadOutcome::Waiting,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.disconnect(&error.to_string()),
            };
            let parsed = if self.partial_response.is_empty() {
                response::parse_response(&buffer[..read], expected)
            } else {
                self.partial_response.extend_from_slice(&buffer[..read]);
                response::parse_response(&self.partial_response, expected)
            };
            match parsed {
                ParsedResponse::Partial if self.partial_response.is_empty() => {
                    self.partial_response.extend_from_slice(&buffer[..read]);
                }
                ParsedResponse::Partial => {}
                ParsedResponse::Expected => {
                    return self.finish_request().map_or(ReadOutcome::Waiting, ReadOutcome::Completed);
                }
                ParsedResponse::Unexpected(description) => {
                    self.finish_request();
                    return ReadOutcome::UnexpectedResponse(description);
                }
                ParsedResponse::Unreadable(description) => return self.disconnect(&description),
            }
            // Edge-triggered: later data causes another event, but a full buffer may have left data behind.
            if read < buffer.len() {
                return ReadOutcome::Waiting;
            }
        }
    }

    fn finish_request(&mut self) -> Option<Instant> {
        self.partial_response.clear();
        self.sent_at.take()
    }

    fn disconnect(&mut self, description: &str) -> ReadOutcome {
        self.abort();
        ReadOutcome::Disconnected(description.to_owned())
    }
}
