//! The servers that tests stand on do what they are told.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use stele_testservers::{Postgres, Proxy, Redis};

/// Whether a server on this port answers a request for TLS, as PostgreSQL does, in a process of the client's own.
fn answers(port: u16) -> bool {
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
fn postgres_stands_still_stops_dies_and_comes_back_with_its_data() {
    let server = Postgres::start();
    let proxy = Proxy::to(server.port());
    server.execute("CREATE TABLE kept ()");
    assert_ne!(server.url(), server.url());
    assert!(answers(server.port()) && answers(proxy.port()));
    proxy.stall();
    assert!(!answers(proxy.port()));
    proxy.resume();
    assert!(answers(proxy.port()));
    proxy.cut();
    assert!(!answers(proxy.port()));
    server.pause();
    assert!(!answers(server.port()));
    server.resume();
    assert!(answers(server.port()));
    for end in [Postgres::stop, Postgres::kill] {
        end(&server);
        assert!(!answers(server.port()));
        server.restart();
        server.execute("SELECT FROM kept");
    }
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn redis_too() {
    let server = Redis::start();
    assert!(server.ask("PING").contains("PONG"));
    for end in [Redis::stop, Redis::kill] {
        end(&server);
        assert_eq!(server.ask("PING"), "");
        server.restart();
        assert!(server.ask("PING").contains("PONG"));
    }
    server.pause();
    assert_eq!(server.ask("PING"), "");
    server.resume();
    assert!(server.ask("PING").contains("PONG"));
}
