//! PgBouncer in front of PostgreSQL: session mode is supported, the other modes are rejected at the start.

use std::sync::Arc;

use stele_core::Error;
use stele_core::ports::UserStore;
use stele_store::{Database, DatabaseUrl, OpenError, SchemaState};
use stele_testservers::{Pgbouncer, Postgres};

use crate::support::*;

fn open(url: &str) -> Database {
    Database::open(&DatabaseUrl::parse(url).unwrap()).unwrap()
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Fills the pooler with this many idle connections to the server.
async fn fill_with_idle_connections(url: &str, count: usize) {
    let mut clients = Vec::new();
    for _ in 0..count {
        let client = connect(url).await;
        client.batch_execute("BEGIN").await.unwrap();
        clients.push(client);
    }
    for client in clients {
        client.batch_execute("COMMIT").await.unwrap();
    }
}

fn assert_rejected(outcome: Result<impl std::fmt::Debug, OpenError>, mode: &str) {
    let error = outcome.expect_err(mode);
    assert!(matches!(error, OpenError::SharedSessions(_)), "{mode}: {error}");
    let text = error.to_string();
    assert!(text.contains("pool_mode=session") && !text.contains('\n'), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and PgBouncer"]
async fn transaction_and_statement_mode_are_rejected_in_one_line() {
    let server = Postgres::start();
    for (mode, pool_size, round_robin, idle) in [
        ("transaction", "20", "0", 0),
        ("transaction", "1", "0", 0),
        ("transaction", "20", "0", 5),
        ("transaction", "20", "1", 1),
        ("transaction", "20", "1", 2),
        ("transaction", "20", "1", 5),
        ("statement", "20", "0", 0),
        ("statement", "1", "1", 0),
    ] {
        let settings = [("pool_mode", mode), ("default_pool_size", pool_size), ("server_round_robin", round_robin)];
        let pooler = Pgbouncer::start(&server, &settings);
        let url = pooler.url(&server.create_database());
        fill_with_idle_connections(&url, idle).await;
        let case = format!("{mode}, {pool_size} connections, {idle} idle, round robin {round_robin}");
        assert_rejected(open(&url).schema_state().await, &case);
        assert_rejected(open(&url).migrate().await, &case);
        // Also as one of several hosts.
        let several = url.replacen("@127.0.0.1:", "@127.0.0.1:1,127.0.0.1:", 1);
        assert_rejected(open(&several).schema_state().await, &case);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and PgBouncer"]
async fn transaction_mode_is_rejected_while_other_clients_use_it() {
    let server = Postgres::start();
    for round_robin in ["0", "1"] {
        let settings = [("pool_mode", "transaction"), ("server_round_robin", round_robin)];
        let pooler = Pgbouncer::start(&server, &settings);
        let url = pooler.url(&server.create_database());
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move {
                    let client = connect(&url).await;
                    loop {
                        client.simple_query("SELECT pg_sleep(0.001)").await.unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            assert_rejected(open(&url).schema_state().await, round_robin);
        }
        for client in clients {
            client.abort();
        }
    }
}

/// Calls of each kind: migrations, transactions, reads of one row and of several, and the audit log.
async fn use_all_stores(database: &Database) -> UserBackend {
    database.migrate().await.unwrap();
    assert_eq!(database.schema_state().await.unwrap(), SchemaState::Current);
    let backend = user_backend("pgbouncer", database, None).await;
    let user = backend.users.add(&user_named("alice")).await.unwrap().unwrap();
    assert_eq!(backend.users.find_by_identifier("alice").await.unwrap().unwrap().user.id, user.id);
    assert_eq!(backend.keys.keys().await.unwrap().len(), 3);
    assert_eq!(backend.verifiers.count_unwrapped().await.unwrap(), 0);
    backend.users.ping().await.unwrap();
    backend
}

/// 64 concurrent calls, half of which write. Returns how many succeed; the others must be unavailable.
async fn concurrent_calls(users: &Arc<dyn UserStore>, round: usize) -> usize {
    let calls = (0..64).map(|n| {
        let users = Arc::clone(users);
        async move {
            let outcome = match n % 2 {
                0 => users.find_by_identifier("alice").await.map(|user| assert!(user.is_some())),
                _ => users.add(&user_named(&format!("user{round}x{n}"))).await.map(|user| assert!(user.is_some())),
            };
            assert!(matches!(outcome, Ok(()) | Err(Error::Unavailable(_))), "{outcome:?}");
            outcome.is_ok()
        }
    });
    all_at_once(calls).await.into_iter().filter(|succeeded| *succeeded).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and PgBouncer"]
async fn session_mode_serves_all_calls_with_a_connection_for_each_of_the_instance() {
    let server = Postgres::start();
    let pooler = Pgbouncer::start(&server, &[("pool_mode", "session"), ("default_pool_size", "20")]);
    let database = open(&pooler.url(&server.create_database()));
    let UserBackend { users, .. } = use_all_stores(&database).await;
    for round in 0..3 {
        assert_eq!(concurrent_calls(&users, round).await, 64);
    }
    // The pooler is restarted: its connections are replaced like those of a server.
    pooler.stop();
    assert!(matches!(users.find_by_identifier("alice").await, Err(Error::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and PgBouncer"]
async fn session_mode_with_too_few_connections_serves_some_calls_and_reports_the_others() {
    let server = Postgres::start();
    let pooler = Pgbouncer::start(&server, &[("pool_mode", "session"), ("default_pool_size", "4")]);
    let database = open(&pooler.url(&server.create_database()));
    let UserBackend { users, .. } = use_all_stores(&database).await;
    for round in 0..3 {
        assert!(concurrent_calls(&users, round).await > 0);
        users.ping().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and PgBouncer"]
async fn the_only_free_connection_of_session_mode_is_enough_to_start() {
    let server = Postgres::start();
    let pooler = Pgbouncer::start(&server, &[("pool_mode", "session"), ("default_pool_size", "1")]);
    assert_eq!(open(&pooler.url(&server.create_database())).schema_state().await.unwrap(), SchemaState::Empty);
}
