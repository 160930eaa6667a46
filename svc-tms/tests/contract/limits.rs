//! Guessing at this dialect's three calls. What all dialects limit alike is in the conformance suite.

use std::time::Duration;

use serde_json::json;
use stele_core::Error;
use stele_testkit::conformance::salted::salted;
use stele_testkit::conformance::{DialectUnderTest as _, PASSWORD, PHONE};
use stele_testkit::{Answer, MessageCode as _, md5_hex};

use crate::app::{App, LOGIN, WRONG};

#[track_caller]
fn is_wait(app: &App, answer: &Answer) {
    app.fails(answer, &Error::TooMany { retry_after: Duration::from_secs(1) });
}

#[tokio::test]
async fn a_wait_holds_for_every_reading_of_a_proof() {
    for reading in ["salted", "digest", "either"] {
        let app = App::with(&[("STELE_TMS_PROOF", reading)]).await;
        app.mark().await;
        app.exhaust(PHONE).await;
        let before = app.hashes();
        for proof in [salted(PASSWORD, app.now()), md5_hex(PASSWORD), md5_hex("wrong")] {
            is_wait(&app, &app.prove(LOGIN, PHONE, &proof, app.now()).await);
        }
        assert_eq!(app.hashes(), before, "nothing is verified in a wait");
        app.wait(1);
        let proof = if reading == "digest" { md5_hex(PASSWORD) } else { salted(PASSWORD, app.now()) };
        app.prove(LOGIN, PHONE, &proof, app.now()).await.token();
    }
}

#[tokio::test]
async fn the_count_is_shared_by_doors_names_and_dialects() {
    let app = App::new().await;
    let user = app.lab.user("Mark").phone("1548736484").email("1@hna").admin().add().await;
    let token = app.live_token("mark").await;
    app.login("mark", "wrong").await.is(200, WRONG);
    app.login_admin("1548736484", "wrong").await.is(200, WRONG);
    app.login("1@HNA", "wrong").await.is(200, WRONG);
    app.pwdreset(&token, user.number, "wrong", "x").await.is(200, WRONG);
    app.pwdreset(&token, user.id.to_string(), "wrong", "x").await.is(200, WRONG);
    app.login_cloudbox("mark", "wrong").await.unwrap_err();
    is_wait(&app, &app.login("mark", "123456").await);
    is_wait(&app, &app.login_admin("mark", "123456").await);
    is_wait(&app, &app.pwdreset(&token, user.number, "123456", "x").await);
    let other = app.login_cloudbox("mark", "123456").await;
    assert!(matches!(other, Err(stele_core::Error::TooMany { .. })), "{other:?}");
}

#[tokio::test]
async fn a_user_at_the_administrators_door_is_counted_as_guessing() {
    let app = App::new().await;
    app.lab.user("mark").add().await;
    for _ in 0..6 {
        app.login_admin("mark", "123456").await.is(200, WRONG);
    }
    is_wait(&app, &app.login("mark", "123456").await);
}

#[tokio::test]
async fn a_login_without_a_token_is_not_counted() {
    let app = App::new().await;
    app.mark().await;
    for _ in 0..10 {
        let body = json!({ "username": PHONE, "password": md5_hex("wrong"), "timestamp": app.now() });
        assert_eq!(app.post(LOGIN, "", &body).await.code(), "1005");
    }
    app.login(PHONE, PASSWORD).await.token();
}

#[tokio::test]
async fn a_disabled_user_is_told_by_a_bare_digest_as_well() {
    let app = App::new().await;
    let user = app.mark().await;
    app.disable(&user, true).await;
    app.fails(&app.prove(LOGIN, PHONE, &md5_hex(PASSWORD), app.now()).await, &Error::Disabled);
}
