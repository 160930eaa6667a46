//! Readings of the clocks of PostgreSQL and Redis. An embedded store has none.

use std::collections::HashSet;
use std::sync::Arc;

use stele_core::Error;
use stele_core::ports::{ServerClock, StateStore};
use stele_core::time::{Clock as _, SystemClock};
use stele_store::{Database, DatabaseUrl, RedisStateStore};
use stele_testservers::{self as servers, Redis, RedisMode};

use crate::support::*;

/// Reads clocks of servers on this machine. The readings must lie within the round trip.
async fn assert_within_round_trip(read: impl Future<Output = stele_core::Result<Vec<ServerClock>>>) -> Vec<String> {
    let sent_at = SystemClock.now();
    let readings = read.await.unwrap();
    let received_at = SystemClock.now();
    for ServerClock { server, now } in &readings {
        assert!((sent_at..=received_at).contains(now), "{server}: {sent_at:?} {now:?} {received_at:?}");
    }
    readings.into_iter().map(|reading| reading.server).collect()
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn the_clocks_of_servers_are_read_within_the_round_trip() {
    let postgres = Database::open(&DatabaseUrl::parse(&servers::database_url()).unwrap()).unwrap().users();
    let redis = RedisStateStore::open(&servers::redis_url(), Arc::new(SystemClock)).await.unwrap();
    let cluster = RedisStateStore::open(&servers::redis_cluster_url(), Arc::new(SystemClock)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(assert_within_round_trip(postgres.server_clocks()).await, [""]);
        assert_eq!(assert_within_round_trip(StateStore::server_clocks(&*redis)).await, [""]);
        let masters = assert_within_round_trip(StateStore::server_clocks(&*cluster)).await;
        let distinct: HashSet<_> = masters.iter().filter(|master| master.starts_with("127.0.0.1:")).collect();
        assert_eq!(distinct.len(), 3, "every master: {masters:?}");
    }
}

#[tokio::test]
async fn an_embedded_store_has_no_server_clock() {
    let (state, folder) = sqlite_state();
    assert_eq!(StateStore::server_clocks(&*state).await.unwrap(), []);
    let database = Database::open(&DatabaseUrl::sqlite(folder.path().join("users.db"))).unwrap();
    assert_eq!(database.users().server_clocks().await.unwrap(), []);
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_unreachable_server_has_no_reading() {
    let redis = Redis::start_mode(RedisMode::Standalone);
    let state = RedisStateStore::open(&redis.url(), Arc::new(SystemClock)).await.unwrap();
    redis.stop();
    assert!(matches!(StateStore::server_clocks(&*state).await, Err(Error::Unavailable(_))));
    let nowhere = Database::open(&DatabaseUrl::parse("postgres://stele@127.0.0.1:1/stele").unwrap()).unwrap();
    assert!(matches!(nowhere.users().server_clocks().await, Err(Error::Unavailable(_))));
}
