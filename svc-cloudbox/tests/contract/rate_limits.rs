//! Changing a password by a user's id: what guessing costs, and that a proof that was used is used for all calls.

use std::time::Duration;

use serde_json::json;
use stele_core::Error;
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::{MessageCode as _, RequestCost, TestResponse, md5_hex};

use crate::test_service::{PROOF_REPLAYED, PROOF_STALE, PWDRESET, TestService, USER_DISABLED, WRONG_CREDENTIALS};

const UNKNOWN_USER_ID: &str = "0b922f14-d00b-11e7-aafd-525400bbac8e";

fn assert_rate_limited(app: &TestService, answer: &TestResponse) {
    app.assert_fails_with(answer, &Error::RateLimited { retry_after: Duration::from_secs(1) });
}

#[tokio::test]
async fn an_unknown_id_is_indistinguishable_from_a_wrong_password() {
    let app = TestService::new().await;
    let user = app.lab.user("mark").add().await;
    let (id, number) = (user.id.to_string(), user.number.to_string());
    let wrong = app.pwdreset(id.as_str(), "wrong", "x").await;
    wrong.assert_is(200, WRONG_CREDENTIALS);
    for id in [&id, UNKNOWN_USER_ID, &number, "4"] {
        let (answer, work) = app.lab.measure_cost(app.pwdreset(id, "wrong", "x")).await;
        assert_eq!(answer, wrong, "{id}");
        assert_eq!(work, RequestCost::new(0, &["find_ref"], &["settle"]), "{id}");
    }
    for _ in 0..5 {
        app.pwdreset(UNKNOWN_USER_ID.replace('-', ""), "wrong", "x").await.assert_is(200, WRONG_CREDENTIALS);
    }
    assert_rate_limited(&app, &app.pwdreset(UNKNOWN_USER_ID.to_uppercase(), "wrong", "x").await);
}

#[tokio::test]
async fn a_user_number_is_not_accepted_as_an_id() {
    let app = TestService::new().await;
    let user = app.lab.user("mark").add().await;
    // As the right password is answered for an unknown UUID, and counted just so.
    for turn in 0..6 {
        let id = if turn % 2 == 0 { json!(user.number) } else { json!(user.number.to_string()) };
        app.pwdreset(id, "123456", "654321").await.assert_is(200, WRONG_CREDENTIALS);
    }
    assert_rate_limited(&app, &app.pwdreset(user.number, "123456", "654321").await);
    // The owner's own count is untouched, and so is the password.
    app.login("mark", "123456").await.token();
}

#[tokio::test]
async fn failed_password_changes_and_logins_share_a_rate_limit() {
    let app = TestService::new().await;
    let id = app.lab.user("mark").add().await.id.to_string();
    for _ in 0..5 {
        app.login("mark", "wrong").await.assert_is(200, WRONG_CREDENTIALS);
    }
    app.pwdreset(id.as_str(), "wrong", "654321").await.assert_is(200, WRONG_CREDENTIALS);
    assert_rate_limited(&app, &app.pwdreset(id.replace('-', ""), "123456", "654321").await);
    assert_rate_limited(&app, &app.login("mark", "123456").await);
}

#[tokio::test]
async fn a_proof_must_be_fresh_and_is_accepted_once_across_calls() {
    let app = TestService::new().await;
    let user = app.lab.user("mark").add().await;
    for (offset, fresh) in [(-301, false), (-300, true), (300, true), (301, false)] {
        let at = app.now() + offset;
        let proof = salted_digest("123456", at);
        let body = json!({
            "user_id": user.id.to_string(), "orig_password": proof, "new_password": md5_hex("123456"), "timestamp": at,
        });
        let answer = app.post(PWDRESET, &body).await;
        if fresh {
            answer.token();
            app.login_at("mark", "123456", at).await.assert_is(200, PROOF_REPLAYED);
        } else {
            answer.assert_is(200, PROOF_STALE);
        }
    }
    app.login("mark", "123456").await.token();
    app.pwdreset(user.id.to_string(), "123456", "654321").await.assert_is(200, PROOF_REPLAYED);
    app.advance_clock(1);
    app.set_disabled(&user, true).await;
    app.pwdreset(user.id.to_string(), "123456", "654321").await.assert_is(200, USER_DISABLED);
}

#[tokio::test]
async fn without_sealed_digests_no_proof_is_accepted() {
    let app = TestService::with_settings(&[("STELE_SALTED", "false")]).await;
    let user = app.lab.user("mark").add().await;
    app.pwdreset(user.id.to_string(), "123456", "654321").await.assert_is(200, WRONG_CREDENTIALS);
}
