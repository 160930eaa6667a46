//! Raw HTTP requests, for tests in which the exact bytes matter.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends `request` unchanged and returns everything that the server sends until it closes the connection. The request
/// should therefore contain `connection: close`.
pub async fn send_raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that rejects the request early may close while the request is still being written. The response can be
    // read nevertheless.
    let _ = stream.write_all(request).await;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    String::from_utf8_lossy(&response).into_owned()
}
