//! The client in front of the proxies: sends bytes as they are.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A proxy's response.
#[derive(Debug)]
pub(crate) struct Response {
    /// 0 if the proxy closed the connection without a response.
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// The head of a request with these header fields, after `Host: a.example` and `Connection: close`.
pub(crate) fn head(method: &str, target: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\n{fields}Connection: close\r\n\r\n")
}

/// Sends `request` to a port of loopback, and reads until the proxy closes.
pub(crate) async fn send(port: u16, request: &[u8]) -> Response {
    let exchange = async {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // A proxy that refuses the request may close while it is still being written.
        let _ = socket.write_all(request).await;
        let mut response = Vec::new();
        let _ = socket.read_to_end(&mut response).await;
        String::from_utf8_lossy(&response).into_owned()
    };
    let text = tokio::time::timeout(TIMEOUT, exchange).await.expect("a response in time");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Response { status, head: head.to_owned(), body: body.to_owned() }
}

/// Sends an upgrade with these header fields. Returns the status, and what comes back for `message` after 101.
pub(crate) async fn upgrade(port: u16, fields: &[(&str, &str)], message: &str) -> (u16, String) {
    let exchange = async {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let upgrade = [
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let head = head("GET", "/socket", &[fields, &upgrade].concat());
        socket.write_all(head.replace("Connection: close", "Connection: Upgrade").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = socket.read_u8().await else { break };
            head.push(byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if status != 101 {
            return (status, String::new());
        }
        socket.write_all(message.as_bytes()).await.unwrap();
        let mut echo = vec![0; message.len()];
        socket.read_exact(&mut echo).await.unwrap();
        (status, String::from_utf8(echo).unwrap())
    };
    tokio::time::timeout(TIMEOUT, exchange).await.expect("an upgrade in time")
}
