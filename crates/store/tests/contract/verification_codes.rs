//! Verification codes: one-time use, expiry, and limits on wrong guesses.

use std::sync::Arc;

use stele_core::origin::Origin;
use stele_core::ports::{
    CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, OnCodeMatch, ProofResult, RateLimitDecision,
    StateStore,
};

use crate::support::*;

fn guess(tag: u8, on_match: OnCodeMatch) -> CodeVerification {
    CodeVerification { candidates: vec![(code_key("alice"), [tag; 32])], epoch: 0, on_match, max_attempts: 5 }
}

async fn store_code(state: &dyn StateStore, code: &NewCode) {
    assert_eq!(state.consume_quotas(&[], Some(code), NOW).await.unwrap(), None);
}

async fn check_guess(state: &dyn StateStore, guess: &CodeVerification) -> CodeVerificationResult {
    state.verify_code(&attempt(home_origin(), NOW), guess).await.unwrap()
}

#[tokio::test]
async fn a_correct_guess_consumes_or_only_checks_the_code() {
    for StateBackend { name, state, .. } in state_backends_with_cluster().await {
        assert_eq!(
            check_guess(&*state, &guess(1, OnCodeMatch::Consume)).await,
            CodeVerificationResult::Invalid,
            "{name}"
        );
        store_code(&*state, &code("alice", 1)).await;
        for _ in 0..3 {
            assert_eq!(check_guess(&*state, &guess(1, OnCodeMatch::Keep)).await, CodeVerificationResult::Valid(0));
        }
        // Only consuming a code clears failures, and it makes no origin trusted.
        let allowed = |failures| RateLimitDecision::Allowed { failures, trusted_origin: false };
        assert_eq!(state.check_rate_limit(&attempt(home_origin(), NOW)).await.unwrap(), allowed(1));
        assert_eq!(check_guess(&*state, &guess(1, OnCodeMatch::Consume)).await, CodeVerificationResult::Valid(0));
        assert_eq!(state.check_rate_limit(&attempt(home_origin(), NOW)).await.unwrap(), allowed(0));
        assert_eq!(check_guess(&*state, &guess(1, OnCodeMatch::Consume)).await, CodeVerificationResult::Invalid);
    }
}

#[tokio::test]
async fn a_code_is_invalidated_by_expiry_an_epoch_change_or_a_newer_code() {
    for StateBackend { state, .. } in state_backends().await {
        store_code(&*state, &code("alice", 1)).await;
        assert_eq!(
            check_guess(&*state, &CodeVerification { epoch: 1, ..guess(1, OnCodeMatch::Keep) }).await,
            CodeVerificationResult::Invalid
        );
        assert_eq!(check_guess(&*state, &guess(1, OnCodeMatch::Keep)).await, CodeVerificationResult::Valid(0));
        store_code(&*state, &code("alice", 2)).await;
        assert_eq!(check_guess(&*state, &guess(1, OnCodeMatch::Keep)).await, CodeVerificationResult::Invalid);
        assert_eq!(check_guess(&*state, &guess(2, OnCodeMatch::Keep)).await, CodeVerificationResult::Valid(0));
        let late = attempt(home_origin(), NOW.saturating_add(secs(3_600)));
        assert_eq!(
            state.verify_code(&late, &guess(2, OnCodeMatch::Keep)).await.unwrap(),
            CodeVerificationResult::Invalid
        );
    }
}

#[tokio::test]
async fn a_send_over_quota_leaves_the_previous_code_valid() {
    use stele_core::ports::{QuotaExceeded, QuotaUse};
    use stele_core::rate_limit::Quota;
    for StateBackend { state, .. } in state_backends_with_cluster().await {
        let uses = [QuotaUse { key: "to:alice".to_owned(), quota: Quota { max: 1, window: secs(60) } }];
        assert_eq!(state.consume_quotas(&uses, Some(&code("alice", 1)), NOW).await.unwrap(), None);
        let exceeded = state.consume_quotas(&uses, Some(&code("alice", 2)), NOW).await.unwrap();
        assert_eq!(exceeded, Some(QuotaExceeded { retry_after: secs(60), index: 0 }));
        assert_eq!(check_guess(&*state, &guess(1, OnCodeMatch::Consume)).await, CodeVerificationResult::Valid(0));
    }
}

#[tokio::test]
async fn five_wrong_guesses_invalidate_a_code() {
    for StateBackend { state, .. } in state_backends_with_cluster().await {
        store_code(&*state, &code("alice", 1)).await;
        for n in 0..5 {
            assert_eq!(
                check_guess(&*state, &guess(9, OnCodeMatch::Consume)).await,
                CodeVerificationResult::Invalid,
                "{n}"
            );
        }
        assert_eq!(check_guess(&*state, &guess(1, OnCodeMatch::Consume)).await, CodeVerificationResult::Invalid);
        // After the sixth failure the account's rate limit applies, to codes as to passwords.
        let blocked = CodeVerificationResult::RateLimited { retry_after: secs(1) };
        assert_eq!(check_guess(&*state, &guess(1, OnCodeMatch::Consume)).await, blocked);
        // A new code has all its attempts.
        store_code(&*state, &code("alice", 1)).await;
        let later = attempt(home_origin(), NOW.saturating_add(secs(1)));
        assert_eq!(
            state.verify_code(&later, &guess(1, OnCodeMatch::Consume)).await.unwrap(),
            CodeVerificationResult::Valid(0)
        );
    }
}

#[tokio::test]
async fn a_guess_counts_against_every_candidate() {
    for StateBackend { state, .. } in state_backends_with_cluster().await {
        let both = |tag: u8| CodeVerification {
            candidates: vec![(code_key("alice"), [tag; 32]), (code_key("a@b.c"), [tag; 32])],
            ..guess(0, OnCodeMatch::Consume)
        };
        store_code(&*state, &code("alice", 1)).await;
        store_code(&*state, &code("a@b.c", 2)).await;
        for _ in 0..4 {
            assert_eq!(check_guess(&*state, &both(9)).await, CodeVerificationResult::Invalid);
        }
        // Only the guessed code is consumed.
        assert_eq!(check_guess(&*state, &both(2)).await, CodeVerificationResult::Valid(1));
        assert_eq!(check_guess(&*state, &guess(9, OnCodeMatch::Consume)).await, CodeVerificationResult::Invalid);
        assert_eq!(check_guess(&*state, &guess(1, OnCodeMatch::Consume)).await, CodeVerificationResult::Invalid);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_guesses_do_not_exceed_the_rate_limit() {
    for StateBackend { state, .. } in state_backends_with_cluster().await {
        store_code(&*state, &code("alice", 1)).await;
        let guesses = (0..200u32).map(|n| {
            let state = Arc::clone(&state);
            // Each guess comes from another address.
            let at = attempt(Origin::from_address([10, 0, 0, n as u8].into()), NOW);
            async move { state.verify_code(&at, &guess(9, OnCodeMatch::Consume)).await.unwrap() }
        });
        let results = all_at_once(guesses).await;
        assert_eq!(results.iter().filter(|result| **result == CodeVerificationResult::Invalid).count(), 6);
        let later = attempt(home_origin(), NOW.saturating_add(secs(900)));
        assert_eq!(
            state.verify_code(&later, &guess(1, OnCodeMatch::Consume)).await.unwrap(),
            CodeVerificationResult::Invalid
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_guesses_for_many_accounts_share_the_attempts_of_a_code() {
    for StateBackend { state, .. } in state_backends().await {
        store_code(&*state, &code("alice", 1)).await;
        // Guesses that evade the account's rate limit still share the code's five attempts.
        let guesses = (0..200u8).map(|n| {
            let state = Arc::clone(&state);
            let origin = Origin::from_address([10, 0, 0, n].into());
            let at = LoginAttempt { account: format!("user:{n}"), ..attempt(origin, NOW) };
            let guess = guess(if n == 199 { 1 } else { 9 }, OnCodeMatch::Consume);
            async move { state.verify_code(&at, &guess).await.unwrap() }
        });
        let mut results = all_at_once(guesses).await;
        // The correct guess may be among the first five. Afterwards no guess is accepted.
        results.retain(|result| matches!(result, CodeVerificationResult::Valid(_)));
        assert!(results.len() <= 1);
        assert_eq!(check_guess(&*state, &guess(1, OnCodeMatch::Consume)).await, CodeVerificationResult::Invalid);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_correct_guesses_consume_a_code_once() {
    for StateBackend { state, .. } in state_backends().await {
        store_code(&*state, &code("alice", 1)).await;
        let guesses = (0..64).map(|n: u8| {
            let state = Arc::clone(&state);
            let at = LoginAttempt { account: format!("user:{n}"), ..attempt(home_origin(), NOW) };
            async move { state.verify_code(&at, &guess(1, OnCodeMatch::Consume)).await.unwrap() }
        });
        let results = all_at_once(guesses).await;
        assert_eq!(results.iter().filter(|result| **result == CodeVerificationResult::Valid(0)).count(), 1);
    }
}

#[tokio::test]
async fn password_and_code_failures_share_one_rate_limit() {
    for StateBackend { state, .. } in state_backends().await {
        store_code(&*state, &code("alice", 1)).await;
        for _ in 0..3 {
            state.record_login_attempt(&attempt(home_origin(), NOW), &ProofResult::Invalid).await.unwrap();
            assert_eq!(check_guess(&*state, &guess(9, OnCodeMatch::Consume)).await, CodeVerificationResult::Invalid);
        }
        assert_eq!(
            check_guess(&*state, &guess(1, OnCodeMatch::Consume)).await,
            CodeVerificationResult::RateLimited { retry_after: secs(1) }
        );
    }
}
