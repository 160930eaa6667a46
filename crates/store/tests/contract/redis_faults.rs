//! What becomes of logins when Redis is slow, gone, emptied or another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stele_core::Error;
use stele_core::ports::{Attempt, CodeCheck, CodeGuess, CodeUse, Settlement, StateStore, Success, Verdict};
use stele_core::session::{Ticket, TicketKind};
use stele_core::time::Timestamp;
use stele_store::{OpenError, RedisState};
use stele_testservers::{Kind, Proxy, Redis, eventually};

use crate::support::*;

fn right(success: Success) -> Verdict {
    Verdict::Right(Box::new(success))
}

/// An attempt with a proof made at `made`, which is also when it comes.
fn made(made: Timestamp) -> Attempt {
    Attempt { proof_made: Some(made), ..attempt(home(), made) }
}

async fn login(state: &RedisState, at: Timestamp, mark: u8) -> stele_core::Result<Settlement> {
    let success =
        Success { session: Some(opening(mark, session(at.after(secs(3_600))))), ..once(mark, at.after(secs(300))) };
    state.settle(&made(at), &right(success)).await
}

/// Calls until it is answered. What was cut off takes its time to come back, and not more than that.
async fn recovered(state: &RedisState) {
    let started = Instant::now();
    while let Err(error) = state.ping().await {
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert!(started.elapsed() < secs(8), "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_stalled_server_is_told_within_two_seconds_and_is_back_when_it_is_back() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let state = redis_state(&format!("redis://127.0.0.1:{}", proxy.port()), BIRTH).await;
    assert_eq!(login(&state, NOW, 1).await.unwrap(), Settlement::Done);

    proxy.stall();
    for _ in 0..3 {
        let started = Instant::now();
        assert!(matches!(login(&state, NOW, 2).await, Err(Error::Unavailable(_))));
        assert!(matches!(state.session(&token(1), NOW).await, Err(Error::Unavailable(_))));
        // Two calls.
        assert!(started.elapsed() < secs(4));
        let started = Instant::now();
        assert!(matches!(state.take_captcha(1, NOW).await, Err(Error::Unavailable(_))));
        assert!(started.elapsed() < secs(2));
    }
    proxy.resume();
    recovered(&state).await;
    assert!(state.session(&token(1), NOW).await.unwrap().is_some());
    assert_eq!(login(&state, NOW, 3).await.unwrap(), Settlement::Done);
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn many_who_wait_for_a_stalled_server_are_all_told_in_time() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port());
    let state = redis_state(&format!("redis://127.0.0.1:{}", proxy.port()), BIRTH).await;
    proxy.stall();
    let started = Instant::now();
    let logins = (0..500u16).map(|n| {
        let state = Arc::clone(&state);
        async move { login(&state, NOW, n as u8).await.is_err() }
    });
    assert!(all_at_once(logins).await.into_iter().all(|refused| refused));
    assert!(started.elapsed() < secs(2));
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_emptied_store_has_no_sessions_and_takes_no_old_proof() {
    for kind in [Kind::One, Kind::Cluster] {
        let server = Redis::of(kind);
        let clock = Arc::new(ManualClock::at(BIRTH));
        let state = RedisState::open(&server.url(), Arc::clone(&clock) as _).await.unwrap();
        assert_eq!(login(&state, NOW, 1).await.unwrap(), Settlement::Done);
        assert!(state.session(&token(1), NOW).await.unwrap().is_some());

        let flushed = NOW.after(secs(10));
        clock.set(flushed);
        assert!(server.ask("FLUSHALL").contains("OK"));
        assert_eq!(state.session(&token(1), flushed).await.unwrap(), None);
        // The same proof again, whoever comes first: this one, or somebody else.
        let again = Attempt { now: flushed, ..made(NOW) };
        let replayed = state.settle(&again, &right(once(1, NOW.after(secs(300))))).await.unwrap();
        assert_eq!(replayed, Settlement::Stale);
        assert_eq!(state.birth().await.unwrap(), flushed);
        assert_eq!(login(&state, flushed.after(secs(1)), 2).await.unwrap(), Settlement::Done);
        // By itself, too, before anybody comes.
        clock.set(flushed.after(secs(20)));
        assert!(server.ask("FLUSHALL").contains("OK"));
        let started = Instant::now();
        while !server.lives("birth").iter().any(|(_, life)| *life == -1) {
            assert!(started.elapsed() < secs(4));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(state.birth().await.unwrap(), flushed.after(secs(20)));
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_restored_store_has_its_sessions_and_nothing_that_may_have_been_used_up() {
    let server = Redis::start();
    let clock = Arc::new(ManualClock::at(BIRTH));
    let state = RedisState::open(&server.url(), Arc::clone(&clock) as _).await.unwrap();
    assert_eq!(state.send_code(&[], Some(&code("alice", 1)), NOW).await.unwrap(), None);
    let (kind, expires) = (TicketKind::Reset, NOW.after(secs(600)));
    let ticket = Ticket { kind, user: id(1), epoch: 0, source: String::new(), audience: "to".to_owned(), expires };
    state.put_ticket(&token(1), &ticket).await.unwrap();
    state.put_captcha(1, expires).await.unwrap();
    assert_eq!(login(&state, NOW, 1).await.unwrap(), Settlement::Done);
    assert!(server.ask("SAVE").contains("OK"));
    // Used up, and then the server falls back to what was saved.
    assert!(state.redeem_ticket(&token(1), kind, "to", NOW).await.unwrap().is_some());
    assert!(state.take_captcha(1, NOW).await.unwrap());
    let guess = CodeGuess {
        candidates: vec![(code_key("alice"), [1; 32])],
        epoch: 0,
        on_right: CodeUse::Consume,
        max_tries: 5,
    };
    let checked = state.guess_code(&attempt(home(), NOW), &guess).await.unwrap();
    assert_eq!(checked, CodeCheck::Right(0));
    assert_eq!(login(&state, NOW.after(secs(5)), 2).await.unwrap(), Settlement::Done);
    server.kill();
    let started = Instant::now();
    assert!(matches!(login(&state, NOW.after(secs(6)), 3).await, Err(Error::Unavailable(_))));
    assert!(matches!(state.session(&token(1), NOW).await, Err(Error::Unavailable(_))));
    assert!(started.elapsed() < secs(2));

    clock.set(NOW.after(secs(20)));
    server.restart();
    recovered(&state).await;
    assert!(
        state.session(&token(1), NOW).await.unwrap().is_some(),
        "sessions are kept as well as the server keeps them"
    );
    assert!(state.session(&token(2), NOW).await.unwrap().is_none());
    let back = NOW.after(secs(21));
    let again = Attempt { now: back, ..made(NOW.after(secs(5))) };
    let replayed = state.settle(&again, &right(once(2, NOW.after(secs(300))))).await.unwrap();
    assert_eq!(replayed, Settlement::Stale);
    assert_eq!(state.redeem_ticket(&token(1), kind, "to", back).await.unwrap(), None);
    assert!(!state.take_captcha(1, back).await.unwrap());
    assert_eq!(state.guess_code(&attempt(home(), back), &guess).await.unwrap(), CodeCheck::Wrong);
    assert_eq!(login(&state, back, 4).await.unwrap(), Settlement::Done);
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_failover_is_found_by_itself_and_old_proofs_do_not_outlive_it() {
    let master = Redis::start();
    let replica = Redis::of(Kind::Replica(master.port()));
    let sentinel = Redis::of(Kind::Sentinel(master.port()));
    let clock = Arc::new(ManualClock::at(BIRTH));
    // A sentinel that is gone does not matter.
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/main", sentinel.port());
    let state = RedisState::open(&url, Arc::clone(&clock) as _).await.unwrap();
    assert_eq!(login(&state, NOW, 1).await.unwrap(), Settlement::Done);
    let replicated = || !replica.lives("session").is_empty() && sentinel.ask("SENTINEL replicas main").contains("name");
    assert!(eventually(replicated), "{}", sentinel.ask("SENTINEL replicas main"));

    clock.set(NOW.after(secs(20)));
    master.kill();
    let started = Instant::now();
    while let Err(error) = state.ping().await {
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert!(started.elapsed() < secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(replica.ask("ROLE").contains("master"));
    let back = NOW.after(secs(21));
    assert!(state.session(&token(1), back).await.unwrap().is_some());
    let again = Attempt { now: back, ..made(NOW.after(secs(20))) };
    let replayed = state.settle(&again, &right(once(9, NOW.after(secs(300))))).await.unwrap();
    assert_eq!(replayed, Settlement::Stale);
    assert_eq!(login(&state, back, 2).await.unwrap(), Settlement::Done);
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let server = Redis::start();
    let state = redis_state(&server.url(), BIRTH).await;
    for n in 0..3 {
        assert!(server.ask("SCRIPT FLUSH").contains("OK"));
        assert_eq!(login(&state, NOW, n).await.unwrap(), Settlement::Done);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn everything_but_the_birth_is_cleared_away_in_time() {
    for kind in [Kind::One, Kind::Cluster] {
        let server = Redis::of(kind);
        let url = format!("{}?prefix=times", server.url());
        let state = redis_state(&url, NOW).await;
        let hour = NOW.after(secs(3_600));
        let uses = [stele_core::ports::Use {
            key: "to:alice".to_owned(),
            quota: stele_core::rate_limit::Quota { max: 5, window: secs(3_600) },
        }];
        state.send_code(&uses, Some(&code("alice", 1)), NOW).await.unwrap();
        assert_eq!(login(&state, NOW.after(secs(1)), 1).await.unwrap(), Settlement::Done);
        state.settle(&attempt(home(), NOW), &welcome()).await.unwrap();
        state.settle(&attempt(elsewhere(), NOW), &Verdict::Wrong).await.unwrap();
        state.settle(&attempt(home(), NOW), &Verdict::Wrong).await.unwrap();
        state.open_session(&opening(2, session(NOW))).await.unwrap();
        state.touch_session(&token(2), &session(hour)).await.unwrap();
        state.restamp_session(&token(2), 7).await.unwrap();
        state.put_captcha(1, hour).await.unwrap();
        let ticket = Ticket {
            kind: TicketKind::Reset,
            user: id(1),
            epoch: 0,
            source: String::new(),
            audience: String::new(),
            expires: hour,
        };
        state.put_ticket(&token(3), &ticket).await.unwrap();
        let lives = server.lives("times");
        // birth, use, code, replay, known, 2 accounts, 2 origins, 2 sessions and their index, captcha, ticket
        assert_eq!(lives.len(), 14, "{lives:?}");
        for (key, life) in lives {
            let month = 31 * 86_400_000;
            assert_eq!(life == -1, key == "{times}:birth", "{key}");
            // No sooner than its end by the server's clock, and ten minutes later at the most.
            let end = if key.contains("known") { 30 * 86_400_000 } else { 240_000 };
            assert!(life == -1 || (end..month).contains(&life), "{key}: {life}");
            // The index of a user's sessions lives as long as the one that was used last.
            assert!(!key.contains(":sessions:") || life > 3_600_000, "{key}: {life}");
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn what_cannot_be_used_is_told_at_the_start_without_a_password() {
    let open = async |url: &str| RedisState::open(url, Arc::new(ManualClock::at(BIRTH))).await.err().unwrap();
    assert!(matches!(open("mysql://u:hunter2@h").await, OpenError::Redis(_)));
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
    assert!(server.ask("CONFIG SET requirepass other").contains("OK"));
    let text = open(&format!("redis://:hunter2@127.0.0.1:{}", server.port())).await.to_string();
    assert!(!text.contains("hunter2"), "{text}");
}
