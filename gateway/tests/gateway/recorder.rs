//! A service that records the requests that it receives. It has its own strict parser, independent of hyper and actix:
//! bytes that are not a well-formed HTTP/1.1 request are recorded as garbage.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::local_listener;

pub(crate) struct RecordingService {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// The result of parsing the bytes received so far.
enum ParseResult {
    /// A request: method and target, body, and its length in bytes.
    Request {
        line: String,
        body: Vec<u8>,
        length: usize,
    },
    Incomplete,
    Invalid,
}

/// The result of parsing the bytes after a head.
enum BodyResult {
    /// The body, decoded, and its length in bytes as sent.
    Complete {
        body: Vec<u8>,
        length: usize,
    },
    Incomplete,
    Invalid,
}

impl RecordingService {
    /// Starts a service whose responses have the header `X-Served-By: name`.
    pub(crate) fn start(name: &'static str) -> Self {
        let listener = local_listener();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = requests.clone();
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                actix_web::rt::spawn(serve_connection(stream, name, recorded.clone()));
            }
        });
        Self { url, requests }
    }

    /// Removes and returns the recorded requests.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// The recorded requests in order: service, method, target, body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve_connection(mut stream: TcpStream, name: &'static str, requests: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    loop {
        match parse_request(&bytes) {
            ParseResult::Request { line, body, length } => {
                bytes.drain(..length);
                if line != "GET /readyz" {
                    let body = String::from_utf8_lossy(&body).into_owned();
                    let [line, body] = [line, body].map(|text| match text.len() {
                        0..100 => text,
                        long => format!("[{long} bytes]"),
                    });
                    requests.lock().unwrap().push(format!("{name} {line} {body}").trim_end().to_owned());
                }
                let response = format!("HTTP/1.1 200 OK\r\nX-Served-By: {name}\r\nContent-Length: 0\r\n\r\n");
                if stream.write_all(response.as_bytes()).await.is_err() {
                    return;
                }
            }
            ParseResult::Incomplete => {
                if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                    return;
                }
            }
            ParseResult::Invalid => {
                requests.lock().unwrap().push(format!("{name} garbage {}", bytes.escape_ascii()));
                return;
            }
        }
    }
}

fn parse_request(bytes: &[u8]) -> ParseResult {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return ParseResult::Incomplete };
    let Ok(head) = std::str::from_utf8(&bytes[..end]) else { return ParseResult::Invalid };
    let mut lines = head.split("\r\n");
    let words: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
    let &[method, target, "HTTP/1.1"] = &words[..] else { return ParseResult::Invalid };
    let (mut lengths, mut encodings, mut hosts) = (Vec::new(), Vec::new(), 0);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { return ParseResult::Invalid };
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || !name.bytes().all(is_name_byte) || value.contains(['\r', '\n', '\0']) {
            return ParseResult::Invalid;
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value.trim().to_owned()),
            "transfer-encoding" => encodings.push(value.trim().to_owned()),
            "host" => hosts += 1,
            _ => {}
        }
    }
    let after_head = &bytes[end + 4..];
    let body = match (&lengths[..], &encodings[..]) {
        ([], []) => BodyResult::Complete { body: Vec::new(), length: 0 },
        ([length], []) => match length.parse::<usize>() {
            Ok(length) => match after_head.get(..length) {
                Some(body) => BodyResult::Complete { body: body.to_vec(), length },
                None => BodyResult::Incomplete,
            },
            Err(_) => BodyResult::Invalid,
        },
        ([], [encoding]) if encoding == "chunked" => decode_chunked(after_head),
        _ => BodyResult::Invalid,
    };
    match body {
        _ if hosts != 1 => ParseResult::Invalid,
        BodyResult::Complete { body, length } => {
            ParseResult::Request { line: format!("{method} {target}"), body, length: end + 4 + length }
        }
        BodyResult::Incomplete => ParseResult::Incomplete,
        BodyResult::Invalid => ParseResult::Invalid,
    }
}

/// Decodes a chunked body without extensions and trailers.
fn decode_chunked(bytes: &[u8]) -> BodyResult {
    let (mut body, mut offset) = (Vec::new(), 0);
    loop {
        let rest = &bytes[offset..];
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return BodyResult::Incomplete };
        let size = std::str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size else { return BodyResult::Invalid };
        let Some(data) = rest.get(end + 2..end + 2 + size + 2) else { return BodyResult::Incomplete };
        if &data[size..] != b"\r\n" {
            return BodyResult::Invalid;
        }
        body.extend_from_slice(&data[..size]);
        offset += end + 2 + size + 2;
        if size == 0 {
            return BodyResult::Complete { body, length: offset };
        }
    }
}
