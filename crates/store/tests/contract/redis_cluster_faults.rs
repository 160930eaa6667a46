//! Faults of a Redis Cluster: a failed, emptied or resharded master. No proof is accepted twice, no answered login is
//! lost, and accounts of the other masters are not affected.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use stele_core::origin::Origin;
use stele_core::ports::{AttemptOutcome, LoginAttempt, ProofResult, StateStore, SuccessEffects, UsedProof};
use stele_core::session::{NewSession, TokenKey};
use stele_core::time::{Clock, SystemClock, Timestamp};
use stele_core::{Error, hex};
use stele_store::RedisStateStore;
use stele_testservers::{RedisCluster, eventually};

use crate::support::*;

/// Number of accounts in a test: enough that every master has some.
const ACCOUNTS: u32 = 60;

/// A login with a proof that is accepted once.
#[derive(Clone)]
struct Login {
    account: u32,
    number: u32,
    made_at: Timestamp,
    origin: Origin,
    has_session: bool,
}

impl Login {
    fn new(account: u32, number: u32, made_at: Timestamp) -> Self {
        Self { account, number, made_at, origin: home_origin(), has_session: true }
    }

    fn key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.made_at.as_secs().to_be_bytes());
        key[8..12].copy_from_slice(&self.account.to_be_bytes());
        key[12..16].copy_from_slice(&self.number.to_be_bytes());
        key
    }

    async fn present(&self, state: &RedisStateStore, now: Timestamp) -> stele_core::Result<AttemptOutcome> {
        let attempt = LoginAttempt {
            account: format!("user:{}", self.account),
            proof_made_at: Some(self.made_at),
            ..attempt(self.origin.clone(), now)
        };
        let expires = self.made_at.saturating_add(secs(4_500));
        let session = NewSession { key: TokenKey(self.key()), session: session(expires), max_per_user: 10_000 };
        let success = SuccessEffects {
            used_proof: Some(UsedProof { key: self.key(), expires }),
            session: self.has_session.then_some(session),
            ..SuccessEffects::default()
        };
        state.record_login_attempt(&attempt, &ProofResult::Valid(Box::new(success))).await
    }

    /// The number of the node that has the mark of the used proof.
    fn node(&self, cluster: &RedisCluster) -> usize {
        let mark = format!("replay:{}", hex::encode(&self.key()));
        cluster.nodes().iter().position(|node| !node.key_ttls(&mark).is_empty()).expect("the proof was recorded")
    }
}

/// Logs in to each account once. Returns the logins by the node that recorded them.
async fn log_in_everywhere(
    cluster: &RedisCluster,
    state: &RedisStateStore,
    number: u32,
    made_at: Timestamp,
) -> BTreeMap<usize, Vec<Login>> {
    let mut by_node = BTreeMap::<usize, Vec<Login>>::new();
    for account in 0..ACCOUNTS {
        let login = Login::new(account, number, made_at);
        assert_eq!(login.present(state, made_at).await.unwrap(), AttemptOutcome::Recorded);
        by_node.entry(login.node(cluster)).or_default().push(login);
    }
    by_node
}

/// Repeats a login while the store is unavailable.
async fn present_when_available(login: &Login, state: &RedisStateStore, now: Timestamp) -> AttemptOutcome {
    let started = Instant::now();
    loop {
        match login.present(state, now).await {
            Err(Error::Unavailable(error)) => {
                assert!(started.elapsed() < secs(20), "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => return result.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_emptied_master_makes_only_the_proofs_of_its_accounts_stale() {
    let cluster = RedisCluster::start(3, 0);
    let clock = Arc::new(ManualClock::at(BIRTH));
    let states = [
        RedisStateStore::open(&cluster.url(), Arc::clone(&clock) as _).await.unwrap(),
        RedisStateStore::open(&cluster.url(), Arc::clone(&clock) as _).await.unwrap(),
    ];
    let logins = log_in_everywhere(&cluster, &states[0], 1, NOW).await;
    assert_eq!(logins.len(), 3, "every master has accounts");

    let emptied_at = NOW.saturating_add(secs(10));
    clock.set(emptied_at);
    assert!(cluster.master(1).command("FLUSHALL").contains("OK"));
    for (node, logins) in &logins {
        let expected = if *node == 1 { AttemptOutcome::ProofStale } else { AttemptOutcome::ProofReplayed };
        for (n, login) in logins.iter().enumerate() {
            assert_eq!(login.present(&states[n % 2], emptied_at).await.unwrap(), expected, "node {node}");
        }
    }
    // The heartbeat records the births of all buckets of the emptied master, so that later no proof is stale.
    let births = || cluster.nodes().iter().map(|node| node.key_ttls(":birth").len()).sum::<usize>();
    assert!(eventually(|| births() >= 1_024), "{}", births());
    clock.set(emptied_at.saturating_add(secs(100)));
    log_in_everywhere(&cluster, &states[1], 2, emptied_at.saturating_add(secs(1))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_failover_of_one_master_accepts_no_proof_again_and_leaves_the_others_available() {
    let cluster = RedisCluster::start(3, 1);
    cluster.set_config("cluster-require-full-coverage", "no");
    let clock = Arc::new(ManualClock::at(BIRTH));
    let state = RedisStateStore::open(&cluster.url(), Arc::clone(&clock) as _).await.unwrap();
    let logins = log_in_everywhere(&cluster, &state, 1, NOW).await;

    let failed_at = NOW.saturating_add(secs(20));
    clock.set(failed_at);
    // The accounts of the other masters log in during the whole failover, from an address whose counters are there.
    let stop = Arc::new(AtomicBool::new(false));
    let origin = origin_of_another_master(&cluster, &state, 0).await;
    let others = logins.iter().filter(|(node, _)| **node != 0).flat_map(|(_, logins)| logins.clone());
    let others = others.map(|login| Login { origin: origin.clone(), has_session: false, ..login }).collect();
    let load = tokio::spawn(log_in_until(Arc::clone(&stop), Arc::clone(&state), others, failed_at));
    let killed = Instant::now();
    let promoted = tokio::task::block_in_place(|| cluster.fail_over(0));
    let promoted_at = failed_at.saturating_add(secs(2));
    for login in logins.values().flatten() {
        let outcome = present_when_available(login, &state, promoted_at).await;
        let is_affected = logins[&0].iter().any(|affected| affected.account == login.account);
        let expected = if is_affected { AttemptOutcome::ProofStale } else { AttemptOutcome::ProofReplayed };
        assert_eq!(outcome, expected, "account {}", login.account);
    }
    println!("the accounts of the failed master were available again {:?} after it was killed", killed.elapsed());
    stop.store(true, Ordering::SeqCst);
    let (count, failed, slowest) = load.await.unwrap();
    println!("{count} logins at the other masters during the failover, {failed} failed, slowest {slowest:?}");
    assert!(count > 100 && failed == 0, "{failed} of {count} failed");
    assert!(slowest < secs(2), "{slowest:?}");

    let later = promoted_at.saturating_add(secs(5));
    clock.set(later);
    let logins = log_in_everywhere(&cluster, &state, 3, later).await;
    assert!(!logins[&promoted].is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_master_that_hangs_delays_only_its_own_accounts() {
    let cluster = RedisCluster::start(3, 0);
    cluster.set_config("cluster-require-full-coverage", "no");
    let state = redis_state(&cluster.url(), BIRTH).await;
    let logins = log_in_everywhere(&cluster, &state, 1, NOW).await;
    let stop = Arc::new(AtomicBool::new(false));
    let origin = origin_of_another_master(&cluster, &state, 0).await;
    let others = logins.iter().filter(|(node, _)| **node != 0).flat_map(|(_, logins)| logins.clone());
    let others = others.map(|login| Login { origin: origin.clone(), has_session: false, ..login }).collect();
    let load = tokio::spawn(log_in_until(Arc::clone(&stop), Arc::clone(&state), others, NOW));

    cluster.master(0).pause();
    let affected = logins[&0].iter().map(async |login| {
        let login = Login { number: 2, origin: origin.clone(), has_session: false, ..login.clone() };
        let started = Instant::now();
        assert!(matches!(login.present(&state, NOW).await, Err(Error::Unavailable(_))));
        started.elapsed()
    });
    let slowest = join_all(affected).await.into_iter().max().unwrap();
    // The time of one call: the origin's master responds.
    assert!(slowest < secs(2), "{slowest:?}");
    stop.store(true, Ordering::SeqCst);
    let (count, failed, slowest) = load.await.unwrap();
    assert!(count > 100 && failed == 0, "{failed} of {count} failed");
    assert!(slowest < secs(1), "{slowest:?}");

    cluster.master(0).resume();
    for login in logins.values().flatten() {
        assert_eq!(present_when_available(login, &state, NOW).await, AttemptOutcome::ProofReplayed);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_instance_starts_while_a_master_hangs() {
    // The first and the last slots: those of the first and of the last bucket.
    for hanging in [0, 2] {
        let cluster = RedisCluster::start(3, 0);
        cluster.set_config("cluster-require-full-coverage", "no");
        cluster.master(hanging).pause();
        let started = Instant::now();
        let state = redis_state(&cluster.url(), BIRTH).await;
        println!("started in {:?} while the master {hanging} hangs", started.elapsed());
        let births = |node: usize| cluster.master(node).key_ttls(":birth").len();
        // All but those of buckets that are checked together with one of the master that hangs.
        assert!((0..3).filter(|node| *node != hanging).all(|node| births(node) > 320));
        cluster.master(hanging).resume();
        assert!(eventually(|| births(hanging) >= 341), "{}", births(hanging));
        log_in_everywhere(&cluster, &state, 1, NOW).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn the_only_server_of_the_url_may_fail() {
    let cluster = RedisCluster::start(3, 1);
    let url = format!("redis+cluster://127.0.0.1:{}", cluster.master(0).port());
    let state = redis_state(&url, BIRTH).await;
    tokio::task::block_in_place(|| cluster.fail_over(0));
    for account in 0..ACCOUNTS {
        let login = Login::new(account, 1, NOW);
        assert_eq!(present_when_available(&login, &state, NOW).await, AttemptOutcome::Recorded);
    }
}

/// An address whose counters are not on the master of this number.
async fn origin_of_another_master(cluster: &RedisCluster, state: &RedisStateStore, master: usize) -> Origin {
    for n in 0.. {
        let origin = Origin::from_address([198, 18, 0, n].into());
        let counters = || cluster.master(master).key_ttls(":origin:").len();
        let before = counters();
        state.record_login_attempt(&attempt(origin.clone(), NOW), &ProofResult::Invalid).await.unwrap();
        if counters() == before {
            return origin;
        }
    }
    unreachable!("every address has its counters on one master");
}

/// Logs in to the accounts in turn. Returns the number of logins and of failures, and the longest time of a login.
async fn log_in_until(
    stop: Arc<AtomicBool>,
    state: Arc<RedisStateStore>,
    accounts: Vec<Login>,
    made_at: Timestamp,
) -> (u32, u32, Duration) {
    let (mut count, mut failed, mut slowest) = (0, 0, Duration::ZERO);
    while !stop.load(Ordering::SeqCst) {
        for login in &accounts {
            count += 1;
            let started = Instant::now();
            let login = Login { number: 1_000 + count, made_at, ..login.clone() };
            let outcome = login.present(&state, made_at).await;
            slowest = slowest.max(started.elapsed());
            failed += u32::from(!matches!(outcome, Ok(AttemptOutcome::Recorded)));
        }
    }
    (count, failed, slowest)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_login_waits_until_its_slot_has_been_moved() {
    let cluster = RedisCluster::start(3, 0);
    let clock = Arc::new(ManualClock::at(BIRTH));
    let state = RedisStateStore::open(&cluster.url(), Arc::clone(&clock) as _).await.unwrap();
    let logins = log_in_everywhere(&cluster, &state, 1, NOW).await;
    let (from, login) = (0, &logins[&0][0]);
    let mark = format!("replay:{}", hex::encode(&login.key()));
    let slot = cluster.slot(&cluster.master(from).key_ttls(&mark)[0].0);

    let moved_at = NOW.saturating_add(secs(10));
    clock.set(moved_at);
    let later = moved_at.saturating_add(secs(5));
    cluster.begin_migration(slot, from, 1);
    cluster.migrate_keys(cluster.master(from), cluster.master(1), slot, 1);
    // A script whose keys are on both nodes is rejected (TRYAGAIN) until all have been moved.
    let started = Instant::now();
    let during = Login::new(login.account, 2, later);
    assert!(matches!(during.present(&state, later).await, Err(Error::Unavailable(_))));
    assert!(started.elapsed() < secs(2), "{:?}", started.elapsed());

    let waiting = tokio::spawn({
        let (state, login) = (Arc::clone(&state), Login::new(login.account, 3, later));
        async move { login.present(&state, later).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    tokio::task::block_in_place(|| {
        while cluster.migrate_keys(cluster.master(from), cluster.master(1), slot, 100) > 0 {}
        cluster.finish_migration(slot, from, 1);
    });
    assert_eq!(waiting.await.unwrap().unwrap(), AttemptOutcome::Recorded, "waits for the end of the migration");
    // The bucket has a birth at its new node: what was accepted before is stale there.
    assert_eq!(login.present(&state, later).await.unwrap(), AttemptOutcome::ProofStale);
    assert_eq!(cluster.owner(slot), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_reshard_under_load_loses_no_login_and_accepts_no_proof_again() {
    let cluster = RedisCluster::start(3, 0);
    let open = async || RedisStateStore::open(&cluster.url(), Arc::new(SystemClock)).await.unwrap();
    let states = [open().await, open().await];
    // Births of this second would make the first proofs stale.
    let born = SystemClock.now().as_secs();
    while SystemClock.now().as_secs() <= born + 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = (0..4)
        .map(|n| tokio::spawn(log_in_with_ledger(Arc::clone(&stop), Arc::clone(&states[n % 2]), n as u32)))
        .collect();
    let started = Instant::now();
    // 320 slots: 20 buckets.
    tokio::task::block_in_place(|| cluster.move_slots(0..320, 2));
    let duration = started.elapsed();
    stop.store(true, Ordering::SeqCst);
    let (mut accepted, mut stale, mut unavailable, mut slowest) = (Vec::new(), 0, 0, Duration::ZERO);
    for load in loads {
        let ledger = load.await.unwrap();
        accepted.extend(ledger.accepted);
        stale += ledger.stale;
        unavailable += ledger.unavailable;
        slowest = slowest.max(ledger.slowest);
    }
    println!(
        "320 slots moved in {duration:?} under load: {} logins accepted, {stale} stale, {unavailable} unavailable, \
         slowest {slowest:?}",
        accepted.len()
    );
    assert_eq!(unavailable, 0);
    // A login in the second of its bucket's new birth is stale, once for each instance.
    assert!(stale < 100 && accepted.len() > 500, "{stale} stale, {} accepted", accepted.len());
    let now = SystemClock.now();
    let check = async |login: &Login| {
        let again = login.present(&states[1], now).await.unwrap();
        assert!(matches!(again, AttemptOutcome::ProofReplayed | AttemptOutcome::ProofStale), "{again:?}");
    };
    for logins in accepted.chunks(100) {
        join_all(logins.iter().map(check)).await;
    }
    for login in &accepted {
        assert!(states[0].find_session(&TokenKey(login.key()), now).await.unwrap().is_some(), "a login was lost");
    }
}

#[derive(Default)]
struct Ledger {
    accepted: Vec<Login>,
    stale: u32,
    unavailable: u32,
    slowest: Duration,
}

/// Logs in to 200 accounts in turn.
async fn log_in_with_ledger(stop: Arc<AtomicBool>, state: Arc<RedisStateStore>, client: u32) -> Ledger {
    let mut ledger = Ledger::default();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let now = SystemClock.now();
        let login = Login::new(client * 1_000 + number % 200, number, now);
        let started = Instant::now();
        let outcome = login.present(&state, now).await;
        ledger.slowest = ledger.slowest.max(started.elapsed());
        match outcome {
            Ok(AttemptOutcome::Recorded) => ledger.accepted.push(login),
            Ok(AttemptOutcome::ProofStale) => ledger.stale += 1,
            Ok(other) => panic!("{other:?}"),
            Err(_) => ledger.unavailable += 1,
        }
    }
    ledger
}
