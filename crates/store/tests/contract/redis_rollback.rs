//! Rollback of Redis, and wrong clocks: consumed one-time data stays consumed, and a wrong clock on one instance locks
//! out no client. Also: readiness with evicting, unreachable and read-only servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stele_core::Error;
use stele_core::ports::{AttemptOutcome, CodeVerificationResult, LoginAttempt, ProofResult, StateStore};
use stele_core::session::TicketKind;
use stele_core::time::{Clock, SystemClock, Timestamp};
use stele_store::RedisStateStore;
use stele_testservers::{Redis, RedisMode, eventually};

use crate::support::*;

const PROOF_MADE_AT: Timestamp = NOW;

/// Records a login at `now` with the proof number `n`, made at `made_at`.
async fn login(
    state: &RedisStateStore,
    made_at: Timestamp,
    now: Timestamp,
    n: u8,
) -> stele_core::Result<AttemptOutcome> {
    let attempt = LoginAttempt { proof_made_at: Some(made_at), ..attempt(home_origin(), now) };
    state
        .record_login_attempt(
            &attempt,
            &ProofResult::Valid(Box::new(one_time_success(n, made_at.saturating_add(secs(300))))),
        )
        .await
}

/// Repeats a call while the store is unavailable, for up to `limit` seconds. Returns the first other result.
async fn first_available_result(
    limit: u64,
    mut call: impl AsyncFnMut() -> stele_core::Result<AttemptOutcome>,
) -> Result<AttemptOutcome, Error> {
    let started = Instant::now();
    loop {
        match call().await {
            Err(Error::Unavailable(_)) if started.elapsed() < secs(limit) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => return result,
        }
    }
}

/// Waits until the replica has the same replication offset as the master.
fn wait_until_replicated(replica: &Redis, master: &Redis) {
    let offset = |server: &Redis, field: &str| {
        let info = server.command("INFO replication");
        info.lines().find_map(|line| line.strip_prefix(field)?.trim().parse::<u64>().ok())
    };
    assert!(eventually(|| {
        let replica_offset = offset(replica, "slave_repl_offset:");
        replica_offset.is_some() && replica_offset == offset(master, "master_repl_offset:")
    }));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_frozen_master_promoted_again_rejects_used_proofs() {
    let old_master = Redis::start();
    let new_master = Redis::start_mode(RedisMode::Replica(old_master.port()));
    let sentinel = Redis::start_mode(RedisMode::Sentinel(old_master.port()));
    let clock = Arc::new(ManualClock::at(BIRTH));
    let open = async || RedisStateStore::open(&sentinel.url(), Arc::clone(&clock) as _).await.unwrap();
    // The state stores of two instances.
    let states = [open().await, open().await];
    assert!(eventually(|| sentinel.command("SENTINEL replicas main").contains("name")));
    wait_until_replicated(&new_master, &old_master);
    assert_eq!(login(&states[0], PROOF_MADE_AT, NOW, 1).await.unwrap(), AttemptOutcome::Recorded);

    let failover = NOW.saturating_add(secs(20));
    clock.set(failover);
    old_master.pause();
    assert!(eventually(|| new_master.command("ROLE").contains("master")));
    // Each instance uses a proof at the new master.
    let made_at = failover.saturating_add(secs(10));
    for (n, state) in states.iter().enumerate() {
        let result = first_available_result(20, async || login(state, made_at, made_at, 10 + n as u8).await).await;
        assert_eq!(result.unwrap(), AttemptOutcome::Recorded);
    }

    // The old master resumes, and is promoted again before it becomes a replica. It does not have the proofs that were
    // used at the new master.
    let promoted_at = made_at.saturating_add(secs(20));
    clock.set(promoted_at);
    new_master.pause();
    old_master.resume();
    for (n, state) in states.iter().enumerate() {
        let result = first_available_result(40, async || login(state, made_at, promoted_at, 10 + n as u8).await).await;
        assert_eq!(result.unwrap(), AttemptOutcome::ProofStale, "a used proof is not accepted again");
        let later = promoted_at.saturating_add(secs(5));
        let result = first_available_result(5, async || login(state, later, later, 20 + n as u8).await).await;
        assert_eq!(result.unwrap(), AttemptOutcome::Recorded, "a new proof is accepted");
    }
    assert!(old_master.command("ROLE").contains("master"));
    new_master.resume();
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_resynchronized_master_rejects_used_one_time_data() {
    let server = Redis::start();
    let other = Redis::start_mode(RedisMode::Replica(server.port()));
    let clock = Arc::new(ManualClock::at(BIRTH));
    let state = RedisStateStore::open(&server.url(), Arc::clone(&clock) as _).await.unwrap();
    store_one_time_data(&*state).await;
    wait_until_replicated(&other, &server);
    assert!(other.command("REPLICAOF NO ONE").contains("OK"));

    let guess = consume_one_time_data(&*state).await;
    assert_eq!(login(&state, PROOF_MADE_AT, NOW, 1).await.unwrap(), AttemptOutcome::Recorded);

    // The same process and `run_id`, with the data of the other server.
    let resynchronized_at = NOW.saturating_add(secs(20));
    clock.set(resynchronized_at);
    assert!(server.command(&format!("REPLICAOF 127.0.0.1 {}", other.port())).contains("OK"));
    assert!(eventually(|| server.command("INFO replication").contains("master_link_status:up")));
    assert!(server.command("REPLICAOF NO ONE").contains("OK"));
    assert_eq!(server.key_ttls("captcha").len(), 1, "the server has the consumed captcha again");
    let result = first_available_result(10, async || login(&state, PROOF_MADE_AT, resynchronized_at, 1).await).await;
    assert_eq!(result.unwrap(), AttemptOutcome::ProofStale);
    assert_eq!(state.redeem_ticket(&token_key(1), TicketKind::Reset, "to", resynchronized_at).await.unwrap(), None);
    assert!(!state.consume_captcha(1, resynchronized_at).await.unwrap());
    assert_eq!(
        state.verify_code(&attempt(home_origin(), resynchronized_at), &guess).await.unwrap(),
        CodeVerificationResult::Invalid
    );
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_server_with_a_new_replication_history_rejects_old_proofs() {
    let server = Redis::start();
    let clock = Arc::new(ManualClock::at(BIRTH));
    let state = RedisStateStore::open(&server.url(), Arc::clone(&clock) as _).await.unwrap();
    assert_eq!(login(&state, PROOF_MADE_AT, NOW, 1).await.unwrap(), AttemptOutcome::Recorded);
    for round in 0..5 {
        let new_history_at = NOW.saturating_add(secs(20 + round));
        clock.set(new_history_at);
        // A new replication history on the same connection, without the used proof.
        assert!(server.command("REPLICAOF 127.0.0.1 1").contains("OK"));
        assert!(server.command("REPLICAOF NO ONE").contains("OK"));
        for (key, _) in server.key_ttls("replay") {
            assert!(server.command(&format!("DEL {key}")).starts_with(":1"));
        }
        let result = first_available_result(10, async || login(&state, PROOF_MADE_AT, new_history_at, 1).await).await;
        assert_eq!(result.unwrap(), AttemptOutcome::ProofStale);
    }
}

/// The system clock, 30 seconds fast.
struct FastClock;

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().saturating_add(secs(30))
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_fast_clock_on_one_instance_locks_out_no_client() {
    for mode in [RedisMode::Standalone, RedisMode::Cluster] {
        let server = Redis::start_mode(mode);
        let fast = RedisStateStore::open(&server.url(), Arc::new(FastClock)).await.unwrap();
        let correct = RedisStateStore::open(&server.url(), Arc::new(SystemClock)).await.unwrap();
        assert!(server.command("FLUSHALL").contains("OK"));
        // The instance with the fast clock makes the first call.
        fast.ping().await.unwrap();
        let started = Instant::now();
        let mut proof_number = 0;
        loop {
            let now = SystemClock.now();
            proof_number += 1;
            match login(&correct, now, now, proof_number).await.unwrap() {
                AttemptOutcome::Recorded => break,
                AttemptOutcome::ProofStale => {
                    assert!(started.elapsed() < secs(5), "{mode:?}: all clients are locked out");
                }
                other => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_evicting_maxmemory_policy_is_reported_until_corrected() {
    for mode in [RedisMode::Standalone, RedisMode::Cluster] {
        let server = Redis::start_mode(mode);
        assert!(server.command("CONFIG SET maxmemory-policy allkeys-lru").contains("OK"));
        let state = redis_state(&server.url(), BIRTH).await;
        let defect = state.misconfiguration().expect("reported at startup");
        assert!(defect.contains("allkeys-lru") && defect.contains("noeviction"), "{defect}");
        assert_eq!(defect.contains(&server.port().to_string()), mode == RedisMode::Cluster, "{defect}");
        // The store is available nevertheless.
        state.ping().await.unwrap();
        let wait_until = async |is_expected: fn(Option<String>) -> bool| {
            let started = Instant::now();
            while !is_expected(state.misconfiguration()) {
                let _ = state.ping().await;
                assert!(started.elapsed() < secs(10), "{mode:?}: {:?}", state.misconfiguration());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // The policy is checked at each new connection. On a cluster, whose client reconnects without the store, it is
        // checked once a minute.
        server.stop();
        while state.ping().await.is_ok() {}
        server.restart();
        wait_until(|defect| defect.is_none()).await;
        if mode == RedisMode::Standalone {
            assert!(server.command("CONFIG SET maxmemory-policy volatile-ttl").contains("OK"));
            server.command("CLIENT KILL TYPE normal");
            wait_until(|defect| defect.is_some()).await;
        }
    }
}

/// A cluster of two masters. The second has only slot 0.
fn cluster_of_two() -> [Redis; 2] {
    let nodes = [Redis::start_mode(RedisMode::Cluster), Redis::start_mode(RedisMode::Cluster)];
    let [first, second] = &nodes;
    let port = second.command("CONFIG GET cluster-port");
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", second.port(), port.lines().last().unwrap());
    // The cluster stays available for a minute without one master.
    let set_node_timeout = "CONFIG SET cluster-node-timeout 60000";
    for (node, command) in [
        (first, "CLUSTER DELSLOTS 0"),
        (second, "CLUSTER DELSLOTSRANGE 1 16383"),
        (first, set_node_timeout),
        (second, set_node_timeout),
        (first, &meet),
    ] {
        let result = node.command(command);
        assert!(result.contains("OK"), "{command}: {result}");
    }
    let is_complete = |node: &Redis| {
        let info = node.command("CLUSTER INFO");
        info.contains("cluster_size:2") && info.contains("cluster_state:ok")
    };
    assert!(eventually(|| nodes.iter().all(is_complete)), "{}", first.command("CLUSTER NODES"));
    nodes
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_cluster_with_an_unreachable_master_is_not_ready() {
    let [first, second] = cluster_of_two();
    let open = async || {
        let state = redis_state(&first.url(), BIRTH).await;
        state.ping().await.unwrap();
        state
    };
    assert_eq!(open().await.misconfiguration(), None);
    assert!(second.command("CONFIG SET maxmemory-policy allkeys-lru").contains("OK"));
    let defect = open().await.misconfiguration().unwrap();
    assert!(defect.contains("allkeys-lru") && defect.contains(&second.port().to_string()), "{defect}");
    for make_unreachable in [Redis::pause, Redis::kill] {
        make_unreachable(&second);
        let defect = open().await.misconfiguration().unwrap();
        assert!(defect.contains("could not be read"), "{defect}");
    }
    // The policy is read soon after the master is available again.
    let state = open().await;
    second.restart();
    let started = Instant::now();
    while state.misconfiguration().is_some() {
        assert!(started.elapsed() < secs(30), "{:?}", state.misconfiguration());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_server_with_full_memory_is_not_ready() {
    let server = Redis::start();
    let state = redis_state(&server.url(), BIRTH).await;
    state.ping().await.unwrap();
    assert!(server.command("CONFIG SET maxmemory 1").contains("OK"));
    assert!(state.ping().await.is_err(), "the server's memory is full");
    assert!(server.command("CONFIG SET maxmemory 0").contains("OK"));
    state.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_replica_is_not_ready() {
    let master = Redis::start();
    redis_state(&master.url(), BIRTH).await.ping().await.unwrap();
    let replica = Redis::start_mode(RedisMode::Replica(master.port()));
    wait_until_replicated(&replica, &master);
    // The master's birth is replicated, so that only a write reveals a replica.
    if let Ok(state) = RedisStateStore::open(&replica.url(), Arc::new(ManualClock::at(BIRTH))).await {
        assert!(state.ping().await.is_err());
    }
}
