//! A service that writes down exactly the requests that reach it. It reads by rules of its own, the strictest there
//! are: what is not a request to the letter is written down as garbage.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::local_listener;

pub(crate) struct RecordingService {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// A request, or as much as shows that there is none.
enum ParseResult {
    Request { line: String, body: Vec<u8>, length: usize },
    Incomplete,
    Invalid,
}

impl RecordingService {
    /// Serves as `name`, and says so in each answer.
    pub(crate) fn start(name: &'static str) -> Self {
        let listener = local_listener();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let writes = seen.clone();
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                actix_web::rt::spawn(serve_connection(stream, name, writes.clone()));
            }
        });
        Self { url, requests: seen }
    }

    /// The same, once.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// Every request that has come, in order: method, target, body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve_connection(mut stream: TcpStream, name: &'static str, seen: Arc<Mutex<Vec<String>>>) {
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
                    seen.lock().unwrap().push(format!("{name} {line} {body}").trim_end().to_owned());
                }
                let answer = format!("HTTP/1.1 200 OK\r\nX-Served-By: {name}\r\nContent-Length: 0\r\n\r\n");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            ParseResult::Incomplete => {
                if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                    return;
                }
            }
            ParseResult::Invalid => {
                seen.lock().unwrap().push(format!("{name} garbage {}", bytes.escape_ascii()));
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
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || !name.bytes().all(known) || value.contains(['\r', '\n', '\0']) {
            return ParseResult::Invalid;
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value.trim().to_owned()),
            "transfer-encoding" => encodings.push(value.trim().to_owned()),
            "host" => hosts += 1,
            _ => {}
        }
    }
    let rest = &bytes[end + 4..];
    let body = match (&lengths[..], &encodings[..]) {
        ([], []) => Some((Vec::new(), 0)),
        ([length], []) => match length.parse::<usize>() {
            Ok(length) => rest.get(..length).map(|body| (body.to_vec(), length)),
            Err(_) => return ParseResult::Invalid,
        },
        ([], [encoding]) if encoding == "chunked" => match decode_chunked(rest) {
            Ok(body) => body,
            Err(()) => return ParseResult::Invalid,
        },
        _ => return ParseResult::Invalid,
    };
    match body {
        _ if hosts != 1 => ParseResult::Invalid,
        Some((body, length)) => {
            ParseResult::Request { line: format!("{method} {target}"), body, length: end + 4 + length }
        }
        None => ParseResult::Incomplete,
    }
}

/// The body and its length in chunks, if all of it is there.
fn decode_chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, ()> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = &bytes[at..];
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&rest[..end]).map_err(drop)?;
        let size = usize::from_str_radix(size, 16).map_err(drop)?;
        let Some(data) = rest.get(end + 2..end + 2 + size + 2) else { return Ok(None) };
        if &data[size..] != b"\r\n" {
            return Err(());
        }
        body.extend_from_slice(&data[..size]);
        at += end + 2 + size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}
