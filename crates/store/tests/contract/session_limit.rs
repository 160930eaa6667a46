//! Session limit: the most sessions of a user.

use std::sync::Arc;

use stele_core::ports::{AttemptOutcome, ProofResult, StateStore, SuccessEffects};
use stele_core::session::{NewSession, Session, TokenKey};
use stele_core::time::Timestamp;
use stele_store::SqliteStateStore;
use stele_testservers as servers;

use crate::support::*;

const LATER: Timestamp = Timestamp::from_secs(1_500_100_000);

/// Two handles on each state store, also on a cluster.
async fn paired_handles() -> Vec<(&'static str, [Arc<dyn StateStore>; 2], Option<tempfile::TempDir>)> {
    let dir = tempfile::tempdir().unwrap();
    let open = || SqliteStateStore::open(dir.path().join("state.db"), &ManualClock::at(BIRTH)).unwrap();
    let mut pairs: Vec<(_, [Arc<dyn StateStore>; 2], _)> = vec![("sqlite", [open(), open()], None)];
    if servers::servers_available() {
        for (name, url) in [("redis", servers::redis_url()), ("cluster", servers::redis_cluster_url())] {
            pairs.push((name, [redis_state(&url, BIRTH).await, redis_state(&url, BIRTH).await], None));
        }
    }
    pairs[0].2 = Some(dir);
    pairs
}

/// Session `n` of a user, created `n` seconds after [`NOW`], with this session limit.
fn numbered_session(user: u8, n: u8, limit: u32) -> NewSession {
    let mut key = [n; 32];
    key[31] = user;
    let session = Session { user: user_id(user), created: NOW.saturating_add(secs(n.into())), ..session(LATER) };
    NewSession { key: TokenKey(key), session, max_per_user: limit }
}

async fn log_in(state: &dyn StateStore, new: &NewSession) {
    let success = SuccessEffects { session: Some(new.clone()), ..SuccessEffects::default() };
    let outcome =
        state.record_login_attempt(&attempt(home_origin(), NOW), &ProofResult::Valid(Box::new(success))).await.unwrap();
    assert_eq!(outcome, AttemptOutcome::Recorded);
}

/// The numbers of those of a user's sessions that are live.
async fn live_sessions(state: &dyn StateStore, user: u8, numbers: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let mut live = Vec::new();
    for n in numbers {
        if state.find_session(&numbered_session(user, n, 1).key, NOW.saturating_add(secs(200))).await.unwrap().is_some()
        {
            live.push(n);
        }
    }
    live
}

#[tokio::test]
async fn a_login_over_the_session_limit_ends_only_the_oldest_session() {
    for (name, [state, _], _home) in paired_handles().await {
        // The sessions are opened in another order than that of their age, by logins and by password changes.
        for n in [3, 1, 4, 5, 2] {
            if n % 2 == 0 {
                state.open_session(&numbered_session(1, n, 5)).await.unwrap();
            } else {
                log_in(&*state, &numbered_session(1, n, 5)).await;
            }
        }
        log_in(&*state, &numbered_session(2, 1, 5)).await;
        assert_eq!(live_sessions(&*state, 1, 1..=5).await, [1, 2, 3, 4, 5], "{name}");
        // An app-bound session that is opened again does not count twice, and becomes the newest.
        let again = NewSession { session: numbered_session(1, 6, 5).session, ..numbered_session(1, 1, 5) };
        log_in(&*state, &again).await;
        assert_eq!(live_sessions(&*state, 1, 1..=5).await, [1, 2, 3, 4, 5], "{name}");
        log_in(&*state, &numbered_session(1, 7, 5)).await;
        assert_eq!(live_sessions(&*state, 1, 1..=7).await, [1, 3, 4, 5, 7], "{name}");
        state.open_session(&numbered_session(1, 8, 5)).await.unwrap();
        assert_eq!(live_sessions(&*state, 1, 1..=8).await, [1, 4, 5, 7, 8], "{name}");
        // An ended session does not count.
        let ended = numbered_session(1, 5, 5);
        assert!(state.end_session(&ended.key, ended.session.user).await.unwrap());
        log_in(&*state, &numbered_session(1, 9, 5)).await;
        assert_eq!(live_sessions(&*state, 1, 1..=9).await, [1, 4, 7, 8, 9], "{name}");
        // A login never ends the new session, even if that is the oldest by the clock of its instance.
        log_in(&*state, &numbered_session(1, 0, 5)).await;
        assert_eq!(live_sessions(&*state, 1, 0..=9).await, [0, 1, 7, 8, 9], "{name}");
        // A lowered limit applies from the next login on.
        log_in(&*state, &numbered_session(1, 10, 2)).await;
        assert_eq!(live_sessions(&*state, 1, 0..=10).await, [9, 10], "{name}");
        log_in(&*state, &numbered_session(1, 11, 1)).await;
        assert_eq!(live_sessions(&*state, 1, 0..=11).await, [11], "{name}");
        assert_eq!(live_sessions(&*state, 2, [1]).await, [1], "{name}: of another user");
    }
}

/// The bound keeps the wait of other logins short.
#[tokio::test]
async fn one_login_ends_at_most_the_thousand_oldest_sessions() {
    for StateBackend { name, state, .. } in state_backends().await {
        let session_number = |n: u16, limit| {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&n.to_be_bytes());
            let session = Session { user: user_id(1), created: NOW.saturating_add(secs(n.into())), ..session(LATER) };
            NewSession { key: TokenKey(key), session, max_per_user: limit }
        };
        for n in 0..1_100 {
            state.open_session(&session_number(n, 10_000)).await.unwrap();
        }
        state.open_session(&session_number(1_100, 10)).await.unwrap();
        for (n, is_live) in [(0, false), (999, false), (1_000, true), (1_099, true), (1_100, true)] {
            let found = state.find_session(&session_number(n, 10).key, NOW).await.unwrap();
            assert_eq!(found.is_some(), is_live, "{name}: {n}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_logins_leave_exactly_the_session_limit() {
    for (name, states, _home) in paired_handles().await {
        log_in(&*states[0], &numbered_session(2, 0, 10)).await;
        all_at_once((0..60).map(|n| {
            let state = Arc::clone(&states[usize::from(n % 2)]);
            async move { log_in(&*state, &numbered_session(1, n, 10)).await }
        }))
        .await;
        assert_eq!(live_sessions(&*states[0], 1, 0..60).await.len(), 10, "{name}");
        assert_eq!(live_sessions(&*states[1], 2, [0]).await, [0], "{name}");
    }
}

#[tokio::test]
async fn expired_sessions_do_not_count_towards_the_session_limit() {
    for (name, [state, _], _home) in paired_handles().await {
        // One session in use, and many that expire unused, as from a kiosk.
        log_in(&*state, &numbered_session(1, 0, 40)).await;
        for n in 1..40 {
            let mut new = numbered_session(1, n, 40);
            new.session.expires = NOW.saturating_add(secs(90));
            log_in(&*state, &new).await;
        }
        let later = NOW.saturating_add(secs(100));
        state.delete_expired(later).await.unwrap();
        for n in 100..139 {
            let success = SuccessEffects { session: Some(numbered_session(1, n, 40)), ..SuccessEffects::default() };
            state
                .record_login_attempt(&attempt(home_origin(), later), &ProofResult::Valid(Box::new(success)))
                .await
                .unwrap();
        }
        assert_eq!(live_sessions(&*state, 1, 0..40).await, [0], "{name}");
        assert_eq!(live_sessions(&*state, 1, 100..139).await.len(), 39, "{name}");
        log_in(&*state, &numbered_session(1, 139, 40)).await;
        assert_eq!(live_sessions(&*state, 1, [0, 100, 139]).await, [100, 139], "{name}: the oldest exceeds the limit");
    }
}
