use std::sync::Arc;

use stele_core::ports::{AttemptOutcome, LoginAttempt, OriginTrustChange, ProofResult, RepeatPermit, SuccessEffects};

use crate::support::*;

fn accepted(success: SuccessEffects) -> ProofResult {
    ProofResult::Valid(Box::new(success))
}

#[tokio::test]
async fn a_proof_is_accepted_once() {
    for StateBackend { state, .. } in state_backends().await {
        let until = NOW.saturating_add(secs(300));
        let at = attempt(home_origin(), NOW);
        assert_eq!(
            state.record_login_attempt(&at, &accepted(one_time_success(1, until))).await.unwrap(),
            AttemptOutcome::Recorded
        );
        // Not even for another account or from elsewhere, and nothing else is done.
        let again = SuccessEffects {
            session: Some(new_session(1, session(until))),
            origin_trust: OriginTrustChange::Trust,
            ..one_time_success(1, until)
        };
        let other = LoginAttempt { account: "user:bob".to_owned(), ..attempt(other_origin(), NOW) };
        for at in [&at, &other] {
            assert_eq!(
                state.record_login_attempt(at, &accepted(again.clone())).await.unwrap(),
                AttemptOutcome::ProofReplayed
            );
        }
        assert_eq!(state.find_session(&token_key(1), NOW).await.unwrap(), None);
        let known = state.check_rate_limit(&at).await.unwrap();
        assert_eq!(known, stele_core::ports::RateLimitDecision::Allowed { failures: 0, trusted_origin: false });
        assert_eq!(
            state.record_login_attempt(&at, &accepted(one_time_success(2, until))).await.unwrap(),
            AttemptOutcome::Recorded
        );
        // What is no longer fresh need not be remembered.
        let later = attempt(home_origin(), until);
        assert_eq!(
            state
                .record_login_attempt(&later, &accepted(one_time_success(1, until.saturating_add(secs(300)))))
                .await
                .unwrap(),
            AttemptOutcome::Recorded
        );
        assert_eq!(
            state.record_login_attempt(&later, &accepted(one_time_success(1, until))).await.unwrap(),
            AttemptOutcome::ProofReplayed
        );
    }
}

fn success_with_repeat_permit(key: u8, needed: bool) -> SuccessEffects {
    let permit = RepeatPermit { key: [key + 100; 32], expires: NOW.saturating_add(secs(10)), required: needed };
    SuccessEffects { repeat_permit: Some(permit), ..one_time_success(key, NOW.saturating_add(secs(300))) }
}

#[tokio::test]
async fn a_repeat_permit_allows_one_replay() {
    for StateBackend { name, state, .. } in state_backends().await {
        let settle = async |seconds, success: SuccessEffects| {
            state
                .record_login_attempt(&attempt(home_origin(), NOW.saturating_add(secs(seconds))), &accepted(success))
                .await
                .unwrap()
        };
        let (done, replayed) = (AttemptOutcome::Recorded, AttemptOutcome::ProofReplayed);
        assert_eq!(settle(0, success_with_repeat_permit(1, false)).await, done, "{name}");
        // Without the permit it is a replay, and uses the permit up no more than a code that is gone does.
        assert_eq!(settle(1, one_time_success(1, NOW.saturating_add(secs(300)))).await, replayed);
        let with_code =
            SuccessEffects { consumed_code: Some(code_key("none")), ..success_with_repeat_permit(1, false) };
        assert_eq!(settle(1, with_code).await, AttemptOutcome::CodeConsumed);
        let opened = SuccessEffects {
            session: Some(new_session(1, session(NOW.saturating_add(secs(60))))),
            ..success_with_repeat_permit(1, false)
        };
        assert_eq!(settle(9, opened).await, done);
        assert!(state.find_session(&token_key(1), NOW).await.unwrap().is_some());
        for needed in [false, true] {
            assert_eq!(settle(9, success_with_repeat_permit(1, needed)).await, replayed);
        }
        // It ends.
        assert_eq!(settle(0, success_with_repeat_permit(2, false)).await, done);
        assert_eq!(settle(10, success_with_repeat_permit(2, false)).await, replayed);
        // A proof that is known to be used needs it, whatever else the store holds.
        assert_eq!(settle(0, success_with_repeat_permit(3, true)).await, replayed);
        assert_eq!(settle(0, success_with_repeat_permit(4, false)).await, done);
        assert_eq!(settle(1, success_with_repeat_permit(4, true)).await, done);
        assert_eq!(settle(1, success_with_repeat_permit(4, true)).await, replayed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_logins_with_one_proof_and_a_permit_succeed_twice() {
    for StateBackend { name, state, .. } in state_backends().await {
        let logins = (0..32).map(|_| {
            let state = Arc::clone(&state);
            async move {
                state
                    .record_login_attempt(&attempt(home_origin(), NOW), &accepted(success_with_repeat_permit(1, false)))
                    .await
                    .unwrap()
            }
        });
        let booked = all_at_once(logins).await;
        assert_eq!(booked.iter().filter(|booked| **booked == AttemptOutcome::Recorded).count(), 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_logins_with_one_proof_succeed_once() {
    for StateBackend { name, state, .. } in state_backends().await {
        let logins = (0..64).map(|n| {
            let state = Arc::clone(&state);
            let success = SuccessEffects {
                session: Some(new_session(n, session(NOW.saturating_add(secs(60))))),
                origin_trust: OriginTrustChange::Trust,
                ..one_time_success(1, NOW.saturating_add(secs(300)))
            };
            async move { state.record_login_attempt(&attempt(home_origin(), NOW), &accepted(success)).await.unwrap() }
        });
        let booked = all_at_once(logins).await;
        assert_eq!(booked.iter().filter(|booked| **booked == AttemptOutcome::Recorded).count(), 1, "{name}");
        assert_eq!(booked.iter().filter(|booked| **booked == AttemptOutcome::ProofReplayed).count(), 63);
        let mut sessions = 0;
        for n in 0..64 {
            sessions += usize::from(state.find_session(&token_key(n), NOW).await.unwrap().is_some());
        }
        assert_eq!(sessions, 1);
    }
}

#[tokio::test]
async fn a_login_with_a_missing_code_changes_nothing() {
    for StateBackend { state, .. } in state_backends().await {
        assert_eq!(state.consume_quotas(&[], Some(&code("alice", 1)), NOW).await.unwrap(), None);
        let at = attempt(home_origin(), NOW);
        let success = |mark, n| SuccessEffects {
            consumed_code: Some(code_key("alice")),
            session: Some(new_session(n, session(NOW.saturating_add(secs(60))))),
            origin_trust: OriginTrustChange::Trust,
            ..one_time_success(mark, NOW.saturating_add(secs(300)))
        };
        assert_eq!(state.record_login_attempt(&at, &accepted(success(1, 1))).await.unwrap(), AttemptOutcome::Recorded);
        assert!(state.find_session(&token_key(1), NOW).await.unwrap().is_some());
        assert_eq!(
            state.record_login_attempt(&at, &accepted(success(2, 2))).await.unwrap(),
            AttemptOutcome::CodeConsumed
        );
        assert!(state.find_session(&token_key(2), NOW).await.unwrap().is_none());
        // The proof was not used up by it.
        assert_eq!(
            state
                .record_login_attempt(&at, &accepted(one_time_success(2, NOW.saturating_add(secs(300)))))
                .await
                .unwrap(),
            AttemptOutcome::Recorded
        );
        // A replay does not use the code up.
        state.consume_quotas(&[], Some(&code("alice", 1)), NOW).await.unwrap();
        assert_eq!(
            state.record_login_attempt(&at, &accepted(success(2, 3))).await.unwrap(),
            AttemptOutcome::ProofReplayed
        );
        assert_eq!(state.record_login_attempt(&at, &accepted(success(3, 3))).await.unwrap(), AttemptOutcome::Recorded);
        // An expired one is gone too.
        state.consume_quotas(&[], Some(&code("alice", 1)), NOW).await.unwrap();
        let late = attempt(home_origin(), NOW.saturating_add(secs(3_600)));
        let success = SuccessEffects { consumed_code: Some(code_key("alice")), ..SuccessEffects::default() };
        assert_eq!(state.record_login_attempt(&late, &accepted(success)).await.unwrap(), AttemptOutcome::CodeConsumed);
    }
}

#[tokio::test]
async fn proofs_made_before_the_store_birth_are_stale() {
    for StateBackend { state, .. } in state_backends().await {
        assert_eq!(state.created_at().await.unwrap(), BIRTH);
        let made = |at| LoginAttempt { proof_made_at: Some(at), ..attempt(home_origin(), NOW) };
        let micro = std::time::Duration::from_micros(1);
        for stale in [BIRTH.saturating_sub(secs(1)), BIRTH, BIRTH.saturating_add(secs(1)).saturating_sub(micro)] {
            for verdict in [ProofResult::Invalid, accepted(one_time_success(1, NOW.saturating_add(secs(300))))] {
                assert_eq!(
                    state.record_login_attempt(&made(stale), &verdict).await.unwrap(),
                    AttemptOutcome::ProofStale
                );
            }
        }
        let open = stele_core::ports::RateLimitDecision::Allowed { failures: 0, trusted_origin: false };
        assert_eq!(state.check_rate_limit(&attempt(home_origin(), NOW)).await.unwrap(), open);
        let fresh = made(BIRTH.saturating_add(secs(1)));
        assert_eq!(
            state
                .record_login_attempt(&fresh, &accepted(one_time_success(1, NOW.saturating_add(secs(300)))))
                .await
                .unwrap(),
            AttemptOutcome::Recorded
        );
        // The limits are asked first.
        for _ in 0..6 {
            state.record_login_attempt(&fresh, &ProofResult::Invalid).await.unwrap();
        }
        let blocked = AttemptOutcome::RateLimited { retry_after: secs(1) };
        assert_eq!(state.record_login_attempt(&made(BIRTH), &ProofResult::Invalid).await.unwrap(), blocked);
    }
}
