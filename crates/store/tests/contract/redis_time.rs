//! A Redis that goes back in time, and clocks that are wrong: nothing that was used up is good again, and no client is
//! locked out for another machine's clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stele_core::Error;
use stele_core::ports::{Attempt, CodeCheck, CodeGuess, CodeUse, Settlement, StateStore, Verdict};
use stele_core::session::{Ticket, TicketKind};
use stele_core::time::{Clock, SystemClock, Timestamp};
use stele_store::RedisState;
use stele_testservers::{Kind, Redis, eventually};

use crate::support::*;

const MADE: Timestamp = NOW;

/// A proof made at `made`, sent at `now`.
async fn login(state: &RedisState, made: Timestamp, now: Timestamp, mark: u8) -> stele_core::Result<Settlement> {
    let attempt = Attempt { proof_made: Some(made), ..attempt(home(), now) };
    state.settle(&attempt, &Verdict::Right(Box::new(once(mark, made.after(secs(300)))))).await
}

/// The first answer that is one: a store may be unavailable first, for `limit` seconds.
async fn first_answer(
    limit: u64,
    mut ask: impl AsyncFnMut() -> stele_core::Result<Settlement>,
) -> Result<Settlement, Error> {
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
fn replicated(replica: &Redis, master: &Redis) {
    let offset = |server: &Redis, field: &str| {
        let told = server.ask("INFO replication");
        told.lines().find_map(|line| line.strip_prefix(field)?.trim().parse::<u64>().ok())
    };
    assert!(eventually(|| {
        let there = offset(replica, "slave_repl_offset:");
        there.is_some() && there == offset(master, "master_repl_offset:")
    }));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_frozen_master_that_is_promoted_again_takes_no_used_proof() {
    let old = Redis::start();
    let new = Redis::of(Kind::Replica(old.port()));
    let sentinel = Redis::of(Kind::Sentinel(old.port()));
    let clock = Arc::new(ManualClock::at(BIRTH));
    let open = async || RedisState::open(&sentinel.url(), Arc::clone(&clock) as _).await.unwrap();
    // Two instances.
    let states = [open().await, open().await];
    assert!(eventually(|| sentinel.ask("SENTINEL replicas main").contains("name")));
    replicated(&new, &old);
    assert_eq!(login(&states[0], MADE, NOW, 1).await.unwrap(), Settlement::Done);

    let failover = NOW.after(secs(20));
    clock.set(failover);
    old.pause();
    assert!(eventually(|| new.ask("ROLE").contains("master")));
    // Used at the new master, by either instance.
    let made = failover.after(secs(10));
    for (n, state) in states.iter().enumerate() {
        let answer = first_answer(20, async || login(state, made, made, 10 + n as u8).await).await;
        assert_eq!(answer.unwrap(), Settlement::Done);
    }

    // The old one thaws and is promoted again before it was made a replica: it has none of this.
    let back = made.after(secs(20));
    clock.set(back);
    new.pause();
    old.resume();
    for (n, state) in states.iter().enumerate() {
        let answer = first_answer(40, async || login(state, made, back, 10 + n as u8).await).await;
        assert_eq!(answer.unwrap(), Settlement::Stale, "a used proof is not accepted again");
        let later = back.after(secs(5));
        let answer = first_answer(5, async || login(state, later, later, 20 + n as u8).await).await;
        assert_eq!(answer.unwrap(), Settlement::Done, "a new one is");
    }
    assert!(old.ask("ROLE").contains("master"));
    new.resume();
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_master_that_was_resynchronized_takes_nothing_that_was_used_up() {
    let server = Redis::start();
    let other = Redis::of(Kind::Replica(server.port()));
    let clock = Arc::new(ManualClock::at(BIRTH));
    let state = RedisState::open(&server.url(), Arc::clone(&clock) as _).await.unwrap();
    assert_eq!(state.send_code(&[], Some(&code("alice", 1)), NOW).await.unwrap(), None);
    let (kind, expires) = (TicketKind::Reset, NOW.after(secs(600)));
    let ticket = Ticket { kind, user: id(1), epoch: 0, source: String::new(), audience: "to".to_owned(), expires };
    state.put_ticket(&token(1), &ticket).await.unwrap();
    state.put_captcha(1, expires).await.unwrap();
    replicated(&other, &server);
    assert!(other.ask("REPLICAOF NO ONE").contains("OK"));

    assert!(state.redeem_ticket(&token(1), kind, "to", NOW).await.unwrap().is_some());
    assert!(state.take_captcha(1, NOW).await.unwrap());
    let guess = CodeGuess {
        candidates: vec![(code_key("alice"), [1; 32])],
        epoch: 0,
        on_right: CodeUse::Consume,
        max_tries: 5,
    };
    assert_eq!(state.guess_code(&attempt(home(), NOW), &guess).await.unwrap(), CodeCheck::Right(0));
    assert_eq!(login(&state, MADE, NOW, 1).await.unwrap(), Settlement::Done);

    // The same process (and `run_id`), with the other's data.
    let back = NOW.after(secs(20));
    clock.set(back);
    assert!(server.ask(&format!("REPLICAOF 127.0.0.1 {}", other.port())).contains("OK"));
    assert!(eventually(|| server.ask("INFO replication").contains("master_link_status:up")));
    assert!(server.ask("REPLICAOF NO ONE").contains("OK"));
    assert_eq!(server.lives("captcha").len(), 1, "it holds again what was used up");
    let answer = first_answer(10, async || login(&state, MADE, back, 1).await).await;
    assert_eq!(answer.unwrap(), Settlement::Stale);
    assert_eq!(state.redeem_ticket(&token(1), kind, "to", back).await.unwrap(), None);
    assert!(!state.take_captcha(1, back).await.unwrap());
    assert_eq!(state.guess_code(&attempt(home(), back), &guess).await.unwrap(), CodeCheck::Wrong);
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_connection_that_leads_to_another_server_accepts_nothing() {
    let server = Redis::start();
    let clock = Arc::new(ManualClock::at(BIRTH));
    let state = RedisState::open(&server.url(), Arc::clone(&clock) as _).await.unwrap();
    assert_eq!(login(&state, MADE, NOW, 1).await.unwrap(), Settlement::Done);
    for round in 0..5 {
        let moved = NOW.after(secs(20 + round));
        clock.set(moved);
        // Its history ends while the connection goes on, and with it what it knew of the proof.
        assert!(server.ask("REPLICAOF 127.0.0.1 1").contains("OK"));
        assert!(server.ask("REPLICAOF NO ONE").contains("OK"));
        for (mark, _) in server.lives("replay") {
            assert!(server.ask(&format!("DEL {mark}")).starts_with(":1"));
        }
        let answer = first_answer(10, async || login(&state, MADE, moved, 1).await).await;
        assert_eq!(answer.unwrap(), Settlement::Stale);
    }
}

/// The machine's clock, half a minute fast.
struct Fast;

impl Clock for Fast {
    fn now(&self) -> Timestamp {
        SystemClock.now().after(secs(30))
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_fast_clock_of_one_instance_locks_nobody_out() {
    for kind in [Kind::One, Kind::Cluster] {
        let server = Redis::of(kind);
        let fast = RedisState::open(&server.url(), Arc::new(Fast)).await.unwrap();
        let right = RedisState::open(&server.url(), Arc::new(SystemClock)).await.unwrap();
        assert!(server.ask("FLUSHALL").contains("OK"));
        // The fast one is the first to come.
        fast.ping().await.unwrap();
        let started = Instant::now();
        let mut mark = 0;
        loop {
            let now = SystemClock.now();
            mark += 1;
            match login(&right, now, now, mark).await.unwrap() {
                Settlement::Done => break,
                Settlement::Stale => assert!(started.elapsed() < secs(5), "{kind:?}: everybody is locked out"),
                other => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_server_that_may_evict_is_named_until_it_may_not() {
    for kind in [Kind::One, Kind::Cluster] {
        let server = Redis::of(kind);
        assert!(server.ask("CONFIG SET maxmemory-policy allkeys-lru").contains("OK"));
        let state = redis_state(&server.url(), BIRTH).await;
        let defect = state.defect().expect("it is named at the start");
        assert!(defect.contains("allkeys-lru") && defect.contains("noeviction"), "{defect}");
        assert_eq!(defect.contains(&server.port().to_string()), kind == Kind::Cluster, "{defect}");
        // It answers all the same.
        state.ping().await.unwrap();
        let until = async |named: bool| {
            let started = Instant::now();
            while state.defect().is_some() != named {
                let _ = state.ping().await;
                assert!(started.elapsed() < secs(10), "{kind:?}: {:?}", state.defect());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Each new connection is looked at; a cluster's nodes are once a minute, for it reconnects by itself.
        server.stop();
        while state.ping().await.is_ok() {}
        server.restart();
        until(false).await;
        if kind == Kind::One {
            assert!(server.ask("CONFIG SET maxmemory-policy volatile-ttl").contains("OK"));
            server.ask("CLIENT KILL TYPE normal");
            until(true).await;
        }
    }
}

/// A cluster of two masters; the second has slot 0 alone.
fn cluster_of_two() -> [Redis; 2] {
    let nodes = [Redis::of(Kind::Cluster), Redis::of(Kind::Cluster)];
    let [first, second] = &nodes;
    let port = second.ask("CONFIG GET cluster-port");
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
        let answer = node.ask(command);
        assert!(answer.contains("OK"), "{command}: {answer}");
    }
    let is_whole = |node: &Redis| {
        let info = node.ask("CLUSTER INFO");
        info.contains("cluster_size:2") && info.contains("cluster_state:ok")
    };
    assert!(eventually(|| nodes.iter().all(is_whole)), "{}", first.ask("CLUSTER NODES"));
    nodes
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_cluster_of_which_a_master_cannot_be_asked_is_not_ready() {
    let [first, second] = cluster_of_two();
    let open = async || {
        let state = redis_state(&first.url(), BIRTH).await;
        state.ping().await.unwrap();
        state
    };
    assert_eq!(open().await.defect(), None);
    assert!(second.ask("CONFIG SET maxmemory-policy allkeys-lru").contains("OK"));
    let defect = open().await.defect().unwrap();
    assert!(defect.contains("allkeys-lru") && defect.contains(&second.port().to_string()), "{defect}");
    for gone in [Redis::pause, Redis::kill] {
        gone(&second);
        let defect = open().await.defect().unwrap();
        assert!(defect.contains("could not be read"), "{defect}");
    }
    // It is found out soon after the master is back.
    let state = open().await;
    second.restart();
    let started = Instant::now();
    while state.defect().is_some() {
        assert!(started.elapsed() < secs(30), "{:?}", state.defect());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_server_that_takes_no_writes_is_not_ready() {
    let server = Redis::start();
    let state = redis_state(&server.url(), BIRTH).await;
    state.ping().await.unwrap();
    assert!(server.ask("CONFIG SET maxmemory 1").contains("OK"));
    assert!(state.ping().await.is_err(), "its memory is full");
    assert!(server.ask("CONFIG SET maxmemory 0").contains("OK"));
    state.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_replica_is_not_ready() {
    let master = Redis::start();
    redis_state(&master.url(), BIRTH).await.ping().await.unwrap();
    let replica = Redis::of(Kind::Replica(master.port()));
    replicated(&replica, &master);
    // With the replicated record of the master's birth, only a write shows what it is.
    if let Ok(state) = RedisState::open(&replica.url(), Arc::new(ManualClock::at(BIRTH))).await {
        assert!(state.ping().await.is_err());
    }
}
