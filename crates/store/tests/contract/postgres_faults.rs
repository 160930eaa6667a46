//! What becomes of whoever needs a user when PostgreSQL is slow, gone or restarted.

use std::sync::Arc;
use std::time::Instant;

use stele_core::Error;
use stele_core::ports::UserStore;
use stele_store::{Database, Target};
use stele_testservers::{Postgres, Proxy};

use crate::support::*;

/// The users of a new database on this server, over this port, with `alice` among them.
async fn users(server: &Postgres, port: u16) -> Arc<dyn UserStore> {
    let url = server.url().replace(&format!(":{}/", server.port()), &format!(":{port}/"));
    let database = Database::open(&Target::parse(&url).unwrap()).unwrap();
    database.migrate().await.unwrap();
    let UserBackend { users, .. } = backend("postgres", &database, None).await;
    users.add(&named("alice")).await.unwrap().unwrap();
    users
}

/// Whoever comes is told in time that the store is not there, however many they are.
async fn unavailable(users: &Arc<dyn UserStore>) {
    // Twice: with connections that were good, and without.
    for _ in 0..2 {
        let started = Instant::now();
        let asking = (0..64).map(|n| {
            let users = Arc::clone(users);
            async move {
                let error = match n % 2 {
                    0 => users.find("alice").await.err(),
                    _ => users.add(&named(&format!("new{n}"))).await.err(),
                };
                matches!(error, Some(Error::Unavailable(_)))
            }
        });
        assert!(all_at_once(asking).await.into_iter().all(|told| told));
        assert!(started.elapsed() < secs(2), "{:?}", started.elapsed());
    }
}

/// All is well again in time, with nothing lost.
async fn recovered(users: &Arc<dyn UserStore>, name: &str) {
    let started = Instant::now();
    while let Err(error) = users.find("alice").await {
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert!(started.elapsed() < secs(2), "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // Not for one connection alone.
    let asking = (0..32).map(|_| {
        let users = Arc::clone(users);
        async move { users.find("alice").await.unwrap().is_some() }
    });
    assert!(all_at_once(asking).await.into_iter().all(|found| found));
    assert!(users.add(&named(name)).await.unwrap().is_some());
    assert!(started.elapsed() < secs(2), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_server_that_stops_or_dies_is_told_and_is_back_when_it_is_back() {
    let server = Postgres::start();
    let users = users(&server, server.port()).await;
    for (name, end) in [("stopped", Postgres::stop as fn(&Postgres)), ("killed", Postgres::kill)] {
        end(&server);
        unavailable(&users).await;
        server.restart();
        recovered(&users, name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_server_that_stands_still_is_told_and_is_back_when_it_goes_on() {
    let server = Postgres::start();
    let users = users(&server, server.port()).await;
    server.pause();
    unavailable(&users).await;
    server.resume();
    recovered(&users, "resumed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn so_is_a_link_that_stalls_or_is_cut() {
    let server = Postgres::start();
    let proxy = Proxy::to(server.port());
    let users = users(&server, proxy.port()).await;
    for (name, fault) in [("stalled", Proxy::stall as fn(&Proxy)), ("cut", Proxy::cut)] {
        fault(&proxy);
        unavailable(&users).await;
        proxy.resume();
        recovered(&users, name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn whoever_reads_does_not_notice_that_the_server_was_restarted() {
    let server = Postgres::start();
    let users = users(&server, server.port()).await;
    for _ in 0..3 {
        let asking = (0..16).map(|_| {
            let users = Arc::clone(&users);
            async move { users.find("alice").await.unwrap().is_some() }
        });
        assert!(all_at_once(asking).await.into_iter().all(|found| found));
        server.stop();
        server.restart();
    }
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn connections_end_with_their_runtime_and_nobody_notices() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = Postgres::start();
    let users = runtime().block_on(users(&server, server.port()));
    for _ in 0..5 {
        assert!(runtime().block_on(users.find("alice")).unwrap().is_some());
    }
    // Beside each other, each on its own.
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let users = Arc::clone(&users);
            std::thread::spawn(move || {
                runtime().block_on(async {
                    for _ in 0..50 {
                        assert!(users.find("alice").await.unwrap().is_some());
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
