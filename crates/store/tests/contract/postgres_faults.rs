//! PostgreSQL faults: stopped, killed, paused and restarted servers, and stalled or cut connections.

use std::sync::Arc;
use std::time::Instant;

use stele_core::Error;
use stele_core::ports::UserStore;
use stele_store::{Database, DatabaseUrl};
use stele_testservers::{Postgres, Proxy};

use crate::support::*;

/// The user store of a new database on `server`, reached through `port`, with the user `alice`.
async fn users_through_port(server: &Postgres, port: u16) -> Arc<dyn UserStore> {
    let url = server.new_database_url().replace(&format!(":{}/", server.port()), &format!(":{port}/"));
    let database = Database::open(&DatabaseUrl::parse(&url).unwrap()).unwrap();
    database.migrate().await.unwrap();
    let UserBackend { users, .. } = user_backend("postgres", &database, None).await;
    users.add(&user_named("alice")).await.unwrap().unwrap();
    users
}

/// Checks that concurrent calls all fail as unavailable within two seconds.
async fn assert_unavailable_in_time(users: &Arc<dyn UserStore>) {
    // In the first round the connections are from before the fault, in the second they are new.
    for _ in 0..2 {
        let started = Instant::now();
        let calls = (0..64).map(|n| {
            let users = Arc::clone(users);
            async move {
                let error = match n % 2 {
                    0 => users.find_by_identifier("alice").await.err(),
                    _ => users.add(&user_named(&format!("new{n}"))).await.err(),
                };
                matches!(error, Some(Error::Unavailable(_)))
            }
        });
        assert!(all_at_once(calls).await.into_iter().all(|is_unavailable| is_unavailable));
        assert!(started.elapsed() < secs(2), "{:?}", started.elapsed());
    }
}

/// Checks that calls succeed within two seconds, and that no data is lost.
async fn assert_recovered_in_time(users: &Arc<dyn UserStore>, name: &str) {
    let started = Instant::now();
    while let Err(error) = users.find_by_identifier("alice").await {
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert!(started.elapsed() < secs(2), "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // Concurrent calls, so that all connections of the pool are used.
    let calls = (0..32).map(|_| {
        let users = Arc::clone(users);
        async move { users.find_by_identifier("alice").await.unwrap().is_some() }
    });
    assert!(all_at_once(calls).await.into_iter().all(|found| found));
    assert!(users.add(&user_named(name)).await.unwrap().is_some());
    assert!(started.elapsed() < secs(2), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_stopped_or_killed_server_is_unavailable_until_it_restarts() {
    let server = Postgres::start();
    let users = users_through_port(&server, server.port()).await;
    for (name, stop) in [("stopped", Postgres::stop as fn(&Postgres)), ("killed", Postgres::kill)] {
        stop(&server);
        assert_unavailable_in_time(&users).await;
        server.restart();
        assert_recovered_in_time(&users, name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_paused_server_is_unavailable_until_it_resumes() {
    let server = Postgres::start();
    let users = users_through_port(&server, server.port()).await;
    server.pause();
    assert_unavailable_in_time(&users).await;
    server.resume();
    assert_recovered_in_time(&users, "resumed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_stalled_or_cut_connection_is_unavailable_until_it_recovers() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.port());
    let users = users_through_port(&server, proxy.port()).await;
    for (name, fault) in [("stalled", Proxy::pause as fn(&Proxy)), ("cut", Proxy::disconnect)] {
        fault(&proxy);
        assert_unavailable_in_time(&users).await;
        proxy.resume();
        assert_recovered_in_time(&users, name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn reads_succeed_across_a_server_restart() {
    let server = Postgres::start();
    let users = users_through_port(&server, server.port()).await;
    for _ in 0..3 {
        let calls = (0..16).map(|_| {
            let users = Arc::clone(&users);
            async move { users.find_by_identifier("alice").await.unwrap().is_some() }
        });
        assert!(all_at_once(calls).await.into_iter().all(|found| found));
        server.stop();
        server.restart();
    }
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn calls_succeed_after_the_runtime_of_their_connections_ends() {
    let new_runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = Postgres::start();
    let users = new_runtime().block_on(users_through_port(&server, server.port()));
    for _ in 0..5 {
        assert!(new_runtime().block_on(users.find_by_identifier("alice")).unwrap().is_some());
    }
    // Concurrent threads, each with its own runtime.
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let users = Arc::clone(&users);
            std::thread::spawn(move || {
                new_runtime().block_on(async {
                    for _ in 0..50 {
                        assert!(users.find_by_identifier("alice").await.unwrap().is_some());
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
