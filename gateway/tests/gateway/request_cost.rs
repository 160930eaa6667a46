//! The cost of a request in the gateway: instructions and allocations, counted by Valgrind.

use std::net::SocketAddr;

use stele_testkit::{KeepAliveConnection, measure_with_valgrind, repetitions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::start_gateway;

const REQUEST: &str = "POST /i/login HTTP/1.1\r\nHost: h\r\nUser-Agent: test\r\nAccept: */*\r\n\
                       Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 24\r\n\r\nloginname=mark&password=x";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\
                        date: Wed, 25 Nov 2026 00:00:00 GMT\r\n\r\n{}";

/// Limits for an unoptimized build: the last measurement plus 20 %, because compilers differ. The limits include the
/// client and the service of the test, which make two of the allocations.
const MAX_INSTRUCTIONS: u64 = 305_000;
const MAX_ALLOCATIONS: u64 = 23;

#[actix_web::test]
#[ignore = "needs Valgrind"]
async fn a_request_stays_within_its_instruction_and_allocation_limits() {
    if let Some(count) = repetitions() {
        return send_requests(count).await;
    }
    let cost = measure_with_valgrind("request_cost::a_request_stays_within_its_instruction_and_allocation_limits");
    assert!(cost.instructions <= MAX_INSTRUCTIONS && cost.allocations <= MAX_ALLOCATIONS, "{cost:?}");
}

async fn send_requests(count: u64) {
    let gateway = start_gateway(
        &[("portal", &format!("http://{}", start_minimal_service().await))],
        &[("STELE_HEALTH_INTERVAL", "60")],
    );
    gateway.wait_until_healthy(&["portal"]).await;
    let mut client = KeepAliveConnection::connect_to(gateway.address).await;
    for _ in 0..count {
        let response = client.request(REQUEST).await;
        assert!(response.starts_with("HTTP/1.1 200 OK") && response.ends_with("{}"), "{response}");
    }
}

/// Starts a service that costs almost nothing: it parses no request, and has one response.
async fn start_minimal_service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    actix_web::rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            actix_web::rt::spawn(serve_connection(stream));
        }
    });
    address
}

async fn serve_connection(mut stream: TcpStream) {
    let mut buffer = [0; 2048];
    // The gateway writes each request at once, so that one read returns all of it.
    while let Ok(1..) = stream.read(&mut buffer).await {
        if stream.write_all(RESPONSE).await.is_err() {
            return;
        }
    }
}
