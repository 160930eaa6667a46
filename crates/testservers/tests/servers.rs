//! The private servers and the proxy obey pause, resume, stop, kill and restart.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use stele_testservers::{Postgres, Proxy, Redis};

/// Whether the server on this port answers an `SSLRequest`, which PostgreSQL does in a new process per client.
fn answers_tls_request(port: u16) -> bool {
    let request = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
        stream.read_exact(&mut [0])
    };
    request().is_ok()
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn postgres_retains_its_data_across_pause_stop_and_kill() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.port());
    server.execute("CREATE TABLE retained ()");
    assert_ne!(server.new_database_url(), server.new_database_url());
    assert!(answers_tls_request(server.port()) && answers_tls_request(proxy.port()));
    proxy.pause();
    assert!(!answers_tls_request(proxy.port()));
    proxy.resume();
    assert!(answers_tls_request(proxy.port()));
    proxy.disconnect();
    assert!(!answers_tls_request(proxy.port()));
    server.pause();
    assert!(!answers_tls_request(server.port()));
    server.resume();
    assert!(answers_tls_request(server.port()));
    for stop in [Postgres::stop, Postgres::kill] {
        stop(&server);
        assert!(!answers_tls_request(server.port()));
        server.restart();
        server.execute("SELECT FROM retained");
    }
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn redis_responds_after_pause_stop_and_kill() {
    let server = Redis::start();
    assert!(server.command("PING").contains("PONG"));
    for stop in [Redis::stop, Redis::kill] {
        stop(&server);
        assert_eq!(server.command("PING"), "");
        server.restart();
        assert!(server.command("PING").contains("PONG"));
    }
    server.pause();
    assert_eq!(server.command("PING"), "");
    server.resume();
    assert!(server.command("PING").contains("PONG"));
}
