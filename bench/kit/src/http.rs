//! HTTP/1.1 over connections that are kept, with as little as possible between the bytes and who measures them.

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// How much is read at once.
const CHUNK: usize = 16 * 1024;
/// No answer of the product is as long.
const LONGEST: usize = 8 * 1024 * 1024;
const HEADERS: usize = 64;

/// An answer, where it was read.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The status.
    pub status: u16,
    /// Status line and headers, to the empty line.
    pub head: &'a [u8],
    /// The body, without its transfer encoding.
    pub body: &'a [u8],
}

impl Reply<'_> {
    /// A header's value, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }

    /// A copy that stays.
    pub fn to_answer(&self) -> Answer {
        Answer { status: self.status, head: String::from_utf8_lossy(self.head).into_owned(), body: self.body.to_vec() }
    }
}

/// An answer that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body, without its transfer encoding.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.head.as_bytes(), name)
    }

    /// The body, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = head.split(|&byte| byte == b'\n').skip(1).filter_map(|line| std::str::from_utf8(line).ok());
    let mut fields = lines.filter_map(|line| line.trim_end().split_once(':'));
    fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// What is read of an answer so far.
#[derive(Debug, Default)]
struct Reader {
    buffer: Vec<u8>,
    /// A chunked body, put together.
    whole: Vec<u8>,
    head: Option<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    status: u16,
    length: usize,
    body: Framing,
    closes: bool,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length(usize),
    Chunked,
    Close,
}

/// Where a whole answer is, and whether the connection goes on after it.
#[derive(Clone, Copy, Debug)]
struct Whole {
    head: Head,
    chunked: bool,
    body: usize,
}

impl Reader {
    /// Forgets the answer before.
    fn begin(&mut self) {
        self.buffer.clear();
        self.whole.clear();
        self.head = None;
    }

    /// Whether the answer is whole; `over`: nothing more comes.
    fn whole(&mut self, over: bool) -> Result<Option<Whole>> {
        loop {
            let head = match self.head {
                Some(head) => head,
                None => match parse(&self.buffer)? {
                    Some(head) => head,
                    None => return Ok(None),
                },
            };
            // Provisional answers are none.
            if (100..200).contains(&head.status) {
                self.buffer.drain(..head.length);
                continue;
            }
            self.head = Some(head);
            return self.body(head, over);
        }
    }

    fn body(&mut self, head: Head, over: bool) -> Result<Option<Whole>> {
        let rest = &self.buffer[head.length..];
        match head.body {
            Framing::Length(length) if rest.len() >= length => Ok(Some(Whole { head, chunked: false, body: length })),
            Framing::Close if over => Ok(Some(Whole { head, chunked: false, body: rest.len() })),
            Framing::Chunked => {
                self.whole.clear();
                if !join_chunks(rest, &mut self.whole)? {
                    return Ok(None);
                }
                Ok(Some(Whole { head, chunked: true, body: self.whole.len() }))
            }
            Framing::Length(_) | Framing::Close => Ok(None),
        }
    }

    fn reply(&self, whole: Whole) -> Reply<'_> {
        let Head { status, length, .. } = whole.head;
        let body = if whole.chunked { &self.whole[..] } else { &self.buffer[length..length + whole.body] };
        Reply { status, head: &self.buffer[..length], body }
    }
}

fn parse(buffer: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(buffer).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let value = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let chunked = value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let body = match value("content-length").and_then(|value| value.trim().parse().ok()) {
        _ if matches!(status, 100..200 | 204 | 304) => Framing::Length(0),
        _ if chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::Close,
    };
    let closes = value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Some(Head { status, length, body, closes: closes || matches!(body, Framing::Close) }))
}

/// Puts chunks together; gives whether the last one is there.
fn join_chunks(mut rest: &[u8], whole: &mut Vec<u8>) -> Result<bool> {
    loop {
        let size = httparse::parse_chunk_size(rest).map_err(|_| Error::new(ErrorKind::InvalidData, "chunks"))?;
        let httparse::Status::Complete((start, size)) = size else { return Ok(false) };
        let size = usize::try_from(size).map_err(|_| Error::new(ErrorKind::InvalidData, "chunks"))?;
        let (Some(chunk), true) = (rest.get(start..start + size), rest.len() >= start + size + 2) else {
            return Ok(false);
        };
        if size == 0 {
            return Ok(true);
        }
        whole.extend_from_slice(chunk);
        rest = &rest[start + size + 2..];
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::UnexpectedEof, "the connection was closed without an answer")
}

/// A connection that is kept. One request at a time.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    reader: Reader,
    open: bool,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// As the system says.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        Self::of(TcpStream::connect(address).await?)
    }

    /// Connects from an address of this machine's own, such as any in 127.0.0.0/8.
    ///
    /// # Errors
    /// As the system says.
    pub async fn open_from(source: IpAddr, address: SocketAddr) -> Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind((source, 0).into())?;
        Self::of(socket.connect(address).await?)
    }

    fn of(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, reader: Reader::default(), open: true })
    }

    /// Whether another request can be sent: nobody said `Connection: close`, and nothing went wrong.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Sends a request as it is and reads the answer. Waits for as long as it takes.
    ///
    /// # Errors
    /// As the system says; `UnexpectedEof` if the connection was closed without an answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Reply<'_>> {
        self.open = false;
        self.reader.begin();
        // A server that refuses early may close while this still writes; what it answered is there all the same.
        let written = self.stream.write_all(request).await;
        let whole = loop {
            self.reader.buffer.reserve(CHUNK);
            let read = self.stream.read_buf(&mut self.reader.buffer).await;
            let over = matches!(read, Ok(0) | Err(_));
            if let Some(whole) = self.reader.whole(over)? {
                break whole;
            }
            if over || self.reader.buffer.len() > LONGEST {
                return Err(read.err().or(written.err()).unwrap_or_else(closed));
            }
        };
        self.open = !whole.head.closes && written.is_ok();
        Ok(self.reader.reply(whole))
    }
}

/// As [`Connection`], for a thread that waits: nothing is between it and the socket.
#[derive(Debug)]
pub struct Blocking {
    stream: std::net::TcpStream,
    reader: Reader,
    chunk: Vec<u8>,
    open: bool,
}

impl Blocking {
    /// Connects. No read waits longer than `patience`.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(address: SocketAddr, patience: Duration) -> Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self { stream, reader: Reader::default(), chunk: vec![0; CHUNK], open: true })
    }

    /// Whether another request can be sent.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// As [`Connection::exchange`].
    ///
    /// # Errors
    /// As there; and if patience ends.
    pub fn exchange(&mut self, request: &[u8]) -> Result<Reply<'_>> {
        self.open = false;
        self.reader.begin();
        self.stream.write_all(request)?;
        let whole = loop {
            let read = self.stream.read(&mut self.chunk)?;
            self.reader.buffer.extend_from_slice(&self.chunk[..read]);
            if let Some(whole) = self.reader.whole(read == 0)? {
                break whole;
            }
            if read == 0 {
                return Err(closed());
            }
        };
        self.open = !whole.head.closes;
        Ok(self.reader.reply(whole))
    }
}

/// Sends a request over a connection of its own and reads the answer.
///
/// # Errors
/// As [`Connection::exchange`], and `TimedOut` after `patience`.
pub async fn once(address: SocketAddr, request: &[u8], patience: Duration) -> Result<Answer> {
    let talk = async {
        let mut connection = Connection::open(address).await?;
        let reply = connection.exchange(request).await?;
        Ok(reply.to_answer())
    };
    tokio::time::timeout(patience, talk).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], over: bool) -> Option<(u16, Vec<u8>, bool)> {
        let mut reader = Reader { buffer: text.to_vec(), ..Reader::default() };
        let whole = reader.whole(over).unwrap()?;
        let reply = reader.reply(whole);
        Some((reply.status, reply.body.to_vec(), whole.head.closes))
    }

    #[test]
    fn an_answer_is_whole_when_its_framing_says_so() {
        let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        for end in 0..sized.len() {
            assert_eq!(read(&sized[..end], false), None, "{end}");
        }
        assert_eq!(read(sized, false), Some((200, b"ok".to_vec(), false)));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n";
        for end in 0..chunked.len() {
            assert_eq!(read(&chunked[..end], false), None, "{end}");
        }
        assert_eq!(read(chunked, false), Some((200, b"ok!".to_vec(), false)));
        let endless = b"HTTP/1.1 400 Bad\r\n\r\nwhy";
        assert_eq!(read(endless, false), None);
        assert_eq!(read(endless, true), Some((400, b"why".to_vec(), true)));
        let provisional = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nConnection: close\r\n\r\n";
        assert_eq!(read(provisional, false), Some((204, Vec::new(), true)));
        assert!(Reader { buffer: b"nonsense\r\n\r\n".to_vec(), ..Reader::default() }.whole(false).is_err());
    }

    #[test]
    fn headers_are_found_without_letter_case() {
        let head = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nx: y\r\n\r\n";
        assert_eq!(header(head, "retry-after"), Some("7"));
        assert_eq!(header(head, "X"), Some("y"));
        assert_eq!(header(head, "z"), None);
    }
}
