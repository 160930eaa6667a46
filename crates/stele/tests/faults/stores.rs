//! Redis and PostgreSQL stopped, stalled, restarted, emptied and failed over under running services.

use std::time::{Duration, Instant};

use serde_json::json;
use stele_testkit::servers::{self, Kind, Postgres, Proxy, Redis, eventually};

use crate::before::{Before, Memory};
use crate::client::{CLOUDBOX, proof};
use crate::scene::{PASSWORD, Scene};

fn scene(postgres: u16, redis: &str) -> Scene {
    let users = format!("postgres://stele@127.0.0.1:{postgres}/postgres");
    // A proof is stale to a store that is younger: people log in a second later.
    Scene::with(&[("STELE_DATABASE_URL", &users), ("STELE_REDIS_URL", redis)])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn redis_stalled_stopped_and_emptied_is_told_within_two_seconds_and_found_again_in_two() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let proxy = Proxy::to(redis.port());
    let scene = scene(postgres.port(), &format!("redis://127.0.0.1:{}", proxy.port()));

    let before = Before::new(&scene, 1).await;
    proxy.stall();
    before.is_refused(&scene).await;
    proxy.resume();
    before.is_let_in(&scene, Instant::now()).await;
    before.is_as_it_was(&scene, Memory::Whole).await;

    // The server itself stands still.
    let before = Before::new(&scene, 2).await;
    redis.pause();
    before.is_refused(&scene).await;
    redis.resume();
    before.is_let_in(&scene, Instant::now()).await;
    before.is_as_it_was(&scene, Memory::Whole).await;

    let before = Before::new(&scene, 3).await;
    assert!(redis.ask("SAVE").contains("OK"));
    redis.kill();
    before.is_refused(&scene).await;
    redis.restart();
    before.is_let_in(&scene, Instant::now()).await;
    before.is_as_it_was(&scene, Memory::Restored).await;

    let before = Before::new(&scene, 4).await;
    assert!(redis.ask("FLUSHALL").contains("OK") && redis.ask("SAVE").contains("OK"));
    redis.stop();
    before.is_refused(&scene).await;
    redis.restart();
    before.is_let_in(&scene, Instant::now()).await;
    before.is_as_it_was(&scene, Memory::Empty).await;
    let log = scene.server.stop();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_redis_that_fails_over_is_told_until_its_replica_takes_over() {
    let (postgres, master) = (Postgres::start(), Redis::start());
    let replica = Redis::of(Kind::Replica(master.port()));
    let sentinel = Redis::of(Kind::Sentinel(master.port()));
    let scene = scene(postgres.port(), &sentinel.url());
    let before = Before::new(&scene, 1).await;
    let offset = |server: &Redis, field: &str| {
        let told = server.ask("INFO replication");
        told.lines().find_map(|line| line.strip_prefix(field)?.trim().parse::<u64>().ok())
    };
    // All that was answered has reached the replica, which the sentinel knows.
    assert!(eventually(|| {
        let there = offset(&replica, "slave_repl_offset:");
        there.is_some() && there == offset(&master, "master_repl_offset:")
    }));
    assert!(eventually(|| sentinel.ask("SENTINEL replicas main").contains("name")));
    master.kill();
    before.is_refused(&scene).await;
    assert!(eventually(|| replica.ask("ROLE").contains("master")));
    before.is_let_in(&scene, Instant::now()).await;
    before.is_as_it_was(&scene, Memory::Restored).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn postgresql_stalled_stopped_and_killed_is_told_within_two_seconds_and_found_again_in_two() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    postgres.put("postgresql.auto.conf", "fsync = off\nmax_connections = 50\n");
    postgres.restart();
    let proxy = Proxy::to(postgres.port());
    let scene = scene(proxy.port(), &redis.url());

    let before = Before::new(&scene, 1).await;
    proxy.stall();
    before.is_refused(&scene).await;
    proxy.resume();
    before.is_let_in(&scene, Instant::now()).await;
    before.is_as_it_was(&scene, Memory::Whole).await;

    let before = Before::new(&scene, 2).await;
    postgres.pause();
    before.is_refused(&scene).await;
    postgres.resume();
    before.is_let_in(&scene, Instant::now()).await;
    before.is_as_it_was(&scene, Memory::Whole).await;

    for (number, kill) in [(3, true), (4, false)] {
        let before = Before::new(&scene, number).await;
        if kill {
            postgres.kill();
        } else {
            postgres.stop();
        }
        before.is_refused(&scene).await;
        postgres.restart();
        before.is_let_in(&scene, Instant::now()).await;
        before.is_as_it_was(&scene, Memory::Whole).await;
    }
    let log = scene.server.stop();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn postgresql_that_cannot_be_written_makes_it_not_ready() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let scene = scene(postgres.port(), &redis.url());
    let mark = scene.person("mark", "13800138000");
    let cloudbox = crate::client::Dialect::Cloudbox;
    scene.client.login(cloudbox, &mark, PASSWORD).await.good();
    scene.says_why("ready").await;

    // As after a failover to a standby, or on a full disk: it can be read and not written, by any connection.
    let other = format!("postgres://stele@127.0.0.1:{}/template1", postgres.port());
    let read_only = |value: &str| {
        let set = format!("ALTER DATABASE postgres SET default_transaction_read_only = {value}");
        servers::execute(&other, &set);
        let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'";
        servers::execute(&other, all);
    };
    read_only("on");
    // This login writes nothing there but the trail.
    scene.client.login(cloudbox, &mark, PASSWORD).await;
    scene.says_why("not ready: the audit trail cannot be written").await;
    read_only("off");
    scene.says_why("ready").await;
    scene.client.login(cloudbox, &mark, PASSWORD).await.good();
    scene.logged("the audit trail is written again; nothing of it is missing");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn many_logins_at_once_are_all_told_within_two_seconds() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let (users, state) = (Proxy::to(postgres.port()), Proxy::to(redis.port()));
    let scene = scene(users.port(), &format!("redis://127.0.0.1:{}", state.port()));
    let mark = scene.person("mark", "13800138000");
    for stalled in [&users, &state] {
        stalled.stall();
        let logins = (0..60).map(|n| {
            let (client, mark) = (scene.client.clone(), mark.clone());
            let dialect = crate::client::Dialect::ALL[n % 5];
            tokio::spawn(async move {
                let began = Instant::now();
                let answer = client.login(dialect, &mark, crate::scene::PASSWORD).await;
                (dialect, answer, began.elapsed())
            })
        });
        for login in logins.collect::<Vec<_>>() {
            let (dialect, answer, took) = login.await.unwrap();
            crate::scene::is_unavailable(dialect, &answer);
            // A machine that is busy with the tests themselves takes its time, too.
            assert!(took < Duration::from_secs(3), "{dialect:?}: {took:?}");
        }
        stalled.resume();
        let back = Instant::now();
        while !scene.client.login(crate::client::Dialect::Jwt, &mark, crate::scene::PASSWORD).await.succeeded() {
            assert!(back.elapsed() < Duration::from_secs(2));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn without_a_skew_an_emptied_redis_revives_no_used_proof() {
    let redis = Redis::start();
    let scene = Scene::with(&[("STELE_REDIS_URL", &redis.url()), ("STELE_TIMESTAMP_SKEW", "0")]);
    let mark = scene.person("mark", "13800138000");
    let login = async |at: u64| {
        let body = json!({ "username": mark.name, "password": proof(PASSWORD, at), "timestamp": at });
        scene.client.json(CLOUDBOX, &[], &body).await
    };
    login(1).await.good();
    assert!(redis.ask("FLUSHALL").contains("OK"));
    login(1).await.is(200, "1004");
    redis.stop();
    redis.restart();
    let began = Instant::now();
    while !login(2).await.succeeded() {
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    // Each thread has a connection of its own, and another one may still be looking for the server.
    let mut again = login(1).await;
    while again.status == 503 && began.elapsed() < Duration::from_secs(5) {
        again = login(1).await;
    }
    again.is(200, "1004");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_redis_that_may_evict_makes_the_instance_not_ready_and_is_named() {
    let redis = Redis::start();
    let scene = Scene::with(&[("STELE_REDIS_URL", &redis.url())]);
    scene.says_ready(200).await;
    scene.home.run(&["check"]).done();
    let set = |policy: &str| {
        assert!(redis.ask(&format!("CONFIG SET maxmemory-policy {policy}")).contains("OK"));
        // Looked at once a minute, and on each new connection.
        redis.ask("CLIENT KILL TYPE normal");
    };
    set("allkeys-lru");
    scene.says_ready(503).await;
    let named = "Redis has the maxmemory-policy allkeys-lru";
    assert!(scene.logged(named).contains("set it to noeviction"));
    let admin = scene.server.stdout();
    let admin = admin.split("health: ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    let body = reqwest::get(&admin).await.unwrap().text().await.unwrap();
    assert!(body.contains(named), "{body}");
    let metrics = reqwest::get(admin.replace("/readyz", "/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("stele_state_store_defective 1"), "{metrics}");
    let check = scene.home.run(&["check"]);
    assert!(check.code == Some(2) && check.stderr.contains(named), "{check:?}");
    set("noeviction");
    scene.says_ready(200).await;
}
