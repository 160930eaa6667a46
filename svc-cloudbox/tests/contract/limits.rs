//! Changing a password by a user's id: what guessing costs, and that a proof that was used is used for all calls.

use std::time::Duration;

use serde_json::json;
use stele_core::Error;
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted;
use stele_testkit::{Answer, MessageCode as _, Work, md5_hex};

use crate::app::{App, DISABLED, PWDRESET, REPLAYED, STALE, WRONG};

const NO_USER: &str = "0b922f14-d00b-11e7-aafd-525400bbac8e";

fn is_wait(app: &App, answer: &Answer) {
    app.fails(answer, &Error::TooMany { retry_after: Duration::from_secs(1) });
}

#[tokio::test]
async fn an_unknown_id_is_answered_counted_and_costs_as_a_wrong_password() {
    let app = App::new().await;
    let user = app.lab.user("mark").add().await;
    let (id, number) = (user.id.to_string(), user.number.to_string());
    let wrong = app.pwdreset(id.as_str(), "wrong", "x").await;
    wrong.is(200, WRONG);
    for id in [&id, NO_USER, &number, "4"] {
        let (answer, work) = app.lab.work(app.pwdreset(id, "wrong", "x")).await;
        assert_eq!(answer, wrong, "{id}");
        assert_eq!(work, Work::of(0, &["find_ref"], &["settle"]), "{id}");
    }
    for _ in 0..5 {
        app.pwdreset(NO_USER.replace('-', ""), "wrong", "x").await.is(200, WRONG);
    }
    is_wait(&app, &app.pwdreset(NO_USER.to_uppercase(), "wrong", "x").await);
}

#[tokio::test]
async fn a_user_number_finds_no_user() {
    let app = App::new().await;
    let user = app.lab.user("mark").add().await;
    // As the right password is answered for an unknown UUID, and counted just so.
    for turn in 0..6 {
        let id = if turn % 2 == 0 { json!(user.number) } else { json!(user.number.to_string()) };
        app.pwdreset(id, "123456", "654321").await.is(200, WRONG);
    }
    is_wait(&app, &app.pwdreset(user.number, "123456", "654321").await);
    // The owner's own count is untouched, and so is the password.
    app.login("mark", "123456").await.token();
}

#[tokio::test]
async fn the_count_is_shared_with_logins() {
    let app = App::new().await;
    let id = app.lab.user("mark").add().await.id.to_string();
    for _ in 0..5 {
        app.login("mark", "wrong").await.is(200, WRONG);
    }
    app.pwdreset(id.as_str(), "wrong", "654321").await.is(200, WRONG);
    is_wait(&app, &app.pwdreset(id.replace('-', ""), "123456", "654321").await);
    is_wait(&app, &app.login("mark", "123456").await);
}

#[tokio::test]
async fn a_proof_is_fresh_and_accepted_once_by_either_call() {
    let app = App::new().await;
    let user = app.lab.user("mark").add().await;
    for (offset, fresh) in [(-301, false), (-300, true), (300, true), (301, false)] {
        let at = app.now() + offset;
        let proof = salted("123456", at);
        let body = json!({
            "user_id": user.id.to_string(), "orig_password": proof, "new_password": md5_hex("123456"), "timestamp": at,
        });
        let answer = app.post(PWDRESET, &body).await;
        if fresh {
            answer.token();
            app.login_at("mark", "123456", at).await.is(200, REPLAYED);
        } else {
            answer.is(200, STALE);
        }
    }
    app.login("mark", "123456").await.token();
    app.pwdreset(user.id.to_string(), "123456", "654321").await.is(200, REPLAYED);
    app.wait(1);
    app.disable(&user, true).await;
    app.pwdreset(user.id.to_string(), "123456", "654321").await.is(200, DISABLED);
}

#[tokio::test]
async fn without_sealed_digests_nothing_proves() {
    let app = App::with(&[("STELE_SALTED", "false")]).await;
    let user = app.lab.user("mark").add().await;
    app.pwdreset(user.id.to_string(), "123456", "654321").await.is(200, WRONG);
}
