//! Login attempts: replay protection, repeat permits, one-time codes, and stale proofs.

use std::sync::Arc;

use stele_core::ports::{AttemptOutcome, LoginAttempt, OriginTrustChange, ProofResult, RepeatPermit, SuccessEffects};

use crate::support::*;

#[tokio::test]
async fn a_proof_is_accepted_once() {
    for StateBackend { state, .. } in state_backends().await {
        let until = NOW.saturating_add(secs(300));
        let at = attempt(home_origin(), NOW);
        assert_eq!(
            state.record_login_attempt(&at, &accepted(one_time_success(1, until))).await.unwrap(),
            AttemptOutcome::Recorded
        );
        // The proof is rejected also for another account and from another origin. A replay has no effects.
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
        let decision = state.check_rate_limit(&at).await.unwrap();
        assert_eq!(decision, stele_core::ports::RateLimitDecision::Allowed { failures: 0, trusted_origin: false });
        assert_eq!(
            state.record_login_attempt(&at, &accepted(one_time_success(2, until))).await.unwrap(),
            AttemptOutcome::Recorded
        );
        // A used proof is forgotten when it expires: from then on it is rejected as no longer fresh.
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

/// Whether a proof is known to be used, so that it needs a repeat permit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PermitUse {
    Optional,
    Required,
}

fn success_with_repeat_permit(key: u8, permit_use: PermitUse) -> SuccessEffects {
    let (expires, is_required) = (NOW.saturating_add(secs(10)), permit_use == PermitUse::Required);
    let permit = RepeatPermit { key: [key + 100; 32], expires, is_required };
    SuccessEffects { repeat_permit: Some(permit), ..one_time_success(key, NOW.saturating_add(secs(300))) }
}

#[tokio::test]
async fn a_repeat_permit_allows_one_replay() {
    for StateBackend { name, state, .. } in state_backends().await {
        let record = async |seconds, success: SuccessEffects| {
            state
                .record_login_attempt(&attempt(home_origin(), NOW.saturating_add(secs(seconds))), &accepted(success))
                .await
                .unwrap()
        };
        let (recorded, replayed) = (AttemptOutcome::Recorded, AttemptOutcome::ProofReplayed);
        assert_eq!(record(0, success_with_repeat_permit(1, PermitUse::Optional)).await, recorded, "{name}");
        // Without the permit, a second login is a replay. Neither a replay nor a missing code consumes the permit.
        assert_eq!(record(1, one_time_success(1, NOW.saturating_add(secs(300)))).await, replayed);
        let with_code = SuccessEffects {
            consumed_code: Some(code_key("none")),
            ..success_with_repeat_permit(1, PermitUse::Optional)
        };
        assert_eq!(record(1, with_code).await, AttemptOutcome::CodeConsumed);
        let with_session = SuccessEffects {
            session: Some(new_session(1, session(NOW.saturating_add(secs(60))))),
            ..success_with_repeat_permit(1, PermitUse::Optional)
        };
        assert_eq!(record(9, with_session).await, recorded);
        assert!(state.find_session(&token_key(1), NOW).await.unwrap().is_some());
        for permit_use in [PermitUse::Optional, PermitUse::Required] {
            assert_eq!(record(9, success_with_repeat_permit(1, permit_use)).await, replayed);
        }
        // A permit expires.
        assert_eq!(record(0, success_with_repeat_permit(2, PermitUse::Optional)).await, recorded);
        assert_eq!(record(10, success_with_repeat_permit(2, PermitUse::Optional)).await, replayed);
        // A proof that is known to be used needs a permit, even if the store does not know the proof.
        assert_eq!(record(0, success_with_repeat_permit(3, PermitUse::Required)).await, replayed);
        assert_eq!(record(0, success_with_repeat_permit(4, PermitUse::Optional)).await, recorded);
        assert_eq!(record(1, success_with_repeat_permit(4, PermitUse::Required)).await, recorded);
        assert_eq!(record(1, success_with_repeat_permit(4, PermitUse::Required)).await, replayed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_logins_with_one_proof_and_a_permit_succeed_twice() {
    for StateBackend { name, state, .. } in state_backends_with_cluster().await {
        let logins = (0..32).map(|_| {
            let state = Arc::clone(&state);
            async move {
                state
                    .record_login_attempt(
                        &attempt(home_origin(), NOW),
                        &accepted(success_with_repeat_permit(1, PermitUse::Optional)),
                    )
                    .await
                    .unwrap()
            }
        });
        let outcomes = all_at_once(logins).await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == AttemptOutcome::Recorded).count(), 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_logins_with_one_proof_succeed_once() {
    for StateBackend { name, state, .. } in state_backends_with_cluster().await {
        let logins = (0..64).map(|n| {
            let state = Arc::clone(&state);
            let success = SuccessEffects {
                session: Some(new_session(n, session(NOW.saturating_add(secs(60))))),
                origin_trust: OriginTrustChange::Trust,
                ..one_time_success(1, NOW.saturating_add(secs(300)))
            };
            async move { state.record_login_attempt(&attempt(home_origin(), NOW), &accepted(success)).await.unwrap() }
        });
        let outcomes = all_at_once(logins).await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == AttemptOutcome::Recorded).count(), 1, "{name}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == AttemptOutcome::ProofReplayed).count(), 63);
        let mut sessions = 0;
        for n in 0..64 {
            sessions += usize::from(state.find_session(&token_key(n), NOW).await.unwrap().is_some());
        }
        assert_eq!(sessions, 1);
    }
}

#[tokio::test]
async fn a_login_with_a_missing_code_changes_nothing() {
    for StateBackend { state, .. } in state_backends_with_cluster().await {
        assert_eq!(state.consume_quotas(&[], Some(&code("alice", 1)), NOW).await.unwrap(), None);
        let at = attempt(home_origin(), NOW);
        let success_with_code = |proof, n| SuccessEffects {
            consumed_code: Some(code_key("alice")),
            session: Some(new_session(n, session(NOW.saturating_add(secs(60))))),
            origin_trust: OriginTrustChange::Trust,
            ..one_time_success(proof, NOW.saturating_add(secs(300)))
        };
        assert_eq!(
            state.record_login_attempt(&at, &accepted(success_with_code(1, 1))).await.unwrap(),
            AttemptOutcome::Recorded
        );
        assert!(state.find_session(&token_key(1), NOW).await.unwrap().is_some());
        assert_eq!(
            state.record_login_attempt(&at, &accepted(success_with_code(2, 2))).await.unwrap(),
            AttemptOutcome::CodeConsumed
        );
        assert!(state.find_session(&token_key(2), NOW).await.unwrap().is_none());
        // The rejected login did not mark the proof as used.
        assert_eq!(
            state
                .record_login_attempt(&at, &accepted(one_time_success(2, NOW.saturating_add(secs(300)))))
                .await
                .unwrap(),
            AttemptOutcome::Recorded
        );
        // A replay does not consume the code.
        state.consume_quotas(&[], Some(&code("alice", 1)), NOW).await.unwrap();
        assert_eq!(
            state.record_login_attempt(&at, &accepted(success_with_code(2, 3))).await.unwrap(),
            AttemptOutcome::ProofReplayed
        );
        assert_eq!(
            state.record_login_attempt(&at, &accepted(success_with_code(3, 3))).await.unwrap(),
            AttemptOutcome::Recorded
        );
        // An expired code counts as missing.
        state.consume_quotas(&[], Some(&code("alice", 1)), NOW).await.unwrap();
        let late = attempt(home_origin(), NOW.saturating_add(secs(3_600)));
        let success = SuccessEffects { consumed_code: Some(code_key("alice")), ..SuccessEffects::default() };
        assert_eq!(state.record_login_attempt(&late, &accepted(success)).await.unwrap(), AttemptOutcome::CodeConsumed);
    }
}

#[tokio::test]
async fn proofs_made_before_the_store_birth_are_stale() {
    for StateBackend { state, .. } in state_backends_with_cluster().await {
        assert_eq!(state.created_at().await.unwrap(), BIRTH);
        let made_at = |time| LoginAttempt { proof_made_at: Some(time), ..attempt(home_origin(), NOW) };
        let micro = std::time::Duration::from_micros(1);
        for stale in [BIRTH.saturating_sub(secs(1)), BIRTH, BIRTH.saturating_add(secs(1)).saturating_sub(micro)] {
            for proof in [ProofResult::Invalid, accepted(one_time_success(1, NOW.saturating_add(secs(300))))] {
                assert_eq!(
                    state.record_login_attempt(&made_at(stale), &proof).await.unwrap(),
                    AttemptOutcome::ProofStale
                );
            }
        }
        let allowed = stele_core::ports::RateLimitDecision::Allowed { failures: 0, trusted_origin: false };
        assert_eq!(state.check_rate_limit(&attempt(home_origin(), NOW)).await.unwrap(), allowed);
        let fresh = made_at(BIRTH.saturating_add(secs(1)));
        assert_eq!(
            state
                .record_login_attempt(&fresh, &accepted(one_time_success(1, NOW.saturating_add(secs(300)))))
                .await
                .unwrap(),
            AttemptOutcome::Recorded
        );
        // Rate limits are checked first.
        for _ in 0..6 {
            state.record_login_attempt(&fresh, &ProofResult::Invalid).await.unwrap();
        }
        let blocked = AttemptOutcome::RateLimited { retry_after: secs(1) };
        assert_eq!(state.record_login_attempt(&made_at(BIRTH), &ProofResult::Invalid).await.unwrap(), blocked);
    }
}
