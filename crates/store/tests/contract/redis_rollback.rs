//! A Redis that goes back in time, and clocks that are wrong: nothing that was used up is good again, and no client is
//! locked out for another machine's clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stele_core::Error;
use stele_core::ports::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, OnCodeMatch, ProofResult, StateStore,
};
use stele_core::session::{Ticket, TicketKind};
use stele_core::time::{Clock, SystemClock, Timestamp};
use stele_store::RedisStateStore;
use stele_testservers::{Redis, RedisMode, eventually};

use crate::support::*;

const PROOF_MADE: Timestamp = NOW;

/// A proof made at `made`, sent at `now`.
async fn login(
    state: &RedisStateStore,
    made: Timestamp,
    now: Timestamp,
    mark: u8,
) -> stele_core::Result<AttemptOutcome> {
    let attempt = LoginAttempt { proof_made_at: Some(made), ..attempt(home_origin(), now) };
    state
        .record_login_attempt(
            &attempt,
            &ProofResult::Valid(Box::new(one_time_success(mark, made.saturating_add(secs(300))))),
        )
        .await
}

/// The first answer that is one: a store may be unavailable first, for `limit` seconds.
async fn first_available_result(
    limit: u64,
    mut ask: impl AsyncFnMut() -> stele_core::Result<AttemptOutcome>,
) -> Result<AttemptOutcome, Error> {
    let started = Instant::now();
    loop {
        match ask().await {
            Err(Error::Unavailable(_)) if started.elapsed() < secs(limit) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            answer => return answer,
        }
    }
}

/// Waits until the first server holds what the second one does.
fn wait_until_replicated(replica: &Redis, master: &Redis) {
    let offset = |server: &Redis, field: &str| {
        let info = server.command("INFO replication");
        info.lines().find_map(|line| line.strip_prefix(field)?.trim().parse::<u64>().ok())
    };
    assert!(eventually(|| {
        let there = offset(replica, "slave_repl_offset:");
        there.is_some() && there == offset(master, "master_repl_offset:")
    }));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_frozen_master_promoted_again_rejects_used_proofs() {
    let old = Redis::start();
    let new = Redis::start_mode(RedisMode::Replica(old.port()));
    let sentinel = Redis::start_mode(RedisMode::Sentinel(old.port()));
    let clock = Arc::new(ManualClock::at(BIRTH));
    let open = async || RedisStateStore::open(&sentinel.url(), Arc::clone(&clock) as _).await.unwrap();
    // Two instances.
    let states = [open().await, open().await];
    assert!(eventually(|| sentinel.command("SENTINEL replicas main").contains("name")));
    wait_until_replicated(&new, &old);
    assert_eq!(login(&states[0], PROOF_MADE, NOW, 1).await.unwrap(), AttemptOutcome::Recorded);

    let failover = NOW.saturating_add(secs(20));
    clock.set(failover);
    old.pause();
    assert!(eventually(|| new.command("ROLE").contains("master")));
    // Used at the new master, by either instance.
    let made = failover.saturating_add(secs(10));
    for (n, state) in states.iter().enumerate() {
        let answer = first_available_result(20, async || login(state, made, made, 10 + n as u8).await).await;
        assert_eq!(answer.unwrap(), AttemptOutcome::Recorded);
    }

    // The old one thaws and is promoted again before it was made a replica: it has none of this.
    let back = made.saturating_add(secs(20));
    clock.set(back);
    new.pause();
    old.resume();
    for (n, state) in states.iter().enumerate() {
        let answer = first_available_result(40, async || login(state, made, back, 10 + n as u8).await).await;
        assert_eq!(answer.unwrap(), AttemptOutcome::ProofStale, "a used proof is not accepted again");
        let later = back.saturating_add(secs(5));
        let answer = first_available_result(5, async || login(state, later, later, 20 + n as u8).await).await;
        assert_eq!(answer.unwrap(), AttemptOutcome::Recorded, "a new one is");
    }
    assert!(old.command("ROLE").contains("master"));
    new.resume();
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_resynchronized_master_rejects_used_one_time_data() {
    let server = Redis::start();
    let other = Redis::start_mode(RedisMode::Replica(server.port()));
    let clock = Arc::new(ManualClock::at(BIRTH));
    let state = RedisStateStore::open(&server.url(), Arc::clone(&clock) as _).await.unwrap();
    assert_eq!(state.consume_quotas(&[], Some(&code("alice", 1)), NOW).await.unwrap(), None);
    let (kind, expires) = (TicketKind::Reset, NOW.saturating_add(secs(600)));
    let ticket = Ticket { kind, user: user_id(1), epoch: 0, source: String::new(), audience: "to".to_owned(), expires };
    state.store_ticket(&token_key(1), &ticket).await.unwrap();
    state.store_captcha(1, expires).await.unwrap();
    wait_until_replicated(&other, &server);
    assert!(other.command("REPLICAOF NO ONE").contains("OK"));

    assert!(state.redeem_ticket(&token_key(1), kind, "to", NOW).await.unwrap().is_some());
    assert!(state.consume_captcha(1, NOW).await.unwrap());
    let guess = CodeVerification {
        candidates: vec![(code_key("alice"), [1; 32])],
        epoch: 0,
        on_match: OnCodeMatch::Consume,
        max_attempts: 5,
    };
    assert_eq!(
        state.verify_code(&attempt(home_origin(), NOW), &guess).await.unwrap(),
        CodeVerificationResult::Valid(0)
    );
    assert_eq!(login(&state, PROOF_MADE, NOW, 1).await.unwrap(), AttemptOutcome::Recorded);

    // The same process (and `run_id`), with the other's data.
    let back = NOW.saturating_add(secs(20));
    clock.set(back);
    assert!(server.command(&format!("REPLICAOF 127.0.0.1 {}", other.port())).contains("OK"));
    assert!(eventually(|| server.command("INFO replication").contains("master_link_status:up")));
    assert!(server.command("REPLICAOF NO ONE").contains("OK"));
    assert_eq!(server.key_ttls("captcha").len(), 1, "it holds again what was used up");
    let answer = first_available_result(10, async || login(&state, PROOF_MADE, back, 1).await).await;
    assert_eq!(answer.unwrap(), AttemptOutcome::ProofStale);
    assert_eq!(state.redeem_ticket(&token_key(1), kind, "to", back).await.unwrap(), None);
    assert!(!state.consume_captcha(1, back).await.unwrap());
    assert_eq!(
        state.verify_code(&attempt(home_origin(), back), &guess).await.unwrap(),
        CodeVerificationResult::Invalid
    );
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_connection_whose_server_changed_rejects_proofs() {
    let server = Redis::start();
    let clock = Arc::new(ManualClock::at(BIRTH));
    let state = RedisStateStore::open(&server.url(), Arc::clone(&clock) as _).await.unwrap();
    assert_eq!(login(&state, PROOF_MADE, NOW, 1).await.unwrap(), AttemptOutcome::Recorded);
    for round in 0..5 {
        let moved = NOW.saturating_add(secs(20 + round));
        clock.set(moved);
        // Its history ends while the connection goes on, and with it what it knew of the proof.
        assert!(server.command("REPLICAOF 127.0.0.1 1").contains("OK"));
        assert!(server.command("REPLICAOF NO ONE").contains("OK"));
        for (mark, _) in server.key_ttls("replay") {
            assert!(server.command(&format!("DEL {mark}")).starts_with(":1"));
        }
        let answer = first_available_result(10, async || login(&state, PROOF_MADE, moved, 1).await).await;
        assert_eq!(answer.unwrap(), AttemptOutcome::ProofStale);
    }
}

/// The machine's clock, half a minute fast.
struct FastClock;

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().saturating_add(secs(30))
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_fast_clock_on_one_instance_locks_out_no_client() {
    for kind in [RedisMode::Standalone, RedisMode::Cluster] {
        let server = Redis::start_mode(kind);
        let fast = RedisStateStore::open(&server.url(), Arc::new(FastClock)).await.unwrap();
        let right = RedisStateStore::open(&server.url(), Arc::new(SystemClock)).await.unwrap();
        assert!(server.command("FLUSHALL").contains("OK"));
        // The fast one is the first to come.
        fast.ping().await.unwrap();
        let started = Instant::now();
        let mut mark = 0;
        loop {
            let now = SystemClock.now();
            mark += 1;
            match login(&right, now, now, mark).await.unwrap() {
                AttemptOutcome::Recorded => break,
                AttemptOutcome::ProofStale => assert!(started.elapsed() < secs(5), "{kind:?}: everybody is locked out"),
                other => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_evicting_maxmemory_policy_is_reported_until_corrected() {
    for kind in [RedisMode::Standalone, RedisMode::Cluster] {
        let server = Redis::start_mode(kind);
        assert!(server.command("CONFIG SET maxmemory-policy allkeys-lru").contains("OK"));
        let state = redis_state(&server.url(), BIRTH).await;
        let defect = state.misconfiguration().expect("it is named at the start");
        assert!(defect.contains("allkeys-lru") && defect.contains("noeviction"), "{defect}");
        assert_eq!(defect.contains(&server.port().to_string()), kind == RedisMode::Cluster, "{defect}");
        // It answers all the same.
        state.ping().await.unwrap();
        let until = async |named: bool| {
            let started = Instant::now();
            while state.misconfiguration().is_some() != named {
                let _ = state.ping().await;
                assert!(started.elapsed() < secs(10), "{kind:?}: {:?}", state.misconfiguration());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Each new connection is looked at; a cluster's nodes are once a minute, for it reconnects by itself.
        server.stop();
        while state.ping().await.is_ok() {}
        server.restart();
        until(false).await;
        if kind == RedisMode::Standalone {
            assert!(server.command("CONFIG SET maxmemory-policy volatile-ttl").contains("OK"));
            server.command("CLIENT KILL TYPE normal");
            until(true).await;
        }
    }
}

/// A cluster of two masters; the second has slot 0 alone.
fn cluster_of_two() -> [Redis; 2] {
    let nodes = [Redis::start_mode(RedisMode::Cluster), Redis::start_mode(RedisMode::Cluster)];
    let [first, second] = &nodes;
    let port = second.command("CONFIG GET cluster-port");
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", second.port(), port.lines().last().unwrap());
    // With a dead master, the cluster goes on for a minute.
    let patience = "CONFIG SET cluster-node-timeout 60000";
    for (node, command) in [
        (first, "CLUSTER DELSLOTS 0"),
        (second, "CLUSTER DELSLOTSRANGE 1 16383"),
        (first, patience),
        (second, patience),
        (first, &meet),
    ] {
        let answer = node.command(command);
        assert!(answer.contains("OK"), "{command}: {answer}");
    }
    let is_whole = |node: &Redis| {
        let info = node.command("CLUSTER INFO");
        info.contains("cluster_size:2") && info.contains("cluster_state:ok")
    };
    assert!(eventually(|| nodes.iter().all(is_whole)), "{}", first.command("CLUSTER NODES"));
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
    for gone in [Redis::pause, Redis::kill] {
        gone(&second);
        let defect = open().await.misconfiguration().unwrap();
        assert!(defect.contains("could not be read"), "{defect}");
    }
    // It is found out soon after the master is back.
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
async fn a_server_that_rejects_writes_is_not_ready() {
    let server = Redis::start();
    let state = redis_state(&server.url(), BIRTH).await;
    state.ping().await.unwrap();
    assert!(server.command("CONFIG SET maxmemory 1").contains("OK"));
    assert!(state.ping().await.is_err(), "its memory is full");
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
    // With the replicated record of the master's birth, only a write shows what it is.
    if let Ok(state) = RedisStateStore::open(&replica.url(), Arc::new(ManualClock::at(BIRTH))).await {
        assert!(state.ping().await.is_err());
    }
}
