//! Slowloris: thousands of slow and silent clients time out, while others log in.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::load::LoginLoad;
use crate::processes::{RunningProgram, TEST_TIMEOUT, TestDeployment};

const CLIENTS_PER_KIND: usize = 800;
const LOGIN_CLIENTS: usize = 8;
/// Timeout of heads and bodies, long enough that all clients are connected at the same time.
const TIMEOUT_SECONDS: &str = "15";
/// How much the gateway's memory may grow per connection, in bytes.
const MAX_BYTES_PER_CONNECTION: usize = 64 * 1024;

/// A kind of slow client: it sends `initial_bytes` at once, then nothing, or one byte every 250 ms.
#[derive(Clone, Copy)]
struct SlowClient {
    initial_bytes: &'static str,
    sends_slowly: bool,
    /// The status of the last response.
    expected_status: &'static str,
}

const NO_REQUEST: SlowClient = SlowClient { initial_bytes: "", sends_slowly: false, expected_status: "408" };
const SLOW_HEAD: SlowClient = SlowClient {
    initial_bytes: "POST /i/login HTTP/1.1\r\nHost: h\r\nX-A: ",
    sends_slowly: true,
    expected_status: "408",
};
const SLOW_SECOND_HEAD: SlowClient = SlowClient {
    initial_bytes: "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nPOST /i/login HTTP/1.1\r\nHost: h\r\nX-A: ",
    sends_slowly: true,
    expected_status: "408",
};
const SLOW_BODY: SlowClient = SlowClient {
    initial_bytes: "POST /i/login HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n\
            Content-Length: 60000\r\n\r\na=",
    sends_slowly: true,
    expected_status: "408",
};

/// Raises the limit of open files: this process and the gateway each need thousands.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.or(Some(1 << 16));
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(limit.current.is_none_or(|files| files >= 10_000), "too few open files: {limit:?}");
}

async fn connect(gateway: SocketAddr, connecting: &Semaphore) -> TcpStream {
    let _permit = connecting.acquire().await.unwrap();
    TcpStream::connect(gateway).await.unwrap()
}

/// Runs a slow client until the gateway closes its connection; returns the responses.
async fn run_slow_client(mut stream: TcpStream, kind: SlowClient) -> String {
    stream.write_all(kind.initial_bytes.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut responses = Vec::new();
    let send_slowly = async {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            tick.tick().await;
            if kind.sends_slowly && writer.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let read_until_closed = async {
        tokio::select! {
            // A reset counts as a close.
            _ = reader.read_to_end(&mut responses) => {}
            () = send_slowly => {}
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, read_until_closed).await.expect("the gateway closes a slow connection");
    String::from_utf8(responses).unwrap()
}

/// Runs all slow clients concurrently, beside idle keep-alive connections, which must still be served at the end.
async fn run_slow_clients(gateway: SocketAddr) {
    let connecting = &Semaphore::new(200);
    let mut idle = join_all((0..CLIENTS_PER_KIND).map(|_| connect(gateway, connecting))).await;
    join_all(idle.iter_mut().map(request_health)).await;
    let kinds = [NO_REQUEST, SLOW_HEAD, SLOW_SECOND_HEAD, SLOW_BODY]
        .into_iter()
        .flat_map(|kind| std::iter::repeat_n(kind, CLIENTS_PER_KIND));
    let slow_clients =
        kinds.map(|kind| async move { (kind, run_slow_client(connect(gateway, connecting).await, kind).await) });
    for (kind, responses) in join_all(slow_clients).await {
        let last_status = responses.rsplit("HTTP/1.1 ").next().and_then(|last| last.get(..3)).unwrap_or_default();
        assert_eq!(last_status, kind.expected_status, "{:?}: {responses}", kind.initial_bytes);
    }
    join_all(idle.iter_mut().map(request_health)).await;
}

/// Sends a request for `/healthz` and reads the response.
async fn request_health(stream: &mut TcpStream) {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\nok") {
        let read =
            tokio::time::timeout(TEST_TIMEOUT, stream.read_buf(&mut response)).await.expect("a response").unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&response));
    }
}

/// The value of one of the gateway's metrics.
fn metric_value(gateway: &RunningProgram, name: &str) -> usize {
    let page = gateway.metrics();
    let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {page}"));
    line.trim().parse().unwrap()
}

#[test]
fn thousands_of_slow_clients_time_out_without_affecting_logins() {
    raise_open_files();
    let deployment = TestDeployment::new();
    let service = deployment.start_portal();
    let timeouts = [("STELE_CLIENT_TIMEOUT", TIMEOUT_SECONDS), ("STELE_BODY_TIMEOUT", TIMEOUT_SECONDS)];
    let mut gateway = deployment.start_gateway_with(&[&service], &timeouts);
    let load = LoginLoad::start(LOGIN_CLIENTS, &[gateway.address]);
    load.wait_for_logins(100);
    let memory_before = gateway.peak_memory();
    let address = gateway.address;
    let slow_clients = std::thread::spawn(move || actix_web::rt::System::new().block_on(run_slow_clients(address)));
    let connection_count = |gateway: &RunningProgram| metric_value(gateway, "stele_gateway_connections ");
    let deadline = Instant::now() + TEST_TIMEOUT;
    let mut max_connections = 0;
    while max_connections < 5 * CLIENTS_PER_KIND {
        assert!(!slow_clients.is_finished() && Instant::now() < deadline, "only {max_connections} connections at once");
        max_connections = max_connections.max(connection_count(&gateway));
    }
    // All slow clients are connected; logins continue.
    load.wait_for_logins(100);
    slow_clients.join().unwrap();
    load.wait_for_logins(100);
    let failed = load.stop();
    assert!(failed.is_empty(), "{failed:?}\n{}", gateway.log());
    gateway.wait_until("the end of all connections", |gateway| connection_count(gateway) == 0);
    let memory_growth = gateway.peak_memory() - memory_before;
    assert!(
        memory_growth < 5 * CLIENTS_PER_KIND * MAX_BYTES_PER_CONNECTION,
        "{memory_growth} bytes for {max_connections} connections"
    );
}
