//! Trouble on our side: opaque, in dialect, and never taken for a wrong password.

use std::time::Duration;

use stele_core::Error;
use stele_core::password::RawPassword;
use stele_core::verifier::Secret;
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::{MessageCode as _, STORES};

use crate::app::{App, BYE, NO_TOKEN, REPLAYED};

#[tokio::test]
async fn a_full_hashing_queue_asks_to_come_back() {
    let mut app = App::new().await;
    let user = app.lab.user("mark").add().await;
    app.service = app.lab.start_when_hashing_is_full(App::SERVICE).await;
    let busy = Error::Busy { retry_after: Duration::from_secs(1) };
    app.fails(&app.pwdreset(user.id.to_string(), "123456", "654321").await, &busy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn salted_logins_are_not_held_up_while_every_slot_is_taken() {
    let settings = [("STELE_HASH_SLOTS", "1"), ("STELE_HASH_QUEUE", "200"), ("STELE_HASH_COST", "65536,2,1")];
    let app = App::with(&settings).await;
    app.lab.user("mark").add().await;
    let hasher = app.lab.deps().hasher.clone();
    let guess = || Secret::Raw(RawPassword::new("wrong".to_owned()));
    let guesses: Vec<_> = (0..200)
        .map(|_| {
            let (hasher, secret) = (hasher.clone(), guess());
            tokio::spawn(async move { hasher.verify(None, secret).await })
        })
        .collect();
    while hasher.queue().0 < 150 {
        tokio::task::yield_now().await;
    }
    for _ in 0..5 {
        app.wait(1);
        app.login("mark", "123456").await.token();
    }
    // The guesses before were still waiting when those were answered.
    assert_eq!(hasher.slots(), (1, 1));
    assert!(hasher.queue().0 > 50, "{:?}", hasher.queue());
    for guess in guesses {
        guess.abort();
    }
}

#[tokio::test]
async fn without_a_store_nothing_opens_and_with_it_all_is_well() {
    let gone = Error::unavailable("");
    for (store, down) in STORES {
        let app = App::new().await;
        let mark = app.lab.user("mark").add().await;
        let ended = app.login("mark", "123456").await.token();
        app.logout(&ended).await.is(200, BYE);
        app.wait(1);
        let outdated = app.login("mark", "123456").await.token();
        app.wait(1);
        let live = app.pwdreset(mark.id.to_string(), "123456", "hna123").await.token();
        app.wait(1);
        let used = app.now();
        app.login("mark", "hna123").await.token();

        down(&app.lab, true);
        for _ in ["a used proof", "a fresh one"] {
            app.fails(&app.pwdreset(mark.id.to_string(), "hna123", "654321").await, &gone);
            app.wait(1);
        }
        app.fails(&app.logout(&live).await, &gone);
        for dead in [&ended, &outdated] {
            // With the users away, a session that is gone is known to be.
            let answer = app.logout(dead).await;
            if store == "users" && dead == &ended { answer.is(401, NO_TOKEN) } else { app.fails(&answer, &gone) }
        }
        down(&app.lab, false);

        app.login_at("mark", "hna123", used).await.is(200, REPLAYED);
        for dead in [&ended, &outdated] {
            app.logout(dead).await.is(401, NO_TOKEN);
        }
        // What was told 503 was neither counted nor done: the proof, the session and the password are still good.
        app.login_at("mark", "hna123", used + 1).await.token();
        app.logout(&live).await.is(200, BYE);
        app.wait(1);
        let fresh = app.pwdreset(mark.id.to_string(), "hna123", "654321").await.token();
        app.logout(&fresh).await.is(200, BYE);
    }
}
