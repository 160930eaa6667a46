//! Guessing at this dialect's three calls. What all dialects limit alike is in the conformance suite.

use std::time::Duration;

use serde_json::json;
use stele_core::Error;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::conformance::{DialectUnderTest as _, PASSWORD, PHONE};
use stele_testkit::{MessageCode as _, TestResponse, md5_hex};

use crate::test_service::{LOGIN, TestService, WRONG_CREDENTIALS};

#[track_caller]
fn assert_rate_limited(app: &TestService, answer: &TestResponse) {
    app.assert_fails_with(answer, &Error::RateLimited { retry_after: Duration::from_secs(1) });
}

#[tokio::test]
async fn rate_limits_apply_to_every_proof_format() {
    for reading in ["salted", "digest", "either"] {
        let app = TestService::with_settings(&[("STELE_TMS_PROOF", reading)]).await;
        app.add_test_user().await;
        app.exhaust_free_attempts(PHONE).await;
        let before = app.hash_count();
        for proof in [salted_digest(PASSWORD, app.now()), md5_hex(PASSWORD), md5_hex("wrong")] {
            assert_rate_limited(&app, &app.login_with_proof(LOGIN, PHONE, &proof, app.now()).await);
        }
        assert_eq!(app.hash_count(), before, "nothing is verified in a wait");
        app.advance_clock(1);
        let proof = if reading == "digest" { md5_hex(PASSWORD) } else { salted_digest(PASSWORD, app.now()) };
        app.login_with_proof(LOGIN, PHONE, &proof, app.now()).await.token();
    }
}

#[tokio::test]
async fn a_failure_count_is_shared_by_endpoints_identifiers_and_dialects() {
    let app = TestService::new().await;
    let user = app.lab.user("Mark").phone("1548736484").email("1@hna").admin().add().await;
    let token = app.open_session_token("mark").await;
    app.login("mark", "wrong").await.assert_is(200, WRONG_CREDENTIALS);
    app.login_admin("1548736484", "wrong").await.assert_is(200, WRONG_CREDENTIALS);
    app.login("1@HNA", "wrong").await.assert_is(200, WRONG_CREDENTIALS);
    app.pwdreset(&token, user.number, "wrong", "x").await.assert_is(200, WRONG_CREDENTIALS);
    app.pwdreset(&token, user.id.to_string(), "wrong", "x").await.assert_is(200, WRONG_CREDENTIALS);
    app.login_cloudbox("mark", "wrong").await.unwrap_err();
    assert_rate_limited(&app, &app.login("mark", "123456").await);
    assert_rate_limited(&app, &app.login_admin("mark", "123456").await);
    assert_rate_limited(&app, &app.pwdreset(&token, user.number, "123456", "x").await);
    let other = app.login_cloudbox("mark", "123456").await;
    assert!(matches!(other, Err(stele_core::Error::RateLimited { .. })), "{other:?}");
}

#[tokio::test]
async fn a_user_at_the_admin_login_counts_as_a_failed_attempt() {
    let app = TestService::new().await;
    app.lab.user("mark").add().await;
    for _ in 0..6 {
        app.login_admin("mark", "123456").await.assert_is(200, WRONG_CREDENTIALS);
    }
    assert_rate_limited(&app, &app.login("mark", "123456").await);
}

#[tokio::test]
async fn a_login_without_a_token_counts_no_attempt() {
    let app = TestService::new().await;
    app.add_test_user().await;
    for _ in 0..10 {
        let body = json!({ "username": PHONE, "password": md5_hex("wrong"), "timestamp": app.now() });
        assert_eq!(app.post_with_token(LOGIN, "", &body).await.code(), "1005");
    }
    app.login(PHONE, PASSWORD).await.token();
}

#[tokio::test]
async fn a_disabled_user_gets_the_disabled_error_with_an_unsalted_digest() {
    let app = TestService::new().await;
    let user = app.add_test_user().await;
    app.set_disabled(&user, true).await;
    app.assert_fails_with(&app.login_with_proof(LOGIN, PHONE, &md5_hex(PASSWORD), app.now()).await, &Error::Disabled);
}
