//! Minimal HTTP/1.1 client on keep-alive connections, with so little overhead that measurements show the server.

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Bytes per read.
const READ_SIZE: usize = 16 * 1024;
/// Longer than any response of the product, in bytes.
const MAX_RESPONSE: usize = 8 * 1024 * 1024;
const MAX_HEADERS: usize = 64;

/// A response that borrows the connection's read buffer.
#[derive(Clone, Copy, Debug)]
pub struct ResponseRef<'a> {
    /// The status.
    pub status: u16,
    /// Status line and headers, to the empty line.
    pub head: &'a [u8],
    /// The body, decoded if it was chunked.
    pub body: &'a [u8],
}

impl ResponseRef<'_> {
    /// The value of the first header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(self.head, name)
    }

    /// An owned copy.
    pub fn to_response(&self) -> Response {
        Response {
            status: self.status,
            head: String::from_utf8_lossy(self.head).into_owned(),
            body: self.body.to_vec(),
        }
    }
}

/// An owned response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body, decoded if it was chunked.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of the first header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(self.head.as_bytes(), name)
    }

    /// The body, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn find_header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = head.split(|&byte| byte == b'\n').skip(1).filter_map(|line| std::str::from_utf8(line).ok());
    let mut fields = lines.filter_map(|line| line.trim_end().split_once(':'));
    fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Incremental parser of one response.
#[derive(Debug, Default)]
struct ResponseReader {
    buffer: Vec<u8>,
    /// A chunked body, decoded.
    dechunked_body: Vec<u8>,
    head: Option<ResponseHead>,
}

#[derive(Clone, Copy, Debug)]
struct ResponseHead {
    status: u16,
    /// Length of the head with its empty line, in bytes.
    length: usize,
    framing: Framing,
    closes_connection: bool,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// Whether more bytes can arrive on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamState {
    Open,
    Eof,
}

/// A completely received response: its head and body length.
#[derive(Clone, Copy, Debug)]
struct CompleteResponse {
    head: ResponseHead,
    chunked: bool,
    body: usize,
}

impl ResponseReader {
    /// Discards the previous response.
    fn reset(&mut self) {
        self.buffer.clear();
        self.dechunked_body.clear();
        self.head = None;
    }

    /// The response, if it is complete.
    fn try_complete(&mut self, state: StreamState) -> Result<Option<CompleteResponse>> {
        loop {
            let head = match self.head {
                Some(head) => head,
                None => match parse_head(&self.buffer)? {
                    Some(head) => head,
                    None => return Ok(None),
                },
            };
            // Interim responses (RFC 9110 §15.2) are skipped.
            if (100..200).contains(&head.status) {
                self.buffer.drain(..head.length);
                continue;
            }
            self.head = Some(head);
            return self.try_body(head, state);
        }
    }

    fn try_body(&mut self, head: ResponseHead, state: StreamState) -> Result<Option<CompleteResponse>> {
        let received = &self.buffer[head.length..];
        match head.framing {
            Framing::Length(length) if received.len() >= length => {
                Ok(Some(CompleteResponse { head, chunked: false, body: length }))
            }
            Framing::UntilClose if state == StreamState::Eof => {
                Ok(Some(CompleteResponse { head, chunked: false, body: received.len() }))
            }
            Framing::Chunked => {
                self.dechunked_body.clear();
                if !decode_chunks(received, &mut self.dechunked_body)? {
                    return Ok(None);
                }
                Ok(Some(CompleteResponse { head, chunked: true, body: self.dechunked_body.len() }))
            }
            Framing::Length(_) | Framing::UntilClose => Ok(None),
        }
    }

    fn response_ref(&self, complete: CompleteResponse) -> ResponseRef<'_> {
        let ResponseHead { status, length, .. } = complete.head;
        let body =
            if complete.chunked { &self.dechunked_body[..] } else { &self.buffer[length..length + complete.body] };
        ResponseRef { status, head: &self.buffer[..length], body }
    }
}

/// Parses the head of a response; `None` if it is incomplete.
fn parse_head(buffer: &[u8]) -> Result<Option<ResponseHead>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(buffer).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let header_value = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let chunked = header_value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let framing = match header_value("content-length").and_then(|value| value.trim().parse().ok()) {
        _ if matches!(status, 100..200 | 204 | 304) => Framing::Length(0),
        _ if chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    let closes = header_value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let closes_connection = closes || matches!(framing, Framing::UntilClose);
    Ok(Some(ResponseHead { status, length, framing, closes_connection }))
}

/// Appends the chunks' data to `body`. Returns whether the last chunk was found.
fn decode_chunks(mut encoded: &[u8], body: &mut Vec<u8>) -> Result<bool> {
    loop {
        let size = httparse::parse_chunk_size(encoded)
            .map_err(|_| Error::new(ErrorKind::InvalidData, "the response has malformed chunks"))?;
        let httparse::Status::Complete((start, size)) = size else { return Ok(false) };
        let size = usize::try_from(size)
            .map_err(|_| Error::new(ErrorKind::InvalidData, "the response has malformed chunks"))?;
        let (Some(chunk), true) = (encoded.get(start..start + size), encoded.len() >= start + size + 2) else {
            return Ok(false);
        };
        if size == 0 {
            return Ok(true);
        }
        body.extend_from_slice(chunk);
        encoded = &encoded[start + size + 2..];
    }
}

fn closed_error() -> Error {
    Error::new(
        ErrorKind::UnexpectedEof,
        "the server closed the connection before the end of the response, or the response is too long",
    )
}

/// A keep-alive connection for one request at a time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    reader: ResponseReader,
    is_reusable: bool,
}

impl Connection {
    /// Connects to `address`.
    ///
    /// # Errors
    /// The system's error.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        Self::from_stream(TcpStream::connect(address).await?)
    }

    /// Connects from a local source address, such as any in 127.0.0.0/8.
    ///
    /// # Errors
    /// The system's error.
    pub async fn connect_from(source: IpAddr, address: SocketAddr) -> Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((source, 0).into())?;
        Self::from_stream(socket.connect(address).await?)
    }

    fn from_stream(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, reader: ResponseReader::default(), is_reusable: true })
    }

    /// Whether another request can be sent: no `Connection: close` and no error so far.
    pub fn is_open(&self) -> bool {
        self.is_reusable
    }

    /// Sends the bytes of a request and reads the response. Has no timeout.
    ///
    /// # Errors
    /// The system's error; `InvalidData` if the response cannot be parsed; `UnexpectedEof` if the server closed the
    /// connection before the end of the response, or the response is longer than 8 MiB.
    pub async fn request(&mut self, request: &[u8]) -> Result<ResponseRef<'_>> {
        self.is_reusable = false;
        self.reader.reset();
        // A server that rejects early may close during the write; its response can still be read.
        let written = self.stream.write_all(request).await;
        let complete = loop {
            self.reader.buffer.reserve(READ_SIZE);
            let read = self.stream.read_buf(&mut self.reader.buffer).await;
            let state = if matches!(read, Ok(0) | Err(_)) { StreamState::Eof } else { StreamState::Open };
            if let Some(complete) = self.reader.try_complete(state)? {
                break complete;
            }
            if state == StreamState::Eof || self.reader.buffer.len() > MAX_RESPONSE {
                return Err(read.err().or(written.err()).unwrap_or_else(closed_error));
            }
        };
        self.is_reusable = !complete.head.closes_connection && written.is_ok();
        Ok(self.reader.response_ref(complete))
    }
}

/// Blocking variant of [`Connection`], for measurements without a runtime between the thread and the socket.
#[derive(Debug)]
pub struct BlockingConnection {
    stream: std::net::TcpStream,
    reader: ResponseReader,
    chunk: Vec<u8>,
    is_reusable: bool,
}

impl BlockingConnection {
    /// Connects to `address`. `read_timeout` bounds each read.
    ///
    /// # Errors
    /// The system's error.
    pub fn connect(address: SocketAddr, read_timeout: Duration) -> Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(read_timeout))?;
        Ok(Self { stream, reader: ResponseReader::default(), chunk: vec![0; READ_SIZE], is_reusable: true })
    }

    /// Whether another request can be sent.
    pub fn is_open(&self) -> bool {
        self.is_reusable
    }

    /// As [`Connection::request`].
    ///
    /// # Errors
    /// As [`Connection::request`], and `WouldBlock` or `TimedOut` if the read timeout expires. The length is not
    /// bounded.
    pub fn request(&mut self, request: &[u8]) -> Result<ResponseRef<'_>> {
        self.is_reusable = false;
        self.reader.reset();
        self.stream.write_all(request)?;
        let complete = loop {
            let read = self.stream.read(&mut self.chunk)?;
            self.reader.buffer.extend_from_slice(&self.chunk[..read]);
            let state = if read == 0 { StreamState::Eof } else { StreamState::Open };
            if let Some(complete) = self.reader.try_complete(state)? {
                break complete;
            }
            if state == StreamState::Eof {
                return Err(closed_error());
            }
        };
        self.is_reusable = !complete.head.closes_connection;
        Ok(self.reader.response_ref(complete))
    }
}

/// Sends a request on a new connection and reads the response.
///
/// # Errors
/// As [`Connection::request`], and `TimedOut` after `timeout`.
pub async fn request_once(address: SocketAddr, request: &[u8], timeout: Duration) -> Result<Response> {
    let exchange = async {
        let mut connection = Connection::connect(address).await?;
        Ok(connection.request(request).await?.to_response())
    };
    tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, body, and whether the connection closes.
    fn parse_response(text: &[u8], state: StreamState) -> Option<(u16, Vec<u8>, bool)> {
        let mut reader = ResponseReader { buffer: text.to_vec(), ..ResponseReader::default() };
        let complete = reader.try_complete(state).unwrap()?;
        let response = reader.response_ref(complete);
        Some((response.status, response.body.to_vec(), complete.head.closes_connection))
    }

    #[test]
    fn a_response_is_complete_when_its_framing_ends() {
        let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        for end in 0..sized.len() {
            assert_eq!(parse_response(&sized[..end], StreamState::Open), None, "{end}");
        }
        assert_eq!(parse_response(sized, StreamState::Open), Some((200, b"ok".to_vec(), false)));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n";
        for end in 0..chunked.len() {
            assert_eq!(parse_response(&chunked[..end], StreamState::Open), None, "{end}");
        }
        assert_eq!(parse_response(chunked, StreamState::Open), Some((200, b"ok!".to_vec(), false)));
        let endless = b"HTTP/1.1 400 Bad\r\n\r\nwhy";
        assert_eq!(parse_response(endless, StreamState::Open), None);
        assert_eq!(parse_response(endless, StreamState::Eof), Some((400, b"why".to_vec(), true)));
    }

    #[test]
    fn interim_responses_are_skipped() {
        let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nConnection: close\r\n\r\n";
        assert_eq!(parse_response(interim, StreamState::Open), Some((204, Vec::new(), true)));
    }

    #[test]
    fn a_malformed_head_is_an_error() {
        assert!(
            ResponseReader { buffer: b"nonsense\r\n\r\n".to_vec(), ..ResponseReader::default() }
                .try_complete(StreamState::Open)
                .is_err()
        );
    }

    #[test]
    fn header_lookup_is_case_insensitive() {
        let head = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nx: y\r\n\r\n";
        assert_eq!(find_header(head, "retry-after"), Some("7"));
        assert_eq!(find_header(head, "X"), Some("y"));
        assert_eq!(find_header(head, "z"), None);
    }
}
