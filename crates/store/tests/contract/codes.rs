use std::sync::Arc;

use stele_core::origin::Origin;
use stele_core::ports::{Admission, Attempt, CodeCheck, CodeGuess, CodeUse, NewCode, StateStore, Verdict};

use crate::support::*;

fn guess(tag: u8, on_right: CodeUse) -> CodeGuess {
    CodeGuess { candidates: vec![(code_key("alice"), [tag; 32])], epoch: 0, on_right, max_tries: 5 }
}

async fn sent(state: &dyn StateStore, code: &NewCode) {
    assert_eq!(state.send_code(&[], Some(code), NOW).await.unwrap(), None);
}

async fn check(state: &dyn StateStore, guess: &CodeGuess) -> CodeCheck {
    state.guess_code(&attempt(home(), NOW), guess).await.unwrap()
}

#[tokio::test]
async fn a_right_guess_uses_the_code_up_or_only_checks_it() {
    for StateBackend { name, state, .. } in state_backends().await {
        assert_eq!(check(&*state, &guess(1, CodeUse::Consume)).await, CodeCheck::Wrong, "{name}");
        sent(&*state, &code("alice", 1)).await;
        for _ in 0..3 {
            assert_eq!(check(&*state, &guess(1, CodeUse::Check)).await, CodeCheck::Right(0));
        }
        // A check forgives nothing; its use does, and makes nobody known.
        let admission = |failures| Admission::Open { failures, known: false };
        assert_eq!(state.admit(&attempt(home(), NOW)).await.unwrap(), admission(1));
        assert_eq!(check(&*state, &guess(1, CodeUse::Consume)).await, CodeCheck::Right(0));
        assert_eq!(state.admit(&attempt(home(), NOW)).await.unwrap(), admission(0));
        assert_eq!(check(&*state, &guess(1, CodeUse::Consume)).await, CodeCheck::Wrong);
    }
}

#[tokio::test]
async fn a_code_dies_of_age_of_an_epoch_and_of_a_newer_one() {
    for StateBackend { state, .. } in state_backends().await {
        sent(&*state, &code("alice", 1)).await;
        assert_eq!(check(&*state, &CodeGuess { epoch: 1, ..guess(1, CodeUse::Check) }).await, CodeCheck::Wrong);
        assert_eq!(check(&*state, &guess(1, CodeUse::Check)).await, CodeCheck::Right(0));
        sent(&*state, &code("alice", 2)).await;
        assert_eq!(check(&*state, &guess(1, CodeUse::Check)).await, CodeCheck::Wrong);
        assert_eq!(check(&*state, &guess(2, CodeUse::Check)).await, CodeCheck::Right(0));
        let late = attempt(home(), NOW.after(secs(3_600)));
        assert_eq!(state.guess_code(&late, &guess(2, CodeUse::Check)).await.unwrap(), CodeCheck::Wrong);
    }
}

#[tokio::test]
async fn sending_over_the_quota_keeps_the_old_code() {
    use stele_core::ports::{QuotaExceeded, Use};
    use stele_core::rate_limit::Quota;
    for StateBackend { state, .. } in state_backends().await {
        let uses = [Use { key: "to:alice".to_owned(), quota: Quota { max: 1, window: secs(60) } }];
        assert_eq!(state.send_code(&uses, Some(&code("alice", 1)), NOW).await.unwrap(), None);
        let refused = state.send_code(&uses, Some(&code("alice", 2)), NOW).await.unwrap();
        assert_eq!(refused, Some(QuotaExceeded { retry_after: secs(60), index: 0 }));
        assert_eq!(check(&*state, &guess(1, CodeUse::Consume)).await, CodeCheck::Right(0));
    }
}

#[tokio::test]
async fn five_wrong_guesses_burn_a_code() {
    for StateBackend { state, .. } in state_backends().await {
        sent(&*state, &code("alice", 1)).await;
        for n in 0..5 {
            assert_eq!(check(&*state, &guess(9, CodeUse::Consume)).await, CodeCheck::Wrong, "{n}");
        }
        assert_eq!(check(&*state, &guess(1, CodeUse::Consume)).await, CodeCheck::Wrong);
        // That was the sixth failure: the limits apply to codes as to passwords.
        let blocked = CodeCheck::Blocked { retry_after: secs(1) };
        assert_eq!(check(&*state, &guess(1, CodeUse::Consume)).await, blocked);
        // A new code starts anew.
        sent(&*state, &code("alice", 1)).await;
        let later = attempt(home(), NOW.after(secs(1)));
        assert_eq!(state.guess_code(&later, &guess(1, CodeUse::Consume)).await.unwrap(), CodeCheck::Right(0));
    }
}

#[tokio::test]
async fn a_guess_counts_against_every_candidate() {
    for StateBackend { state, .. } in state_backends().await {
        let both = |tag: u8| CodeGuess {
            candidates: vec![(code_key("alice"), [tag; 32]), (code_key("a@b.c"), [tag; 32])],
            ..guess(0, CodeUse::Consume)
        };
        sent(&*state, &code("alice", 1)).await;
        sent(&*state, &code("a@b.c", 2)).await;
        for _ in 0..4 {
            assert_eq!(check(&*state, &both(9)).await, CodeCheck::Wrong);
        }
        // Only the code that was guessed is used up.
        assert_eq!(check(&*state, &both(2)).await, CodeCheck::Right(1));
        assert_eq!(check(&*state, &guess(9, CodeUse::Consume)).await, CodeCheck::Wrong);
        assert_eq!(check(&*state, &guess(1, CodeUse::Consume)).await, CodeCheck::Wrong);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_guesses_do_not_pass_the_limits() {
    for StateBackend { state, .. } in state_backends().await {
        sent(&*state, &code("alice", 1)).await;
        let guesses = (0..200u32).map(|n| {
            let state = Arc::clone(&state);
            // From many addresses, the right one last of all.
            let at = attempt(Origin::address([10, 0, 0, n as u8].into()), NOW);
            async move { state.guess_code(&at, &guess(9, CodeUse::Consume)).await.unwrap() }
        });
        let results = all_at_once(guesses).await;
        assert_eq!(results.iter().filter(|result| **result == CodeCheck::Wrong).count(), 6);
        let later = attempt(home(), NOW.after(secs(900)));
        assert_eq!(state.guess_code(&later, &guess(1, CodeUse::Consume)).await.unwrap(), CodeCheck::Wrong);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_guesses_under_many_accounts_do_not_pass_the_tries() {
    for StateBackend { state, .. } in state_backends().await {
        sent(&*state, &code("alice", 1)).await;
        // However they get around the account's limit: five tries are all there is.
        let guesses = (0..200u8).map(|n| {
            let state = Arc::clone(&state);
            let origin = Origin::address([10, 0, 0, n].into());
            let at = Attempt { account: format!("user:{n}"), ..attempt(origin, NOW) };
            let guess = guess(if n == 199 { 1 } else { 9 }, CodeUse::Consume);
            async move { state.guess_code(&at, &guess).await.unwrap() }
        });
        let mut results = all_at_once(guesses).await;
        // The right guess may have been among the first five; whatever came first, nobody gets in afterwards.
        results.retain(|result| matches!(result, CodeCheck::Right(_)));
        assert!(results.len() <= 1);
        assert_eq!(check(&*state, &guess(1, CodeUse::Consume)).await, CodeCheck::Wrong);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_right_guesses_one_uses_the_code() {
    for StateBackend { state, .. } in state_backends().await {
        sent(&*state, &code("alice", 1)).await;
        let guesses = (0..64).map(|n: u8| {
            let state = Arc::clone(&state);
            let at = Attempt { account: format!("user:{n}"), ..attempt(home(), NOW) };
            async move { state.guess_code(&at, &guess(1, CodeUse::Consume)).await.unwrap() }
        });
        let results = all_at_once(guesses).await;
        assert_eq!(results.iter().filter(|result| **result == CodeCheck::Right(0)).count(), 1);
    }
}

#[tokio::test]
async fn passwords_and_codes_are_counted_together() {
    for StateBackend { state, .. } in state_backends().await {
        sent(&*state, &code("alice", 1)).await;
        for _ in 0..3 {
            state.settle(&attempt(home(), NOW), &Verdict::Wrong).await.unwrap();
            assert_eq!(check(&*state, &guess(9, CodeUse::Consume)).await, CodeCheck::Wrong);
        }
        assert_eq!(check(&*state, &guess(1, CodeUse::Consume)).await, CodeCheck::Blocked { retry_after: secs(1) });
    }
}
