//! Trouble on our side: opaque, in dialect, and never taken for a wrong password.

use std::time::Duration;

use stele_core::Error;
use stele_core::hasher::Usage;
use stele_core::password::RawPassword;
use stele_core::verifier::PresentedSecret;
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::{MessageCode as _, STORES};

use crate::test_service::{BAD_TOKEN, LOGGED_OUT, PROOF_REPLAYED, TestService};

#[tokio::test]
async fn a_full_hashing_queue_returns_retry_after() {
    let mut app = TestService::new().await;
    let user = app.lab.user("mark").add().await;
    app.service = app.lab.start_with_full_hash_queue(TestService::SERVICE).await;
    let busy = Error::Busy { retry_after: Duration::from_secs(1) };
    app.assert_fails_with(&app.pwdreset(user.id.to_string(), "123456", "654321").await, &busy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn salted_logins_succeed_while_all_hashing_slots_are_busy() {
    let settings = [("STELE_HASH_SLOTS", "1"), ("STELE_HASH_QUEUE", "200"), ("STELE_HASH_COST", "65536,2,1")];
    let app = TestService::with_settings(&settings).await;
    app.lab.user("mark").add().await;
    let hasher = app.lab.dependencies().hasher.clone();
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
        app.advance_clock(1);
        app.login("mark", "123456").await.token();
    }
    // The guesses before were still waiting when those were answered.
    assert_eq!(hasher.slot_usage(), Usage { used: 1, capacity: 1 });
    assert!(hasher.queue_usage().used > 50, "{:?}", hasher.queue_usage());
    for guess in guesses {
        guess.abort();
    }
}

#[tokio::test]
async fn a_store_outage_fails_closed_and_recovers() {
    let gone = Error::unavailable("");
    for (store, down) in STORES {
        let app = TestService::new().await;
        let mark = app.lab.user("mark").add().await;
        let ended = app.login("mark", "123456").await.token();
        app.logout(&ended).await.assert_is(200, LOGGED_OUT);
        app.advance_clock(1);
        let outdated = app.login("mark", "123456").await.token();
        app.advance_clock(1);
        let live = app.pwdreset(mark.id.to_string(), "123456", "hna123").await.token();
        app.advance_clock(1);
        let used = app.now();
        app.login("mark", "hna123").await.token();

        down(&app.lab, true);
        for _ in ["a used proof", "a fresh one"] {
            app.assert_fails_with(&app.pwdreset(mark.id.to_string(), "hna123", "654321").await, &gone);
            app.advance_clock(1);
        }
        app.assert_fails_with(&app.logout(&live).await, &gone);
        for dead in [&ended, &outdated] {
            // With the users away, a session that is gone is known to be.
            let answer = app.logout(dead).await;
            if store == "users" && dead == &ended {
                answer.assert_is(401, BAD_TOKEN);
            } else {
                app.assert_fails_with(&answer, &gone);
            }
        }
        down(&app.lab, false);

        app.login_at("mark", "hna123", used).await.assert_is(200, PROOF_REPLAYED);
        for dead in [&ended, &outdated] {
            app.logout(dead).await.assert_is(401, BAD_TOKEN);
        }
        // What was told 503 was neither counted nor done: the proof, the session and the password are still good.
        app.login_at("mark", "hna123", used + 1).await.token();
        app.logout(&live).await.assert_is(200, LOGGED_OUT);
        app.advance_clock(1);
        let fresh = app.pwdreset(mark.id.to_string(), "hna123", "654321").await.token();
        app.logout(&fresh).await.assert_is(200, LOGGED_OUT);
    }
}
