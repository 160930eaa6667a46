//! The sessions of a user: listing them, and ending all. Also: revoked access tokens.

use std::sync::Arc;
use std::time::Duration;

use stele_core::ports::{ProofResult, StateStore, SuccessEffects};
use stele_core::session::{MAX_LISTED_SESSIONS, NewSession, Session, SessionAndRevocation, TokenKey};
use stele_core::time::Timestamp;
use stele_testservers::Redis;

use crate::support::*;

const LATER: Timestamp = Timestamp::from_secs(1_500_100_000);

/// Session `n` of a user, created `age` before [`NOW`].
fn session_of(user: u8, n: u16, age: Duration) -> NewSession {
    let mut key = [user; 32];
    key[..2].copy_from_slice(&n.to_be_bytes());
    let session = Session { user: user_id(user), created: NOW.saturating_sub(age), ..session(LATER) };
    NewSession { key: TokenKey(key), session, max_per_user: 10_000 }
}

/// The keys of the listed sessions, and whether there are more.
async fn list(state: &dyn StateStore, user: u8) -> (Vec<TokenKey>, bool) {
    let list = state.list_sessions(user_id(user), NOW).await.unwrap();
    (list.sessions.iter().map(|keyed| keyed.key).collect(), list.has_more)
}

#[tokio::test]
async fn live_sessions_of_a_user_are_listed_newest_first() {
    for StateBackend { name, state, .. } in state_backends_with_cluster().await {
        assert_eq!(list(&*state, 1).await, (Vec::new(), false), "{name}");
        let sessions: Vec<_> = (0..4).map(|n| session_of(1, n, secs(n.into()))).collect();
        for n in [2, 0, 3, 1] {
            state.open_session(&sessions[n]).await.unwrap();
        }
        state.open_session(&session_of(2, 9, secs(0))).await.unwrap();
        let mut expired = session_of(1, 5, secs(60));
        expired.session.expires = NOW;
        state.open_session(&expired).await.unwrap();
        assert!(state.end_session(&sessions[1].key, user_id(1)).await.unwrap());
        // A session that was used stays at its place.
        let used = Session { last_seen: NOW, expires: LATER.saturating_add(secs(9)), ..sessions[3].session.clone() };
        state.touch_session(&sessions[3].key, &used).await.unwrap();

        let listed = state.list_sessions(user_id(1), NOW).await.unwrap();
        assert!(!listed.has_more, "{name}");
        let listed: Vec<_> = listed.sessions.into_iter().map(|keyed| (keyed.key, keyed.session)).collect();
        let expected = [(0, &sessions[0].session), (2, &sessions[2].session), (3, &used)];
        assert_eq!(listed, expected.map(|(n, session)| (sessions[n].key, session.clone())), "{name}");
        for (key, session) in &listed {
            assert_eq!(state.find_session(key, NOW).await.unwrap().as_ref(), Some(session), "{name}");
        }
    }
}

#[tokio::test]
async fn the_newest_thousand_sessions_are_listed() {
    for StateBackend { name, state, .. } in state_backends_with_cluster().await {
        // Most have the same creation time, so that the position in Redis's index cannot be a time alone.
        let age = |n: u16| secs(if n < 700 { 0 } else { n.into() });
        for n in 0..MAX_LISTED_SESSIONS as u16 {
            state.open_session(&session_of(1, n, age(n))).await.unwrap();
        }
        let (mut keys, has_more) = list(&*state, 1).await;
        keys.sort_by_key(|key| key.0);
        keys.dedup();
        assert_eq!((keys.len(), has_more), (MAX_LISTED_SESSIONS, false), "{name}");
        let oldest = session_of(1, 5_000, secs(5_000));
        state.open_session(&oldest).await.unwrap();
        let (keys, has_more) = list(&*state, 1).await;
        assert_eq!((keys.len(), has_more, keys.contains(&oldest.key)), (MAX_LISTED_SESSIONS, true, false), "{name}");

        assert_eq!(state.end_sessions(user_id(1), NOW).await.unwrap(), MAX_LISTED_SESSIONS as u64 + 1, "{name}");
        assert_eq!(list(&*state, 1).await, (Vec::new(), false), "{name}");
        for n in [0, 499, 500, 999, 5_000] {
            assert_eq!(state.find_session(&session_of(1, n, age(n)).key, NOW).await.unwrap(), None, "{name}: {n}");
        }
    }
}

#[tokio::test]
async fn all_sessions_of_a_user_are_ended_and_only_theirs() {
    for StateBackend { name, state, .. } in state_backends_with_cluster().await {
        for n in 0..3 {
            state.open_session(&session_of(1, n, secs(n.into()))).await.unwrap();
        }
        let mut expired = session_of(1, 3, secs(60));
        expired.session.expires = NOW;
        state.open_session(&expired).await.unwrap();
        let other = session_of(2, 0, secs(0));
        state.open_session(&other).await.unwrap();
        assert_eq!(state.end_sessions(user_id(1), NOW).await.unwrap(), 3, "{name}: without the expired session");
        for n in 0..4 {
            let key = session_of(1, n, secs(0)).key;
            assert_eq!(state.find_session(&key, NOW.saturating_sub(secs(1))).await.unwrap(), None, "{name}: {n}");
        }
        assert_eq!(state.end_sessions(user_id(1), NOW).await.unwrap(), 0, "{name}");
        assert_eq!(list(&*state, 2).await, (vec![other.key], false), "{name}");
        // A used session that has ended does not come back.
        state.touch_session(&session_of(1, 0, secs(0)).key, &session(LATER)).await.unwrap();
        assert_eq!(list(&*state, 1).await, (Vec::new(), false), "{name}");
        let later = session_of(1, 7, secs(0));
        state.open_session(&later).await.unwrap();
        assert_eq!(list(&*state, 1).await, (vec![later.key], false), "{name}");
    }
}

/// Whatever a concurrent login leaves can be listed and ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_that_are_opened_while_all_end_are_ended_or_listed() {
    for StateBackend { name, state, .. } in state_backends_with_cluster().await {
        let mut opened = Vec::new();
        for round in 0..20_u16 {
            let app_bound = session_of(1, 9_999, secs(100 - u64::from(round)));
            let mut new: Vec<_> = (0..8).map(|n| session_of(1, round * 8 + n, secs(n.into()))).collect();
            new.push(app_bound);
            opened.extend(new.iter().map(|new| new.key));
            let mut logins = tokio::task::JoinSet::new();
            for new in new {
                let state = Arc::clone(&state);
                logins.spawn(async move {
                    let effects = SuccessEffects { session: Some(new), ..SuccessEffects::default() };
                    let attempt = attempt(home_origin(), NOW);
                    state.record_login_attempt(&attempt, &ProofResult::Valid(Box::new(effects))).await.unwrap();
                });
            }
            state.end_sessions(user_id(1), NOW).await.unwrap();
            while let Some(login) = logins.join_next().await {
                login.unwrap();
            }
            let (listed, _) = list(&*state, 1).await;
            for key in &opened {
                let is_live = state.find_session(key, NOW).await.unwrap().is_some();
                assert_eq!(listed.contains(key), is_live, "{name}, round {round}: {key}");
            }
        }
        let (listed, _) = list(&*state, 1).await;
        assert_eq!(state.end_sessions(user_id(1), NOW).await.unwrap(), listed.len() as u64, "{name}");
        for key in &opened {
            assert_eq!(state.find_session(key, NOW).await.unwrap(), None, "{name}: {key}");
        }
    }
}

/// The only key of this kind on a server, without the prefix.
fn only_key(redis: &Redis, kind: &str) -> String {
    let keys = redis.key_ttls(kind);
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys[0].0.clone()
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_missing_session_is_removed_from_the_index_unless_a_login_may_be_about_to_store_it() {
    let redis = Redis::start();
    let state = redis_state(&redis.url(), BIRTH).await;
    let new = session_of(1, 1, secs(5));
    state.open_session(&new).await.unwrap();
    let (record, index) = (only_key(&redis, ":session:"), only_key(&redis, ":sessions:"));
    // As between the two round trips of a login on a cluster: the entry exists, the session does not.
    assert!(redis.command(&format!("RENAME {record} unstored")).contains("OK"));
    assert_eq!(list(&*state, 1).await, (Vec::new(), false));
    assert_eq!(state.end_sessions(user_id(1), NOW).await.unwrap(), 0);
    assert!(redis.command(&format!("RENAME unstored {record}")).contains("OK"));
    assert_eq!(list(&*state, 1).await, (vec![new.key], false));

    assert!(redis.command(&format!("DEL {record}")).starts_with(":1"));
    let entries = || redis.command(&format!("ZCARD {index}"));
    assert!(entries().starts_with(":1"));
    let later = NOW.saturating_add(secs(600));
    assert!(state.list_sessions(user_id(1), later).await.unwrap().sessions.is_empty());
    assert!(entries().starts_with(":0"));
    state.open_session(&new).await.unwrap();
    assert!(redis.command(&format!("DEL {record}")).starts_with(":1"));
    assert_eq!(state.end_sessions(user_id(1), later).await.unwrap(), 0);
    assert!(entries().starts_with(":0"));
}

#[tokio::test]
async fn a_revoked_token_is_revoked_until_it_expires() {
    for StateBackend { name, state, needs_sweep, .. } in state_backends_with_cluster().await {
        let (token, other) = (TokenKey::access_token("a"), TokenKey::access_token("b"));
        let opened = session(LATER);
        state.open_session(&new_session(1, opened.clone())).await.unwrap();
        let find = async |session: Option<u8>, token: &TokenKey, now| {
            state.find_session_and_revocation(session.map(token_key).as_ref(), token, now).await.unwrap()
        };
        let found =
            |session: Option<&Session>, is_revoked| SessionAndRevocation { session: session.cloned(), is_revoked };
        assert_eq!(find(Some(1), &token, NOW).await, found(Some(&opened), false), "{name}");
        assert_eq!(find(None, &token, NOW).await, found(None, false), "{name}");

        let expires = NOW.saturating_add(secs(300));
        state.revoke_token(&token, expires).await.unwrap();
        state.revoke_token(&token, expires).await.unwrap();
        assert_eq!(find(Some(1), &token, NOW).await, found(Some(&opened), true), "{name}");
        assert_eq!(find(Some(2), &token, NOW).await, found(None, true), "{name}");
        assert_eq!(find(None, &token, NOW).await, found(None, true), "{name}");
        assert_eq!(find(Some(1), &other, NOW).await, found(Some(&opened), false), "{name}");
        let last = expires.saturating_sub(Duration::from_micros(1));
        assert_eq!(find(Some(1), &token, last).await, found(Some(&opened), true), "{name}");
        assert_eq!(find(Some(1), &token, expires).await, found(Some(&opened), false), "{name}");
        assert_eq!(find(Some(1), &token, LATER).await, found(None, false), "{name}");

        state.delete_expired(last).await.unwrap();
        assert!(find(None, &token, last).await.is_revoked, "{name}");
        state.delete_expired(expires).await.unwrap();
        assert_eq!(find(None, &token, last).await.is_revoked, !needs_sweep, "{name}");
    }
}
