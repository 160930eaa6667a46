//! How many connections one client address may hold.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{TEST_TIMEOUT, TestGateway, start_echo_service, start_gateway, wait_until};

fn start_front(settings: &[(&'static str, &str)]) -> TestGateway {
    start_gateway(&[("mefp", &start_echo_service("mefp"))], settings)
}

/// A connection from an address of loopback: 127.0.0.`last`.
async fn connect_from(gateway: &TestGateway, last: u8) -> TcpStream {
    try_connect_from(gateway, last).await.unwrap()
}

async fn try_connect_from(gateway: &TestGateway, last: u8) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0)).unwrap();
    socket.connect(gateway.address).await
}

/// Whether the gateway closes a further connection without a word, perhaps before `connect` has returned.
async fn is_connection_closed(gateway: &TestGateway, last: u8) -> bool {
    let Ok(mut stream) = try_connect_from(gateway, last).await else { return true };
    let mut byte = [0];
    matches!(tokio::time::timeout(TEST_TIMEOUT, stream.read(&mut byte)).await.unwrap(), Ok(0) | Err(_))
}

async fn is_served(mut stream: TcpStream) -> bool {
    stream.write_all(b"GET /auth/login HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(TEST_TIMEOUT, stream.read_to_end(&mut answer)).await.unwrap();
    answer.starts_with(b"HTTP/1.1 200")
}

#[actix_web::test]
async fn one_address_may_hold_half_of_all_and_others_are_served() {
    let gateway = start_front(&[("STELE_MAX_CONNECTIONS", "16"), ("STELE_CLIENT_TIMEOUT", "60")]);
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(connect_from(&gateway, 2).await);
    }
    wait_until("half of all are held", || gateway.inner.connections() == 8).await;
    for _ in 0..40 {
        assert!(is_connection_closed(&gateway, 2).await);
    }
    assert_eq!(gateway.inner.connections(), 8);
    let begun = Instant::now();
    for _ in 0..20 {
        assert!(is_served(connect_from(&gateway, 3).await).await);
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "others do not wait for the one: {:?}", begun.elapsed());
    // One is let go: there is room for another one.
    held.pop();
    wait_until("one less", || gateway.inner.connections() == 7).await;
    assert!(is_served(connect_from(&gateway, 2).await).await);
}

#[actix_web::test]
async fn a_trusted_proxy_may_hold_all_connections() {
    let settings =
        [("STELE_MAX_CONNECTIONS", "8"), ("STELE_TRUSTED_PROXIES", "127.0.0.2"), ("STELE_CLIENT_TIMEOUT", "60")];
    let gateway = start_front(&settings);
    let mut held = Vec::new();
    for _ in 0..7 {
        held.push(connect_from(&gateway, 2).await);
    }
    wait_until("all but one are held", || gateway.inner.connections() == 7).await;
    assert!(is_served(connect_from(&gateway, 2).await).await);
}
