//! Redis faults: stalled, killed, flushed, restored and replaced servers. Also the expiry of keys, and the errors for
//! unusable URLs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stele_core::Error;
use stele_core::ports::{
    AttemptOutcome, CodeVerificationResult, LoginAttempt, ProofResult, StateStore, SuccessEffects,
};
use stele_core::session::{Ticket, TicketKind};
use stele_core::time::Timestamp;
use stele_store::{OpenError, RedisStateStore};
use stele_testservers::{Proxy, Redis, RedisMode, eventually};

use crate::support::*;

/// An attempt at the time `now`, with a proof made at that time.
fn attempt_with_fresh_proof(now: Timestamp) -> LoginAttempt {
    LoginAttempt { proof_made_at: Some(now), ..attempt(home_origin(), now) }
}

/// Logs in at the time `at`, with the proof and the session number `n`.
async fn login(state: &RedisStateStore, at: Timestamp, n: u8) -> stele_core::Result<AttemptOutcome> {
    let success = SuccessEffects {
        session: Some(new_session(n, session(at.saturating_add(secs(3_600))))),
        ..one_time_success(n, at.saturating_add(secs(300)))
    };
    state.record_login_attempt(&attempt_with_fresh_proof(at), &accepted(success)).await
}

/// Pings until the store is available, for at most eight seconds.
async fn wait_until_recovered(state: &RedisStateStore) {
    let started = Instant::now();
    while let Err(error) = state.ping().await {
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert!(started.elapsed() < secs(8), "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_stalled_server_is_unavailable_within_two_seconds_until_it_resumes() {
    let server = Redis::start();
    let proxy = Proxy::start(server.port());
    let state = redis_state(&format!("redis://127.0.0.1:{}", proxy.port()), BIRTH).await;
    assert_eq!(login(&state, NOW, 1).await.unwrap(), AttemptOutcome::Recorded);

    proxy.pause();
    for _ in 0..3 {
        let started = Instant::now();
        assert!(matches!(login(&state, NOW, 2).await, Err(Error::Unavailable(_))));
        assert!(matches!(state.find_session(&token_key(1), NOW).await, Err(Error::Unavailable(_))));
        // Two calls, each of less than two seconds.
        assert!(started.elapsed() < secs(4));
        let started = Instant::now();
        assert!(matches!(state.consume_captcha(1, NOW).await, Err(Error::Unavailable(_))));
        assert!(started.elapsed() < secs(2));
    }
    proxy.resume();
    wait_until_recovered(&state).await;
    assert!(state.find_session(&token_key(1), NOW).await.unwrap().is_some());
    assert_eq!(login(&state, NOW, 3).await.unwrap(), AttemptOutcome::Recorded);
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn concurrent_calls_to_a_stalled_server_all_fail_within_two_seconds() {
    let server = Redis::start();
    let proxy = Proxy::start(server.port());
    let state = redis_state(&format!("redis://127.0.0.1:{}", proxy.port()), BIRTH).await;
    proxy.pause();
    let started = Instant::now();
    let logins = (0..500u16).map(|n| {
        let state = Arc::clone(&state);
        async move { login(&state, NOW, n as u8).await.is_err() }
    });
    assert!(all_at_once(logins).await.into_iter().all(|failed| failed));
    assert!(started.elapsed() < secs(2));
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_flushed_store_has_no_sessions_and_rejects_old_proofs() {
    for mode in [RedisMode::Standalone, RedisMode::Cluster] {
        let server = Redis::start_mode(mode);
        let clock = Arc::new(ManualClock::at(BIRTH));
        let state = RedisStateStore::open(&server.url(), Arc::clone(&clock) as _).await.unwrap();
        assert_eq!(login(&state, NOW, 1).await.unwrap(), AttemptOutcome::Recorded);
        assert!(state.find_session(&token_key(1), NOW).await.unwrap().is_some());

        let flushed = NOW.saturating_add(secs(10));
        clock.set(flushed);
        assert!(server.command("FLUSHALL").contains("OK"));
        assert_eq!(state.find_session(&token_key(1), flushed).await.unwrap(), None);
        // The same proof again is stale, before any other call has noticed the flush.
        let again = LoginAttempt { now: flushed, ..attempt_with_fresh_proof(NOW) };
        let outcome = state
            .record_login_attempt(&again, &accepted(one_time_success(1, NOW.saturating_add(secs(300)))))
            .await
            .unwrap();
        assert_eq!(outcome, AttemptOutcome::ProofStale);
        assert_eq!(state.created_at().await.unwrap(), flushed);
        assert_eq!(login(&state, flushed.saturating_add(secs(1)), 2).await.unwrap(), AttemptOutcome::Recorded);
        // The heartbeat also records a new birth, before any call.
        clock.set(flushed.saturating_add(secs(20)));
        assert!(server.command("FLUSHALL").contains("OK"));
        let started = Instant::now();
        while !server.key_ttls("birth").iter().any(|(_, ttl)| *ttl == -1) {
            assert!(started.elapsed() < secs(4));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(state.created_at().await.unwrap(), flushed.saturating_add(secs(20)));
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_restored_store_retains_sessions_but_no_one_time_data() {
    let server = Redis::start();
    let clock = Arc::new(ManualClock::at(BIRTH));
    let state = RedisStateStore::open(&server.url(), Arc::clone(&clock) as _).await.unwrap();
    store_one_time_data(&*state).await;
    assert_eq!(login(&state, NOW, 1).await.unwrap(), AttemptOutcome::Recorded);
    assert!(server.command("SAVE").contains("OK"));
    // One-time data is consumed. Then the server restarts with the saved snapshot.
    let guess = consume_one_time_data(&*state).await;
    assert_eq!(login(&state, NOW.saturating_add(secs(5)), 2).await.unwrap(), AttemptOutcome::Recorded);
    server.kill();
    let started = Instant::now();
    assert!(matches!(login(&state, NOW.saturating_add(secs(6)), 3).await, Err(Error::Unavailable(_))));
    assert!(matches!(state.find_session(&token_key(1), NOW).await, Err(Error::Unavailable(_))));
    assert!(started.elapsed() < secs(2));

    clock.set(NOW.saturating_add(secs(20)));
    server.restart();
    wait_until_recovered(&state).await;
    assert!(state.find_session(&token_key(1), NOW).await.unwrap().is_some(), "sessions are restored");
    assert!(state.find_session(&token_key(2), NOW).await.unwrap().is_none());
    let restored_at = NOW.saturating_add(secs(21));
    let again = LoginAttempt { now: restored_at, ..attempt_with_fresh_proof(NOW.saturating_add(secs(5))) };
    let outcome = state
        .record_login_attempt(&again, &accepted(one_time_success(2, NOW.saturating_add(secs(300)))))
        .await
        .unwrap();
    assert_eq!(outcome, AttemptOutcome::ProofStale);
    assert_eq!(state.redeem_ticket(&token_key(1), TicketKind::Reset, "to", restored_at).await.unwrap(), None);
    assert!(!state.consume_captcha(1, restored_at).await.unwrap());
    assert_eq!(
        state.verify_code(&attempt(home_origin(), restored_at), &guess).await.unwrap(),
        CodeVerificationResult::Invalid
    );
    assert_eq!(login(&state, restored_at, 4).await.unwrap(), AttemptOutcome::Recorded);
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn after_a_failover_the_store_recovers_and_rejects_old_proofs() {
    let master = Redis::start();
    let replica = Redis::start_mode(RedisMode::Replica(master.port()));
    let sentinel = Redis::start_mode(RedisMode::Sentinel(master.port()));
    let clock = Arc::new(ManualClock::at(BIRTH));
    // An unreachable sentinel does not matter.
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/main", sentinel.port());
    let state = RedisStateStore::open(&url, Arc::clone(&clock) as _).await.unwrap();
    assert_eq!(login(&state, NOW, 1).await.unwrap(), AttemptOutcome::Recorded);
    let replicated =
        || !replica.key_ttls("session").is_empty() && sentinel.command("SENTINEL replicas main").contains("name");
    assert!(eventually(replicated), "{}", sentinel.command("SENTINEL replicas main"));

    clock.set(NOW.saturating_add(secs(20)));
    master.kill();
    let started = Instant::now();
    while let Err(error) = state.ping().await {
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert!(started.elapsed() < secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(replica.command("ROLE").contains("master"));
    let promoted_at = NOW.saturating_add(secs(21));
    assert!(state.find_session(&token_key(1), promoted_at).await.unwrap().is_some());
    let again = LoginAttempt { now: promoted_at, ..attempt_with_fresh_proof(NOW.saturating_add(secs(20))) };
    let outcome = state
        .record_login_attempt(&again, &accepted(one_time_success(9, NOW.saturating_add(secs(300)))))
        .await
        .unwrap();
    assert_eq!(outcome, AttemptOutcome::ProofStale);
    assert_eq!(login(&state, promoted_at, 2).await.unwrap(), AttemptOutcome::Recorded);
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn flushed_scripts_are_loaded_again() {
    let server = Redis::start();
    let state = redis_state(&server.url(), BIRTH).await;
    for n in 0..3 {
        assert!(server.command("SCRIPT FLUSH").contains("OK"));
        assert_eq!(login(&state, NOW, n).await.unwrap(), AttemptOutcome::Recorded);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn every_key_but_the_birth_expires() {
    for mode in [RedisMode::Standalone, RedisMode::Cluster] {
        let server = Redis::start_mode(mode);
        let url = format!("{}?prefix=times", server.url());
        let state = redis_state(&url, NOW).await;
        let in_an_hour = NOW.saturating_add(secs(3_600));
        let uses = [stele_core::ports::QuotaUse {
            key: "to:alice".to_owned(),
            quota: stele_core::rate_limit::Quota { max: 5, window: secs(3_600) },
        }];
        state.consume_quotas(&uses, Some(&code("alice", 1)), NOW).await.unwrap();
        assert_eq!(login(&state, NOW.saturating_add(secs(1)), 1).await.unwrap(), AttemptOutcome::Recorded);
        state.record_login_attempt(&attempt(home_origin(), NOW), &accepted_and_trusted()).await.unwrap();
        state.record_login_attempt(&attempt(other_origin(), NOW), &ProofResult::Invalid).await.unwrap();
        state.record_login_attempt(&attempt(home_origin(), NOW), &ProofResult::Invalid).await.unwrap();
        state.open_session(&new_session(2, session(NOW))).await.unwrap();
        state.touch_session(&token_key(2), &session(in_an_hour)).await.unwrap();
        state.set_session_epoch(&token_key(2), 7).await.unwrap();
        state.store_captcha(1, in_an_hour).await.unwrap();
        let ticket = Ticket {
            kind: TicketKind::Reset,
            user: user_id(1),
            epoch: 0,
            source: String::new(),
            audience: String::new(),
            expires: in_an_hour,
        };
        state.store_ticket(&token_key(3), &ticket).await.unwrap();
        let ttls = server.key_ttls("times");
        let births = ttls.iter().filter(|(key, _)| key.ends_with(":birth")).count();
        assert_eq!(births, if mode == RedisMode::Cluster { 1_024 } else { 1 });
        // Quota, code, used proof, trusted origin, 2 accounts, 2 origins, 2 sessions and their index, captcha, ticket.
        assert_eq!(ttls.len() - births, 13, "{ttls:?}");
        for (key, ttl) in ttls {
            let month = 31 * 86_400_000;
            assert_eq!(ttl == -1, key.ends_with(":birth"), "{key}");
            // A key expires at most ten minutes after its data does, and not earlier by the server's clock.
            let shortest = if key.contains("known") { 30 * 86_400_000 } else { 240_000 };
            assert!(ttl == -1 || (shortest..month).contains(&ttl), "{key}: {ttl}");
            // The index of a user's sessions lives as long as the most recently used session.
            assert!(!key.contains(":sessions:") || ttl > 3_600_000, "{key}: {ttl}");
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_unusable_redis_url_fails_at_startup_without_showing_the_password() {
    let open = async |url: &str| RedisStateStore::open(url, Arc::new(ManualClock::at(BIRTH))).await.err().unwrap();
    assert!(matches!(open("mysql://u:hunter2@h").await, OpenError::InvalidRedisUrl(_)));
    let started = Instant::now();
    for url in [
        "redis://u:hunter2@127.0.0.1:1/3",
        "redis+sentinel://127.0.0.1:1/hunter",
        "redis+cluster://u:hunter2@127.0.0.1:1",
    ] {
        let text = open(url).await.to_string();
        assert!(text.contains("127.0.0.1:1") && !text.contains("hunter2"), "{text}");
    }
    assert!(started.elapsed() < secs(16));
    let server = Redis::start();
    assert!(server.command("CONFIG SET requirepass other").contains("OK"));
    let text = open(&format!("redis://:hunter2@127.0.0.1:{}", server.port())).await.to_string();
    assert!(!text.contains("hunter2"), "{text}");
}
