//! Server errors: reported without their cause, in the dialect's format, and never as a wrong password.

use std::time::Duration;

use stele_core::Error;
use stele_core::hasher::Usage;
use stele_core::password::RawPassword;
use stele_core::verifier::PresentedSecret;
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::{MessageCode as _, STORES, StoreState};

use crate::test_service::{BAD_TOKEN, LOGGED_OUT, PROOF_REPLAYED, TestService};

#[tokio::test]
async fn a_full_hashing_queue_returns_retry_after() {
    let mut service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    service.service = service.lab.start_with_full_hash_queue(TestService::SERVICE).await;
    let busy = Error::Busy { retry_after: Duration::from_secs(1) };
    service.assert_fails_with(&service.pwdreset(user.id.to_string(), "123456", "654321").await, &busy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn salted_logins_succeed_while_all_hashing_slots_are_busy() {
    let settings = [("STELE_HASH_SLOTS", "1"), ("STELE_HASH_QUEUE", "200"), ("STELE_HASH_COST", "65536,2,1")];
    let service = TestService::with_settings(&settings).await;
    service.lab.user("mark").add().await;
    let hasher = service.lab.dependencies().hasher.clone();
    let guess = || PresentedSecret::Raw(RawPassword::new("wrong".to_owned()));
    let guesses: Vec<_> = (0..200)
        .map(|_| {
            let (hasher, secret) = (hasher.clone(), guess());
            tokio::spawn(async move { hasher.verify(None, secret).await })
        })
        .collect();
    while hasher.queue_usage().used < 150 {
        tokio::task::yield_now().await;
    }
    for _ in 0..5 {
        service.advance_clock(1);
        service.login("mark", "123456").await.token();
    }
    // The earlier guesses were still queued when these logins succeeded.
    assert_eq!(hasher.slot_usage(), Usage { used: 1, capacity: 1 });
    assert!(hasher.queue_usage().used > 50, "{:?}", hasher.queue_usage());
    for guess in guesses {
        guess.abort();
    }
}

#[tokio::test]
async fn a_store_outage_fails_closed_and_recovers() {
    let unavailable = Error::unavailable("");
    for (store, set_store) in STORES {
        let service = TestService::new().await;
        let mark = service.lab.user("mark").add().await;
        let ended = service.login("mark", "123456").await.token();
        service.logout(&ended).await.assert_is(200, LOGGED_OUT);
        service.advance_clock(1);
        let outdated = service.login("mark", "123456").await.token();
        service.advance_clock(1);
        let live = service.pwdreset(mark.id.to_string(), "123456", "hna123").await.token();
        service.advance_clock(1);
        let used = service.now();
        service.login("mark", "hna123").await.token();

        set_store(&service.lab, StoreState::Down);
        for _ in ["a used proof", "a fresh proof"] {
            service.assert_fails_with(&service.pwdreset(mark.id.to_string(), "hna123", "654321").await, &unavailable);
            service.advance_clock(1);
        }
        service.assert_fails_with(&service.logout(&live).await, &unavailable);
        for ended_token in [&ended, &outdated] {
            // Only the state store records that a session has ended.
            let response = service.logout(ended_token).await;
            if store == "users" && ended_token == &ended {
                response.assert_is(401, BAD_TOKEN);
            } else {
                service.assert_fails_with(&response, &unavailable);
            }
        }
        set_store(&service.lab, StoreState::Up);

        service.login_at("mark", "hna123", used).await.assert_is(200, PROOF_REPLAYED);
        for ended_token in [&ended, &outdated] {
            service.logout(ended_token).await.assert_is(401, BAD_TOKEN);
        }
        // Requests answered 503 had no effect and were not counted: proof, session and password are still valid.
        service.login_at("mark", "hna123", used + 1).await.token();
        service.logout(&live).await.assert_is(200, LOGGED_OUT);
        service.advance_clock(1);
        let fresh = service.pwdreset(mark.id.to_string(), "hna123", "654321").await.token();
        service.logout(&fresh).await.assert_is(200, LOGGED_OUT);
    }
}

#[tokio::test]
async fn a_password_change_whose_session_cannot_be_opened_changes_nothing() {
    let service = TestService::new().await;
    let mark = service.lab.user("mark").add().await;
    let live = service.login("mark", "123456").await.token();
    service.advance_clock(1);
    service.lab.lose_responses_to("open_session");
    let response = service.pwdreset(mark.id.to_string(), "123456", "654321").await;
    service.assert_fails_with(&response, &Error::unavailable(""));
    service.lab.set_store_observer(None);
    service.advance_clock(1);
    service.login("mark", "123456").await.token();
    service.logout(&live).await.assert_is(200, LOGGED_OUT);
}
