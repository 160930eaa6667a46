use std::sync::Arc;

use stele_core::ports::{Attempt, OriginTrust, RepeatPermit, Settlement, Success, Verdict};

use crate::support::*;

fn right(success: Success) -> Verdict {
    Verdict::Right(Box::new(success))
}

#[tokio::test]
async fn a_proof_is_accepted_once() {
    for StateBackend { state, .. } in state_backends().await {
        let until = NOW.after(secs(300));
        let at = attempt(home(), NOW);
        assert_eq!(state.settle(&at, &right(once(1, until))).await.unwrap(), Settlement::Done);
        // Not even for another account or from elsewhere, and nothing else is done.
        let again =
            Success { session: Some(opening(1, session(until))), origin_trust: OriginTrust::Trusted, ..once(1, until) };
        let other = Attempt { account: "user:bob".to_owned(), ..attempt(elsewhere(), NOW) };
        for at in [&at, &other] {
            assert_eq!(state.settle(at, &right(again.clone())).await.unwrap(), Settlement::Replayed);
        }
        assert_eq!(state.session(&token(1), NOW).await.unwrap(), None);
        let known = state.admit(&at).await.unwrap();
        assert_eq!(known, stele_core::ports::Admission::Open { failures: 0, known: false });
        assert_eq!(state.settle(&at, &right(once(2, until))).await.unwrap(), Settlement::Done);
        // What is no longer fresh need not be remembered.
        let later = attempt(home(), until);
        assert_eq!(state.settle(&later, &right(once(1, until.after(secs(300))))).await.unwrap(), Settlement::Done);
        assert_eq!(state.settle(&later, &right(once(1, until))).await.unwrap(), Settlement::Replayed);
    }
}

fn repeatable(key: u8, needed: bool) -> Success {
    let permit = RepeatPermit { key: [key + 100; 32], expires: NOW.after(secs(10)), needed };
    Success { repeat: Some(permit), ..once(key, NOW.after(secs(300))) }
}

#[tokio::test]
async fn a_permit_lets_a_proof_be_repeated_once() {
    for StateBackend { name, state, .. } in state_backends().await {
        let settle = async |seconds, success: Success| {
            state.settle(&attempt(home(), NOW.after(secs(seconds))), &right(success)).await.unwrap()
        };
        let (done, replayed) = (Settlement::Done, Settlement::Replayed);
        assert_eq!(settle(0, repeatable(1, false)).await, done, "{name}");
        // Without the permit it is a replay, and uses the permit up no more than a code that is gone does.
        assert_eq!(settle(1, once(1, NOW.after(secs(300)))).await, replayed);
        let with_code = Success { code: Some(code_key("none")), ..repeatable(1, false) };
        assert_eq!(settle(1, with_code).await, Settlement::CodeGone);
        let opened = Success { session: Some(opening(1, session(NOW.after(secs(60))))), ..repeatable(1, false) };
        assert_eq!(settle(9, opened).await, done);
        assert!(state.session(&token(1), NOW).await.unwrap().is_some());
        for needed in [false, true] {
            assert_eq!(settle(9, repeatable(1, needed)).await, replayed);
        }
        // It ends.
        assert_eq!(settle(0, repeatable(2, false)).await, done);
        assert_eq!(settle(10, repeatable(2, false)).await, replayed);
        // A proof that is known to be used needs it, whatever else the store holds.
        assert_eq!(settle(0, repeatable(3, true)).await, replayed);
        assert_eq!(settle(0, repeatable(4, false)).await, done);
        assert_eq!(settle(1, repeatable(4, true)).await, done);
        assert_eq!(settle(1, repeatable(4, true)).await, replayed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_with_one_proof_and_a_permit_two_get_in() {
    for StateBackend { name, state, .. } in state_backends().await {
        let logins = (0..32).map(|_| {
            let state = Arc::clone(&state);
            async move { state.settle(&attempt(home(), NOW), &right(repeatable(1, false))).await.unwrap() }
        });
        let booked = all_at_once(logins).await;
        assert_eq!(booked.iter().filter(|booked| **booked == Settlement::Done).count(), 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_with_one_proof_one_gets_in() {
    for StateBackend { name, state, .. } in state_backends().await {
        let logins = (0..64).map(|n| {
            let state = Arc::clone(&state);
            let success = Success {
                session: Some(opening(n, session(NOW.after(secs(60))))),
                origin_trust: OriginTrust::Trusted,
                ..once(1, NOW.after(secs(300)))
            };
            async move { state.settle(&attempt(home(), NOW), &right(success)).await.unwrap() }
        });
        let booked = all_at_once(logins).await;
        assert_eq!(booked.iter().filter(|booked| **booked == Settlement::Done).count(), 1, "{name}");
        assert_eq!(booked.iter().filter(|booked| **booked == Settlement::Replayed).count(), 63);
        let mut sessions = 0;
        for n in 0..64 {
            sessions += usize::from(state.session(&token(n), NOW).await.unwrap().is_some());
        }
        assert_eq!(sessions, 1);
    }
}

#[tokio::test]
async fn a_code_that_is_gone_undoes_the_login() {
    for StateBackend { state, .. } in state_backends().await {
        assert_eq!(state.send_code(&[], Some(&code("alice", 1)), NOW).await.unwrap(), None);
        let at = attempt(home(), NOW);
        let success = |mark, n| Success {
            code: Some(code_key("alice")),
            session: Some(opening(n, session(NOW.after(secs(60))))),
            origin_trust: OriginTrust::Trusted,
            ..once(mark, NOW.after(secs(300)))
        };
        assert_eq!(state.settle(&at, &right(success(1, 1))).await.unwrap(), Settlement::Done);
        assert!(state.session(&token(1), NOW).await.unwrap().is_some());
        assert_eq!(state.settle(&at, &right(success(2, 2))).await.unwrap(), Settlement::CodeGone);
        assert!(state.session(&token(2), NOW).await.unwrap().is_none());
        // The proof was not used up by it.
        assert_eq!(state.settle(&at, &right(once(2, NOW.after(secs(300))))).await.unwrap(), Settlement::Done);
        // A replay does not use the code up.
        state.send_code(&[], Some(&code("alice", 1)), NOW).await.unwrap();
        assert_eq!(state.settle(&at, &right(success(2, 3))).await.unwrap(), Settlement::Replayed);
        assert_eq!(state.settle(&at, &right(success(3, 3))).await.unwrap(), Settlement::Done);
        // An expired one is gone too.
        state.send_code(&[], Some(&code("alice", 1)), NOW).await.unwrap();
        let late = attempt(home(), NOW.after(secs(3_600)));
        let success = Success { code: Some(code_key("alice")), ..Success::default() };
        assert_eq!(state.settle(&late, &right(success)).await.unwrap(), Settlement::CodeGone);
    }
}

#[tokio::test]
async fn proofs_from_before_the_birth_are_stale() {
    for StateBackend { state, .. } in state_backends().await {
        assert_eq!(state.birth().await.unwrap(), BIRTH);
        let made = |at| Attempt { proof_made: Some(at), ..attempt(home(), NOW) };
        let micro = std::time::Duration::from_micros(1);
        for stale in [BIRTH.before(secs(1)), BIRTH, BIRTH.after(secs(1)).before(micro)] {
            for verdict in [Verdict::Wrong, right(once(1, NOW.after(secs(300))))] {
                assert_eq!(state.settle(&made(stale), &verdict).await.unwrap(), Settlement::Stale);
            }
        }
        let open = stele_core::ports::Admission::Open { failures: 0, known: false };
        assert_eq!(state.admit(&attempt(home(), NOW)).await.unwrap(), open);
        let fresh = made(BIRTH.after(secs(1)));
        assert_eq!(state.settle(&fresh, &right(once(1, NOW.after(secs(300))))).await.unwrap(), Settlement::Done);
        // The limits are asked first.
        for _ in 0..6 {
            state.settle(&fresh, &Verdict::Wrong).await.unwrap();
        }
        let blocked = Settlement::Blocked { retry_after: secs(1) };
        assert_eq!(state.settle(&made(BIRTH), &Verdict::Wrong).await.unwrap(), blocked);
    }
}
