//! Redis and PostgreSQL stopped, stalled, restarted, emptied and failed over under running services.

use std::time::{Duration, Instant};

use serde_json::json;
use stele_testkit::servers::{self, Postgres, Proxy, Redis, RedisMode, eventually};

use crate::client::{CLOUDBOX_LOGIN, salted_proof};
use crate::session_fixture::{SessionFixture, StateStoreRecovery};
use crate::stele_fixture::{PASSWORD, SteleFixture};

fn start_fixture(postgres: u16, redis: &str) -> SteleFixture {
    let users = format!("postgres://stele@127.0.0.1:{postgres}/postgres");
    // A proof is stale to a store that is younger: people log in a second later.
    SteleFixture::with_settings(&[("STELE_DATABASE_URL", &users), ("STELE_REDIS_URL", redis)])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_redis_outage_is_reported_and_recovered_from_within_two_seconds() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let proxy = Proxy::start(redis.port());
    let scene = start_fixture(postgres.port(), &format!("redis://127.0.0.1:{}", proxy.port()));

    let before = SessionFixture::new(&scene, 1).await;
    proxy.pause();
    before.assert_unavailable(&scene).await;
    proxy.resume();
    before.wait_until_login_succeeds(&scene, Instant::now()).await;
    before.assert_state_preserved(&scene, StateStoreRecovery::Intact).await;

    // The server itself stands still.
    let before = SessionFixture::new(&scene, 2).await;
    redis.pause();
    before.assert_unavailable(&scene).await;
    redis.resume();
    before.wait_until_login_succeeds(&scene, Instant::now()).await;
    before.assert_state_preserved(&scene, StateStoreRecovery::Intact).await;

    let before = SessionFixture::new(&scene, 3).await;
    assert!(redis.command("SAVE").contains("OK"));
    redis.kill();
    before.assert_unavailable(&scene).await;
    redis.restart();
    before.wait_until_login_succeeds(&scene, Instant::now()).await;
    before.assert_state_preserved(&scene, StateStoreRecovery::Restored).await;

    let before = SessionFixture::new(&scene, 4).await;
    assert!(redis.command("FLUSHALL").contains("OK") && redis.command("SAVE").contains("OK"));
    redis.stop();
    before.assert_unavailable(&scene).await;
    redis.restart();
    before.wait_until_login_succeeds(&scene, Instant::now()).await;
    before.assert_state_preserved(&scene, StateStoreRecovery::Empty).await;
    let log = scene.server.stop();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_redis_failover_is_reported_until_the_replica_takes_over() {
    let (postgres, master) = (Postgres::start(), Redis::start());
    let replica = Redis::start_mode(RedisMode::Replica(master.port()));
    let sentinel = Redis::start_mode(RedisMode::Sentinel(master.port()));
    let scene = start_fixture(postgres.port(), &sentinel.url());
    let before = SessionFixture::new(&scene, 1).await;
    let offset = |server: &Redis, field: &str| {
        let info = server.command("INFO replication");
        info.lines().find_map(|line| line.strip_prefix(field)?.trim().parse::<u64>().ok())
    };
    // All that was answered has reached the replica, which the sentinel knows.
    assert!(eventually(|| {
        let there = offset(&replica, "slave_repl_offset:");
        there.is_some() && there == offset(&master, "master_repl_offset:")
    }));
    assert!(eventually(|| sentinel.command("SENTINEL replicas main").contains("name")));
    master.kill();
    before.assert_unavailable(&scene).await;
    assert!(eventually(|| replica.command("ROLE").contains("master")));
    before.wait_until_login_succeeds(&scene, Instant::now()).await;
    before.assert_state_preserved(&scene, StateStoreRecovery::Restored).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_postgresql_outage_is_reported_and_recovered_from_within_two_seconds() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    postgres.write_file("postgresql.auto.conf", "fsync = off\nmax_connections = 50\n");
    postgres.restart();
    let proxy = Proxy::start(postgres.port());
    let scene = start_fixture(proxy.port(), &redis.url());

    let before = SessionFixture::new(&scene, 1).await;
    proxy.pause();
    before.assert_unavailable(&scene).await;
    proxy.resume();
    before.wait_until_login_succeeds(&scene, Instant::now()).await;
    before.assert_state_preserved(&scene, StateStoreRecovery::Intact).await;

    let before = SessionFixture::new(&scene, 2).await;
    postgres.pause();
    before.assert_unavailable(&scene).await;
    postgres.resume();
    before.wait_until_login_succeeds(&scene, Instant::now()).await;
    before.assert_state_preserved(&scene, StateStoreRecovery::Intact).await;

    for (number, kill) in [(3, true), (4, false)] {
        let before = SessionFixture::new(&scene, number).await;
        if kill {
            postgres.kill();
        } else {
            postgres.stop();
        }
        before.assert_unavailable(&scene).await;
        postgres.restart();
        before.wait_until_login_succeeds(&scene, Instant::now()).await;
        before.assert_state_preserved(&scene, StateStoreRecovery::Intact).await;
    }
    let log = scene.server.stop();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_read_only_postgresql_fails_the_readiness_check() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let scene = start_fixture(postgres.port(), &redis.url());
    let mark = scene.add_user("mark", "13800138000");
    let cloudbox = crate::client::DialectKind::Cloudbox;
    scene.client.login(cloudbox, &mark, PASSWORD).await.assert_success();
    scene.wait_for_readiness_reason("ready").await;

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
    scene.wait_for_readiness_reason("not ready: the audit log cannot be written").await;
    read_only("off");
    scene.wait_for_readiness_reason("ready").await;
    scene.client.login(cloudbox, &mark, PASSWORD).await.assert_success();
    scene.log_line_containing("the audit log is written again; no entry is missing");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn concurrent_logins_all_fail_within_two_seconds() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let (users, state) = (Proxy::start(postgres.port()), Proxy::start(redis.port()));
    let scene = start_fixture(users.port(), &format!("redis://127.0.0.1:{}", state.port()));
    let mark = scene.add_user("mark", "13800138000");
    for stalled in [&users, &state] {
        stalled.pause();
        let logins = (0..60).map(|n| {
            let (client, mark) = (scene.client.clone(), mark.clone());
            let dialect = crate::client::DialectKind::ALL[n % 5];
            tokio::spawn(async move {
                let began = Instant::now();
                let answer = client.login(dialect, &mark, crate::stele_fixture::PASSWORD).await;
                (dialect, answer, began.elapsed())
            })
        });
        for login in logins.collect::<Vec<_>>() {
            let (dialect, answer, took) = login.await.unwrap();
            crate::stele_fixture::assert_unavailable(dialect, &answer);
            // A machine that is busy with the tests themselves takes its time, too.
            assert!(took < Duration::from_secs(3), "{dialect:?}: {took:?}");
        }
        stalled.resume();
        let back = Instant::now();
        while !scene
            .client
            .login(crate::client::DialectKind::Jwt, &mark, crate::stele_fixture::PASSWORD)
            .await
            .is_success()
        {
            assert!(back.elapsed() < Duration::from_secs(2));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn without_a_skew_used_proofs_stay_used_after_redis_is_emptied() {
    let redis = Redis::start();
    let scene = SteleFixture::with_settings(&[("STELE_REDIS_URL", &redis.url()), ("STELE_TIMESTAMP_SKEW", "0")]);
    let mark = scene.add_user("mark", "13800138000");
    let login = async |at: u64| {
        let body = json!({ "username": mark.name, "password": salted_proof(PASSWORD, at), "timestamp": at });
        scene.client.json(CLOUDBOX_LOGIN, &[], &body).await
    };
    login(1).await.assert_success();
    assert!(redis.command("FLUSHALL").contains("OK"));
    login(1).await.assert_is(200, "1004");
    redis.stop();
    redis.restart();
    let began = Instant::now();
    while !login(2).await.is_success() {
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    // Each thread has a connection of its own, and another one may still be looking for the server.
    let mut again = login(1).await;
    while again.status == 503 && began.elapsed() < Duration::from_secs(5) {
        again = login(1).await;
    }
    again.assert_is(200, "1004");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_redis_eviction_policy_fails_the_readiness_check_with_a_reason() {
    let redis = Redis::start();
    let scene = SteleFixture::with_settings(&[("STELE_REDIS_URL", &redis.url())]);
    scene.wait_for_readiness(200).await;
    scene.installation.run(&["check"]).assert_success();
    let set = |policy: &str| {
        assert!(redis.command(&format!("CONFIG SET maxmemory-policy {policy}")).contains("OK"));
        // Looked at once a minute, and on each new connection.
        redis.command("CLIENT KILL TYPE normal");
    };
    set("allkeys-lru");
    scene.wait_for_readiness(503).await;
    let named = "Redis has the maxmemory-policy allkeys-lru";
    assert!(scene.log_line_containing(named).contains("set it to noeviction"));
    let admin = scene.server.stdout();
    let admin = admin.split("health: ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    let body = reqwest::get(&admin).await.unwrap().text().await.unwrap();
    assert!(body.contains(named), "{body}");
    let metrics = reqwest::get(admin.replace("/readyz", "/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("stele_state_store_defective 1"), "{metrics}");
    let check = scene.installation.run(&["check"]);
    assert!(check.code == Some(2) && check.stderr.contains(named), "{check:?}");
    set("noeviction");
    scene.wait_for_readiness(200).await;
}
