//! The servers that tests stand on do what they are told.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use stele_testservers::{Postgres, Proxy, Redis};

/// Whether a server on this port answers a request for TLS, as PostgreSQL does, in a process of the client's own.
fn answers_tls_request(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
        stream.read_exact(&mut [0])
    };
    ask().is_ok()
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn postgres_keeps_its_data_across_pause_stop_and_kill() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.port());
    server.execute("CREATE TABLE kept ()");
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
    for end in [Postgres::stop, Postgres::kill] {
        end(&server);
        assert!(!answers_tls_request(server.port()));
        server.restart();
        server.execute("SELECT FROM kept");
    }
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn redis_keeps_its_data_across_pause_stop_and_kill() {
    let server = Redis::start();
    assert!(server.command("PING").contains("PONG"));
    for end in [Redis::stop, Redis::kill] {
        end(&server);
        assert_eq!(server.command("PING"), "");
        server.restart();
        assert!(server.command("PING").contains("PONG"));
    }
    server.pause();
    assert_eq!(server.command("PING"), "");
    server.resume();
    assert!(server.command("PING").contains("PONG"));
}
