//! Several PostgreSQL hosts in one URL: hosts that hang, standbys, failover, and a former primary that returns.

use std::sync::Arc;
use std::time::Instant;

use stele_core::Error;
use stele_core::ports::UserStore;
use stele_store::{Database, DatabaseUrl, OpenError, SchemaState};
use stele_testservers::{Pgbouncer, Postgres, UnresponsiveHost, execute};

use crate::support::*;

/// The URL of the database `postgres` on several ports of loopback.
fn url_of_ports(ports: &[u16]) -> String {
    let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://stele@{}/postgres", hosts.join(","))
}

fn open(url: &str) -> Database {
    Database::open(&DatabaseUrl::parse(url).unwrap()).unwrap()
}

/// A new store, as in another process, whose first call is a write. Checks that the call succeeds.
async fn add_user_with_new_store(url: &str, name: &str) -> Arc<dyn UserStore> {
    let users = open(url).users();
    assert!(users.add(&user_named(name)).await.unwrap().is_some());
    users
}

async fn has_user(server: &Postgres, name: &str) -> bool {
    let users = open(&server.default_database_url()).users();
    users.find_by_identifier(name).await.unwrap().is_some()
}

/// Adds the user `name` as soon as the store is available, within five seconds: sooner than the slots of connections that
/// a dead host does not let go of are freed.
async fn add_user_when_available(users: &Arc<dyn UserStore>, name: &str) {
    let started = Instant::now();
    while let Err(error) = users.add(&user_named(name)).await {
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert!(started.elapsed() < secs(5), "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// 64 concurrent calls, half of which write, whether or not they succeed.
async fn concurrent_calls(users: &Arc<dyn UserStore>, prefix: &str) {
    let calls = (0..64).map(|n| {
        let (users, name) = (Arc::clone(users), format!("{prefix}{n}"));
        async move {
            match n % 2 {
                0 => drop(users.find_by_identifier(&name).await),
                _ => drop(users.add(&user_named(&name)).await),
            }
        }
    });
    all_at_once(calls).await;
}

/// A primary with the schema and the tests' sealing keys.
async fn start_primary() -> Postgres {
    let primary = Postgres::start();
    let database = open(&primary.default_database_url());
    database.migrate().await.unwrap();
    user_backend("postgres", &database, None).await;
    primary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn hosts_that_hang_before_the_good_one_do_not_fail_a_call() {
    let server = start_primary().await;
    // Frozen and slow to log in: real servers. The others hang before any answer, in TLS, and in the login.
    let (frozen, slow) = (Postgres::start(), Postgres::start());
    frozen.pause();
    slow.execute("ALTER SYSTEM SET post_auth_delay = 60");
    slow.restart();
    let silent = [b"".as_slice(), b"S", b"N"].map(UnresponsiveHost::replying);
    let dropping = UnresponsiveHost::dropping_packets();
    let hung: Vec<u16> = [frozen.port(), slow.port(), dropping.port()]
        .into_iter()
        .chain(silent.iter().map(UnresponsiveHost::port))
        .collect();
    for (n, port) in hung.iter().enumerate() {
        let url = url_of_ports(&[*port, server.port()]);
        assert_eq!(open(&url).schema_state().await.unwrap(), SchemaState::Current, "hung host {n}");
        open(&url).migrate().await.unwrap();
        add_user_with_new_store(&url, &format!("user{n}")).await;
    }
    let all: Vec<u16> = hung.iter().copied().chain([server.port()]).collect();
    assert_eq!(open(&url_of_ports(&all)).schema_state().await.unwrap(), SchemaState::Current);
    add_user_with_new_store(&url_of_ports(&all), "behind-all").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_host_that_hangs_is_not_waited_for_again() {
    let (server, silent) = (start_primary().await, UnresponsiveHost::silent());
    let users = add_user_with_new_store(&url_of_ports(&[silent.port(), server.port()]), "alice").await;
    let attempts = silent.connections();
    assert_eq!(attempts, 1, "the first connection of a process tries all hosts");
    let calls = (0..64).map(|n| {
        let users = Arc::clone(&users);
        async move {
            match n % 2 {
                0 => assert!(users.find_by_identifier("alice").await.unwrap().is_some()),
                _ => assert!(users.add(&user_named(&format!("new{n}"))).await.unwrap().is_some()),
            }
        }
    });
    all_at_once(calls).await;
    assert_eq!(silent.connections(), attempts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_standby_gets_no_connections_unless_the_url_permits_it() {
    let primary = start_primary().await;
    let standby = primary.start_standby();
    let ports = [standby.port(), primary.port()];
    for parameters in ["", "?target_session_attrs=read-write"] {
        let url = format!("{}{parameters}", url_of_ports(&ports));
        open(&url).migrate().await.unwrap();
        add_user_with_new_store(&url, &format!("user{}", parameters.len())).await;
    }
    let standby_only = url_of_ports(&[standby.port(), standby.port()]);
    for parameters in ["any", "read-only"] {
        let url = format!("{standby_only}?target_session_attrs={parameters}");
        assert_eq!(open(&url).schema_state().await.unwrap(), SchemaState::Current, "{parameters}");
    }
    // With one host and no parameter, any server is accepted, as before there were several.
    assert_eq!(open(&standby.default_database_url()).schema_state().await.unwrap(), SchemaState::Current);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn the_error_names_each_host_and_its_cause() {
    let primary = Postgres::start();
    let (standby, silent) = (primary.start_standby(), UnresponsiveHost::silent());
    let url = url_of_ports(&[silent.port(), standby.port(), 1]).replace("stele@", "stele:hunter2@");
    let started = Instant::now();
    let error = open(&url).schema_state().await.unwrap_err();
    // Half a second, and a margin for a busy machine; the limit of all is five.
    assert!(started.elapsed() < secs(3), "{:?}", started.elapsed());
    let text = error.to_string();
    let expected = format!(
        "127.0.0.1:{}: no answer within 0.5 s; 127.0.0.1:{}: is read-only; 127.0.0.1:1: error connecting",
        silent.port(),
        standby.port()
    );
    assert!(text.contains(&expected) && !text.contains("hunter2") && !text.contains('\n'), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_former_primary_that_returns_unfenced_gets_no_connections() {
    for fail in [Postgres::pause as fn(&Postgres), Postgres::kill] {
        let primary = start_primary().await;
        let standby = primary.start_standby();
        let url = url_of_ports(&[primary.port(), standby.port()]);
        let users = add_user_with_new_store(&url, "before").await;
        // All connections of the process are in use when the primary fails.
        concurrent_calls(&users, "a").await;
        fail(&primary);
        concurrent_calls(&users, "b").await;
        standby.promote();
        add_user_when_available(&users, "after-failover").await;
        primary.kill();
        primary.restart();
        primary.execute("CREATE TABLE accepts_writes ()");
        // New connections of this process, also while the promoted server restarts, and those of a new process.
        standby.stop();
        assert!(matches!(users.add(&user_named("lost")).await, Err(Error::Unavailable(_))));
        assert!(matches!(users.find_by_identifier("before").await, Err(Error::Unavailable(_))));
        standby.restart();
        add_user_when_available(&users, "after-return").await;
        add_user_with_new_store(&url, "restarted").await;
        for name in ["after-failover", "after-return", "restarted"] {
            assert!(has_user(&standby, name).await && !has_user(&primary, name).await, "{name}");
        }
        assert!(!has_user(&primary, "lost").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn earlier_connections_to_a_former_primary_are_not_used_again() {
    let primary = start_primary().await;
    let standby = primary.start_standby();
    let users = add_user_with_new_store(&url_of_ports(&[primary.port(), standby.port()]), "before").await;
    concurrent_calls(&users, "a").await;
    primary.pause();
    standby.promote();
    let started = Instant::now();
    // A read selects the promoted server, while the connections for writes are idle.
    while let Err(error) = users.find_by_identifier("before").await {
        assert!(started.elapsed() < secs(5), "{error}");
    }
    primary.resume();
    for n in 0..10 {
        add_user_when_available(&users, &format!("after{n}")).await;
        assert!(has_user(&standby, &format!("after{n}")).await, "written to the former primary: {n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn connections_to_a_primary_that_becomes_read_only_are_left() {
    let primary = start_primary().await;
    let standby = primary.start_standby();
    let users = add_user_with_new_store(&url_of_ports(&[primary.port(), standby.port()]), "before").await;
    concurrent_calls(&users, "a").await;
    standby.promote();
    primary.execute("ALTER SYSTEM SET default_transaction_read_only = on");
    primary.execute("SELECT pg_reload_conf()");
    let started = Instant::now();
    for n in 0.. {
        let name = format!("after{n}");
        let added = users.add(&user_named(&name)).await;
        if added.is_ok() && has_user(&standby, &name).await {
            // Reads follow.
            assert!(users.find_by_identifier(&name).await.unwrap().is_some());
            return;
        }
        assert!(started.elapsed() < secs(5), "{added:?}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn roles_without_privileges_distinguish_primaries_or_fall_back() {
    let server = start_primary().await;
    server.execute("CREATE ROLE app LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO app");
    let url = url_of_ports(&[1, server.port()]).replace("stele@", "app@");
    assert_eq!(open(&url).schema_state().await.unwrap(), SchemaState::Current);
    execute(&server.default_database_url().replace("stele@", "app@"), "SELECT FROM pg_control_system()");
    server.execute("REVOKE EXECUTE ON FUNCTION pg_control_system FROM public");
    assert_eq!(open(&url).schema_state().await.unwrap(), SchemaState::Current);
    add_user_with_new_store(&url, "fallback").await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL and PgBouncer"]
async fn unix_sockets_and_hostaddr_are_hosts_like_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = start_primary().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let pooler = Pgbouncer::start(&server, &[("unix_socket_dir", folder.path().to_str().unwrap())]);
    let socket = folder.path().to_str().unwrap().replace('/', "%2F");
    let (port, pooler_port) = (server.port(), pooler.port());
    for hosts in [
        format!("{socket}:{pooler_port}/postgres"),
        format!("{socket}:1,{socket}:{pooler_port}/postgres"),
        format!("host.invalid:1,{socket}:{pooler_port}/postgres"),
        format!("host.invalid:{port}/postgres?hostaddr=127.0.0.1"),
        format!("host.invalid:1,host.invalid:{port}/postgres?hostaddr=127.0.0.1,127.0.0.1"),
        format!("/postgres?hostaddr=127.0.0.1&port={port}"),
        format!("localhost:{port}/postgres"),
    ] {
        let url = format!("postgres://stele@{hosts}");
        let schema = open(&url).schema_state().await;
        assert!(matches!(schema, Ok(SchemaState::Current)), "{url}: {schema:?}: {}", pooler.log());
    }
    let error = open(&format!("postgres://stele@{socket}:1,127.0.0.1:1/postgres")).schema_state().await.unwrap_err();
    let expected = format!("{}:1: error connecting", folder.path().display());
    assert!(error.to_string().contains(&expected), "{error}");
}

#[tokio::test]
async fn hosts_that_cannot_be_used_together_are_rejected() {
    for (url, expected) in [
        ("postgres:///d", "no host"),
        ("postgres://a,b/d?hostaddr=127.0.0.1", "hostaddr"),
        ("postgres://a,b/d?port=1", "ports"),
        ("postgres://a,b/d?load_balance_hosts=random", "load_balance_hosts"),
        // Parts of a password that would be hosts, which errors name.
        ("postgres://u:hunt@er2@h/d", "%40"),
        ("postgres://u:h?unt@er2/x@h:5432/d", "%40"),
    ] {
        let error = Database::open(&DatabaseUrl::parse(url).unwrap()).err().unwrap();
        assert!(matches!(error, OpenError::InvalidDatabaseUrl(_)) && error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains("er2"), "{error}");
    }
}
