//! Thousands of clients that take their time, while others log in.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::load::LoginLoad;
use crate::processes::{RunningProgram, TEST_TIMEOUT, TestDeployment};

/// Of each kind.
const CLIENTS_PER_KIND: usize = 800;
const LOGIN_CLIENTS: usize = 8;
/// How long heads and bodies may take: enough for all to be there at once.
const TIMEOUT_SECONDS: &str = "8";
/// What one connection may cost the gateway, for all it holds.
const MAX_BYTES_PER_CONNECTION: usize = 64 * 1024;

/// What a client does on its connection, byte by byte, after it has sent `first` at once.
#[derive(Clone, Copy)]
struct SlowClient {
    initial_bytes: &'static str,
    sends_slowly: bool,
    /// The status of the last answer.
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

/// Both ends of thousands of connections need more open files than a process begins with.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.or(Some(1 << 16));
    setrlimit(Resource::Nofile, limit).unwrap();
    assert!(limit.current.is_none_or(|files| files >= 10_000), "too few open files: {limit:?}");
}

async fn connect(gateway: SocketAddr, some: &Semaphore) -> TcpStream {
    let _permit = some.acquire().await.unwrap();
    TcpStream::connect(gateway).await.unwrap()
}

/// Goes on until the gateway ends it; what it was answered.
async fn run_slow_client(mut stream: TcpStream, kind: SlowClient) -> String {
    stream.write_all(kind.initial_bytes.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answers = Vec::new();
    let trickle = async {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            tick.tick().await;
            if kind.sends_slowly && writing.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let ended = async {
        tokio::select! {
            // A reset is an end too.
            _ = reading.read_to_end(&mut answers) => {}
            () = trickle => {}
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, ended).await.expect("a slow client is held for ever");
    String::from_utf8(answers).unwrap()
}

/// All of them at once, and as many that wait quietly between two requests; those are still served at the end.
async fn run_slow_clients(gateway: SocketAddr) {
    let some = Semaphore::new(200);
    let get = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut waiting = join_all((0..CLIENTS_PER_KIND).map(|_| connect(gateway, &some))).await;
    join_all(waiting.iter_mut().map(|stream| send_request(stream, get))).await;
    let kinds = [NO_REQUEST, SLOW_HEAD, SLOW_SECOND_HEAD, SLOW_BODY]
        .into_iter()
        .flat_map(|kind| std::iter::repeat_n(kind, CLIENTS_PER_KIND));
    let some = &some;
    let slow = kinds.map(|kind| async move { (kind, run_slow_client(connect(gateway, some).await, kind).await) });
    for (kind, answers) in join_all(slow).await {
        let last = answers.rsplit("HTTP/1.1 ").next().and_then(|last| last.get(..3)).unwrap_or_default();
        assert_eq!(last, kind.expected_status, "{:?}: {answers}", kind.initial_bytes);
    }
    join_all(waiting.iter_mut().map(|stream| send_request(stream, get))).await;
}

async fn send_request(stream: &mut TcpStream, request: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    while !answers.ends_with(b"\r\n\r\nok") {
        let read = tokio::time::timeout(TEST_TIMEOUT, stream.read_buf(&mut answers)).await.expect("no answer").unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answers));
    }
}

/// A figure of the gateway's metrics.
fn metric_value(gateway: &RunningProgram, name: &str) -> usize {
    let page = gateway.metrics();
    let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {page}"));
    line.trim().parse().unwrap()
}

#[test]
fn thousands_of_slow_clients_time_out_without_affecting_logins() {
    raise_open_files();
    let home = TestDeployment::new();
    let service = home.start_portal();
    let limits = [("STELE_CLIENT_TIMEOUT", TIMEOUT_SECONDS), ("STELE_BODY_TIMEOUT", TIMEOUT_SECONDS)];
    let mut gateway = home.start_gateway_with(&[&service], &limits);
    let load = LoginLoad::start(LOGIN_CLIENTS, &[gateway.address]);
    load.wait_for_logins(100);
    let before = gateway.peak_memory();
    let address = gateway.address;
    let slow = std::thread::spawn(move || actix_web::rt::System::new().block_on(run_slow_clients(address)));
    let held = |gateway: &RunningProgram| metric_value(gateway, "stele_gateway_connections ");
    let deadline = Instant::now() + TEST_TIMEOUT;
    let mut most = 0;
    while most < 5 * CLIENTS_PER_KIND {
        assert!(!slow.is_finished() && Instant::now() < deadline, "never more than {most} at once");
        most = most.max(held(&gateway));
    }
    // They are all there, and take nothing from those who log in.
    load.wait_for_logins(100);
    slow.join().unwrap();
    load.wait_for_logins(100);
    let failed = load.stop();
    assert!(failed.is_empty(), "{failed:?}\n{}", gateway.log());
    gateway.wait_until("let go", |gateway| held(gateway) == 0);
    let grown = gateway.peak_memory() - before;
    assert!(grown < 5 * CLIENTS_PER_KIND * MAX_BYTES_PER_CONNECTION, "{grown} bytes for {most} connections");
}
