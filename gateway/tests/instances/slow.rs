//! Thousands of clients that take their time, while others log in.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::load::Load;
use crate::programs::{Home, PATIENCE, Program};

/// Of each kind.
const SLOW: usize = 800;
const CLIENTS: usize = 8;
/// How long heads and bodies may take: enough for all to be there at once.
const LIMIT: &str = "8";
/// What one connection may cost the gateway, for all it holds.
const MOST_PER_CONNECTION: usize = 64 * 1024;

/// What a client does on its connection, byte by byte, after it has sent `first` at once.
#[derive(Clone, Copy)]
struct Kind {
    first: &'static str,
    trickle: bool,
    /// The status of the last answer.
    status: &'static str,
}

const SILENT: Kind = Kind { first: "", trickle: false, status: "408" };
const HEAD: Kind = Kind { first: "POST /i/login HTTP/1.1\r\nHost: h\r\nX-A: ", trickle: true, status: "408" };
const LATER_HEAD: Kind = Kind {
    first: "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nPOST /i/login HTTP/1.1\r\nHost: h\r\nX-A: ",
    trickle: true,
    status: "408",
};
const BODY: Kind = Kind {
    first: "POST /i/login HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n\
            Content-Length: 60000\r\n\r\na=",
    trickle: true,
    status: "408",
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
async fn dawdle(mut stream: TcpStream, kind: Kind) -> String {
    stream.write_all(kind.first.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answers = Vec::new();
    let trickle = async {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        loop {
            tick.tick().await;
            if kind.trickle && writing.write_all(b"x").await.is_err() {
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
    tokio::time::timeout(PATIENCE, ended).await.expect("a slow client is held for ever");
    String::from_utf8(answers).unwrap()
}

/// All of them at once, and as many that wait quietly between two requests; those are still served at the end.
async fn crowd(gateway: SocketAddr) {
    let some = Semaphore::new(200);
    let get = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut waiting = join_all((0..SLOW).map(|_| connect(gateway, &some))).await;
    join_all(waiting.iter_mut().map(|stream| ask(stream, get))).await;
    let kinds = [SILENT, HEAD, LATER_HEAD, BODY].into_iter().flat_map(|kind| std::iter::repeat_n(kind, SLOW));
    let some = &some;
    let slow = kinds.map(|kind| async move { (kind, dawdle(connect(gateway, some).await, kind).await) });
    for (kind, answers) in join_all(slow).await {
        let last = answers.rsplit("HTTP/1.1 ").next().and_then(|last| last.get(..3)).unwrap_or_default();
        assert_eq!(last, kind.status, "{:?}: {answers}", kind.first);
    }
    join_all(waiting.iter_mut().map(|stream| ask(stream, get))).await;
}

async fn ask(stream: &mut TcpStream, request: &str) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    while !answers.ends_with(b"\r\n\r\nok") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answers)).await.expect("no answer").unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answers));
    }
}

/// A figure of the gateway's metrics.
fn metric(gateway: &Program, name: &str) -> usize {
    let page = gateway.metrics();
    let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {page}"));
    line.trim().parse().unwrap()
}

#[test]
fn thousands_of_slow_clients_are_let_go_while_logins_go_on() {
    raise_open_files();
    let home = Home::new();
    let service = home.service();
    let limits = [("STELE_CLIENT_TIMEOUT", LIMIT), ("STELE_BODY_TIMEOUT", LIMIT)];
    let mut gateway = home.gateway_with(&[&service], &limits);
    let load = Load::start(CLIENTS, &[gateway.address]);
    load.more(100);
    let before = gateway.most_memory();
    let address = gateway.address;
    let slow = std::thread::spawn(move || actix_web::rt::System::new().block_on(crowd(address)));
    let held = |gateway: &Program| metric(gateway, "stele_gateway_connections ");
    let deadline = Instant::now() + PATIENCE;
    let mut most = 0;
    while most < 5 * SLOW {
        assert!(!slow.is_finished() && Instant::now() < deadline, "never more than {most} at once");
        most = most.max(held(&gateway));
    }
    // They are all there, and take nothing from those who log in.
    load.more(100);
    slow.join().unwrap();
    load.more(100);
    let failed = load.end();
    assert!(failed.is_empty(), "{failed:?}\n{}", gateway.log());
    gateway.until("let go", |gateway| held(gateway) == 0);
    let grown = gateway.most_memory() - before;
    assert!(grown < 5 * SLOW * MOST_PER_CONNECTION, "{grown} bytes for {most} connections");
}
