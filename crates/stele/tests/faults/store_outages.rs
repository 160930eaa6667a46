//! Store outages under running services: Redis and PostgreSQL paused, stopped, killed, emptied and failed over.

use std::time::{Duration, Instant};

use serde_json::json;
use stele_testkit::servers::{self, Postgres, Proxy, Redis, RedisMode, eventually};

use crate::client::{CLOUDBOX_LOGIN, salted_proof};
use crate::session_fixture::{SessionFixture, StateStoreRecovery};
use crate::stele_fixture::{PASSWORD, SteleFixture};

fn start_fixture(postgres: u16, redis: &str) -> SteleFixture {
    let users = format!("postgres://stele@127.0.0.1:{postgres}/postgres");
    // Proofs that are not newer than the state store are stale, so `SessionFixture::new` retries its first logins.
    SteleFixture::with_settings(&[("STELE_DATABASE_URL", &users), ("STELE_REDIS_URL", redis)])
}

/// Asserts that an outage between `take_down` and `bring_back` is reported in every dialect, that logins succeed within
/// two seconds after it, and that the state store has what `recovery` says.
async fn assert_outage_survived(
    fixture: &SteleFixture,
    number: usize,
    take_down: impl FnOnce(),
    bring_back: impl FnOnce(),
    recovery: StateStoreRecovery,
) {
    let before = SessionFixture::new(fixture, number).await;
    take_down();
    before.assert_unavailable(fixture).await;
    bring_back();
    before.wait_until_login_succeeds(fixture, Instant::now()).await;
    before.assert_state_preserved(fixture, recovery).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_redis_outage_is_reported_and_recovered_from_within_two_seconds() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let proxy = Proxy::start(redis.port());
    let fixture = start_fixture(postgres.port(), &format!("redis://127.0.0.1:{}", proxy.port()));

    let (intact, restored, empty) =
        (StateStoreRecovery::Intact, StateStoreRecovery::Restored, StateStoreRecovery::Empty);
    assert_outage_survived(&fixture, 1, || proxy.pause(), || proxy.resume(), intact).await;
    // The server process itself is paused.
    assert_outage_survived(&fixture, 2, || redis.pause(), || redis.resume(), intact).await;
    let save_and_kill = || {
        assert!(redis.command("SAVE").contains("OK"));
        redis.kill();
    };
    assert_outage_survived(&fixture, 3, save_and_kill, || redis.restart(), restored).await;
    let empty_and_stop = || {
        assert!(redis.command("FLUSHALL").contains("OK") && redis.command("SAVE").contains("OK"));
        redis.stop();
    };
    assert_outage_survived(&fixture, 4, empty_and_stop, || redis.restart(), empty).await;
    let log = fixture.server.stop();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_redis_failover_is_reported_until_the_replica_takes_over() {
    let (postgres, master) = (Postgres::start(), Redis::start());
    let replica = Redis::start_mode(RedisMode::Replica(master.port()));
    let sentinel = Redis::start_mode(RedisMode::Sentinel(master.port()));
    let fixture = start_fixture(postgres.port(), &sentinel.url());
    let before = SessionFixture::new(&fixture, 1).await;
    let replication_offset = |server: &Redis, field: &str| {
        let info = server.command("INFO replication");
        info.lines().find_map(|line| line.strip_prefix(field)?.trim().parse::<u64>().ok())
    };
    // Every acknowledged write has reached the replica, and the sentinel knows the replica.
    assert!(eventually(|| {
        let replicated = replication_offset(&replica, "slave_repl_offset:");
        replicated.is_some() && replicated == replication_offset(&master, "master_repl_offset:")
    }));
    assert!(eventually(|| sentinel.command("SENTINEL replicas main").contains("name")));
    master.kill();
    before.assert_unavailable(&fixture).await;
    assert!(eventually(|| replica.command("ROLE").contains("master")));
    before.wait_until_login_succeeds(&fixture, Instant::now()).await;
    before.assert_state_preserved(&fixture, StateStoreRecovery::Restored).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_postgresql_outage_is_reported_and_recovered_from_within_two_seconds() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    postgres.write_file("postgresql.auto.conf", "fsync = off\nmax_connections = 50\n");
    postgres.restart();
    let proxy = Proxy::start(postgres.port());
    let fixture = start_fixture(proxy.port(), &redis.url());

    let intact = StateStoreRecovery::Intact;
    assert_outage_survived(&fixture, 1, || proxy.pause(), || proxy.resume(), intact).await;
    assert_outage_survived(&fixture, 2, || postgres.pause(), || postgres.resume(), intact).await;
    assert_outage_survived(&fixture, 3, || postgres.kill(), || postgres.restart(), intact).await;
    assert_outage_survived(&fixture, 4, || postgres.stop(), || postgres.restart(), intact).await;
    let log = fixture.server.stop();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_read_only_postgresql_fails_the_readiness_check() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let fixture = start_fixture(postgres.port(), &redis.url());
    let mark = fixture.add_user("mark", "13800138000");
    let cloudbox = crate::client::DialectKind::Cloudbox;
    fixture.client.login(cloudbox, &mark, PASSWORD).await.assert_success();
    fixture.wait_for_readiness_reason("ready").await;

    // Read-only for every connection, as after a failover to a standby or on a full disk.
    let other_database = format!("postgres://stele@127.0.0.1:{}/template1", postgres.port());
    let set_read_only = |value: &str| {
        let set = format!("ALTER DATABASE postgres SET default_transaction_read_only = {value}");
        servers::execute(&other_database, &set);
        let disconnect_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'";
        servers::execute(&other_database, disconnect_all);
    };
    set_read_only("on");
    // This login writes only the audit log to PostgreSQL.
    fixture.client.login(cloudbox, &mark, PASSWORD).await;
    fixture.wait_for_readiness_reason("not ready: the audit log cannot be written").await;
    set_read_only("off");
    fixture.wait_for_readiness_reason("ready").await;
    fixture.client.login(cloudbox, &mark, PASSWORD).await.assert_success();
    fixture.log_line_containing("the audit log is written again, with the entries that waited");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn concurrent_logins_all_fail_within_two_seconds() {
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let (users, state) = (Proxy::start(postgres.port()), Proxy::start(redis.port()));
    let fixture = start_fixture(users.port(), &format!("redis://127.0.0.1:{}", state.port()));
    let mark = fixture.add_user("mark", "13800138000");
    for paused in [&users, &state] {
        paused.pause();
        let logins = (0..60).map(|n| {
            let (client, mark) = (fixture.client.clone(), mark.clone());
            let dialect = crate::client::DialectKind::ALL[n % 5];
            tokio::spawn(async move {
                let started_at = Instant::now();
                let response = client.login(dialect, &mark, crate::stele_fixture::PASSWORD).await;
                (dialect, response, started_at.elapsed())
            })
        });
        for login in logins.collect::<Vec<_>>() {
            let (dialect, response, elapsed) = login.await.unwrap();
            crate::stele_fixture::assert_unavailable(dialect, &response);
            // One second more than documented, because the tests themselves load the machine.
            assert!(elapsed < Duration::from_secs(3), "{dialect:?}: {elapsed:?}");
        }
        paused.resume();
        let resumed_at = Instant::now();
        while !fixture
            .client
            .login(crate::client::DialectKind::Jwt, &mark, crate::stele_fixture::PASSWORD)
            .await
            .is_success()
        {
            assert!(resumed_at.elapsed() < Duration::from_secs(2));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn without_a_skew_used_proofs_stay_used_after_redis_is_emptied() {
    let redis = Redis::start();
    let fixture = SteleFixture::with_settings(&[("STELE_REDIS_URL", &redis.url()), ("STELE_TIMESTAMP_SKEW", "0")]);
    let mark = fixture.add_user("mark", "13800138000");
    let login = async |at: u64| {
        let body = json!({ "username": mark.name, "password": salted_proof(PASSWORD, at), "timestamp": at });
        fixture.client.post_json(CLOUDBOX_LOGIN, &[], &body).await
    };
    login(1).await.assert_success();
    assert!(redis.command("FLUSHALL").contains("OK"));
    login(1).await.assert_is(200, "1004");
    redis.stop();
    redis.restart();
    let started_at = Instant::now();
    while !login(2).await.is_success() {
        assert!(started_at.elapsed() < Duration::from_secs(5));
    }
    // Each worker thread has its own connection, and another thread may not have reconnected yet.
    let mut repeated = login(1).await;
    while repeated.status == 503 && started_at.elapsed() < Duration::from_secs(5) {
        repeated = login(1).await;
    }
    repeated.assert_is(200, "1004");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_redis_eviction_policy_fails_the_readiness_check_with_a_reason() {
    let redis = Redis::start();
    let fixture = SteleFixture::with_settings(&[("STELE_REDIS_URL", &redis.url())]);
    fixture.wait_for_readiness(200).await;
    fixture.installation.run(&["check"]).assert_success();
    let set_policy = |policy: &str| {
        assert!(redis.command(&format!("CONFIG SET maxmemory-policy {policy}")).contains("OK"));
        // The policy is checked once a minute and on each new connection.
        redis.command("CLIENT KILL TYPE normal");
    };
    set_policy("allkeys-lru");
    fixture.wait_for_readiness(503).await;
    let reason = "Redis has the maxmemory-policy allkeys-lru";
    assert!(fixture.log_line_containing(reason).contains("set it to noeviction"));
    let admin = fixture.server.admin_url();
    let body = reqwest::get(format!("{admin}/readyz")).await.unwrap().text().await.unwrap();
    assert!(body.contains(reason), "{body}");
    let metrics = reqwest::get(format!("{admin}/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("stele_state_store_defective 1"), "{metrics}");
    let check = fixture.installation.run(&["check"]);
    assert!(check.code == Some(2) && check.stderr.contains(reason), "{check:?}");
    set_policy("noeviction");
    fixture.wait_for_readiness(200).await;
}
