//! The connection limit per client address, which is half of `STELE_MAX_CONNECTIONS`. Trusted proxies have no such
//! limit.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{TEST_TIMEOUT, TestGateway, start_echo_service, start_gateway, wait_until};

fn start_with_settings(settings: &[(&'static str, &str)]) -> TestGateway {
    start_gateway(&[("mefp", &start_echo_service("mefp"))], settings)
}

/// Connects from the address 127.0.0.`last_byte`.
async fn connect_from(gateway: &TestGateway, last_byte: u8) -> TcpStream {
    try_connect_from(gateway, last_byte).await.unwrap()
}

async fn try_connect_from(gateway: &TestGateway, last_byte: u8) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last_byte)), 0)).unwrap();
    socket.connect(gateway.address).await
}

/// Whether the gateway closes a new connection without a response. It may do so before `connect` has returned.
async fn is_connection_closed(gateway: &TestGateway, last_byte: u8) -> bool {
    let Ok(mut stream) = try_connect_from(gateway, last_byte).await else { return true };
    let mut byte = [0];
    matches!(tokio::time::timeout(TEST_TIMEOUT, stream.read(&mut byte)).await.unwrap(), Ok(0) | Err(_))
}

async fn is_served(mut stream: TcpStream) -> bool {
    stream.write_all(b"GET /auth/login HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut response = Vec::new();
    let _ = tokio::time::timeout(TEST_TIMEOUT, stream.read_to_end(&mut response)).await.unwrap();
    response.starts_with(b"HTTP/1.1 200")
}

#[actix_web::test]
async fn one_address_may_hold_half_of_all_and_others_are_served() {
    let gateway = start_with_settings(&[("STELE_MAX_CONNECTIONS", "16"), ("STELE_CLIENT_TIMEOUT", "60")]);
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(connect_from(&gateway, 2).await);
    }
    wait_until("half of all connections to be in use", || gateway.inner.connections() == 8).await;
    for _ in 0..40 {
        assert!(is_connection_closed(&gateway, 2).await);
    }
    assert_eq!(gateway.inner.connections(), 8);
    let started_at = Instant::now();
    for _ in 0..20 {
        assert!(is_served(connect_from(&gateway, 3).await).await);
    }
    assert!(started_at.elapsed() < Duration::from_secs(20), "other addresses waited {:?}", started_at.elapsed());
    // One connection is closed, so that the address may open another.
    open.pop();
    wait_until("one connection to be closed", || gateway.inner.connections() == 7).await;
    assert!(is_served(connect_from(&gateway, 2).await).await);
}

#[actix_web::test]
async fn a_trusted_proxy_may_hold_all_connections() {
    let settings =
        [("STELE_MAX_CONNECTIONS", "8"), ("STELE_TRUSTED_PROXIES", "127.0.0.2"), ("STELE_CLIENT_TIMEOUT", "60")];
    let gateway = start_with_settings(&settings);
    let mut open = Vec::new();
    for _ in 0..7 {
        open.push(connect_from(&gateway, 2).await);
    }
    wait_until("all connections but one to be in use", || gateway.inner.connections() == 7).await;
    assert!(is_served(connect_from(&gateway, 2).await).await);
}
