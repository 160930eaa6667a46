//! The private servers and the proxy obey pause, resume, stop, kill and restart; standbys, poolers and hosts that hang.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use stele_testservers::{Haproxy, Pgbouncer, Postgres, Proxy, Redis, UnresponsiveHost, eventually};

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

/// Whether the database at this URL is read-only, as a standby is.
fn is_read_only(url: &str) -> bool {
    let result = std::panic::catch_unwind(|| stele_testservers::execute(url, "CREATE TABLE writable ()"));
    result.is_err()
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_standby_has_the_data_of_its_primary_and_accepts_writes_after_promotion() {
    let primary = Postgres::start();
    primary.execute("CREATE TABLE replicated ()");
    let standby = primary.start_standby();
    standby.execute("SELECT FROM replicated");
    assert!(is_read_only(&standby.default_database_url()));
    primary.kill();
    standby.promote();
    assert!(!is_read_only(&standby.default_database_url()));
    primary.restart();
    assert!(!is_read_only(&primary.default_database_url()), "the former primary is not fenced");
}

#[test]
#[ignore = "needs PostgreSQL and PgBouncer"]
fn pgbouncer_serves_the_databases_of_its_server() {
    let server = Postgres::start();
    let pooler = Pgbouncer::start(&server, &[("pool_mode", "transaction")]);
    let (direct, pooled) = (server.create_database(), pooler.url(&server.create_database()));
    stele_testservers::execute(&pooled, "CREATE TABLE pooled ()");
    stele_testservers::execute(&pooler.url(&direct), "CREATE TABLE pooled ()");
    stele_testservers::execute(&direct, "SELECT FROM pooled");
    pooler.pause();
    assert!(!answers_tls_request(pooler.port()));
    pooler.resume();
    assert!(answers_tls_request(pooler.port()), "{}", pooler.log());
    pooler.stop();
    assert!(!answers_tls_request(pooler.port()));
    pooler.restart();
    assert!(answers_tls_request(pooler.port()), "{}", pooler.log());
}

#[test]
fn unresponsive_hosts_complete_no_handshake() {
    let (silent, dropping) = (UnresponsiveHost::silent(), UnresponsiveHost::dropping_packets());
    let accepting = UnresponsiveHost::replying(b"N");
    assert!(!answers_tls_request(silent.port()));
    assert!(answers_tls_request(accepting.port()));
    assert_eq!((silent.connections(), accepting.connections()), (1, 1));
    let address = (std::net::Ipv4Addr::LOCALHOST, dropping.port()).into();
    let error = TcpStream::connect_timeout(&address, Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[test]
#[ignore = "needs PostgreSQL and HAProxy"]
fn haproxy_uses_the_backup_once_the_server_fails_its_checks() {
    let (server, backup) = (Postgres::start(), Postgres::start());
    backup.execute("CREATE TABLE on_backup ()");
    let proxy = Haproxy::start(&[
        "option pgsql-check user stele".to_owned(),
        "default-server inter 100ms fall 1 on-marked-down shutdown-sessions".to_owned(),
        format!("server first 127.0.0.1:{} check", server.port()),
        format!("server second 127.0.0.1:{} check backup", backup.port()),
    ]);
    let url = format!("postgres://stele@127.0.0.1:{}/postgres", proxy.port());
    stele_testservers::execute(&url, "CREATE TABLE on_server ()");
    server.execute("SELECT FROM on_server");
    server.kill();
    let reaches_backup =
        || std::panic::catch_unwind(|| stele_testservers::execute(&url, "SELECT FROM on_backup")).is_ok();
    assert!(eventually(reaches_backup), "{}", proxy.log());
}
