//! Rate limits of the password change by user id, and replay protection across calls.

use std::time::Duration;

use serde_json::json;
use stele_core::Error;
use stele_core::user::UserStatus;
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::{IMPORTED_PHONE, IMPORTED_UUID, MessageCode as _, RequestCost, TestResponse, md5_hex};

use crate::test_service::{PROOF_REPLAYED, PROOF_STALE, PWDRESET, TestService, USER_DISABLED, WRONG_CREDENTIALS};

const UNKNOWN_USER_ID: &str = "0b922f14-d00b-11e7-aafd-525400bbac8e";

fn assert_rate_limited(service: &TestService, response: &TestResponse) {
    service.assert_fails_with(response, &Error::RateLimited { retry_after: Duration::from_secs(1) });
}

#[tokio::test]
async fn an_unknown_id_is_indistinguishable_from_a_wrong_password() {
    let service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    let (id, number) = (user.id.to_string(), user.number.to_string());
    let wrong = service.pwdreset(id.as_str(), "wrong", "x").await;
    wrong.assert_is(200, WRONG_CREDENTIALS);
    for id in [&id, UNKNOWN_USER_ID, &number, "4"] {
        let (response, measured_cost) = service.lab.measure_cost(service.pwdreset(id, "wrong", "x")).await;
        assert_eq!(response, wrong, "{id}");
        assert_eq!(measured_cost, RequestCost::new(0, &["find_ref"], &["settle"]), "{id}");
    }
    for _ in 0..5 {
        service.pwdreset(UNKNOWN_USER_ID.replace('-', ""), "wrong", "x").await.assert_is(200, WRONG_CREDENTIALS);
    }
    assert_rate_limited(&service, &service.pwdreset(UNKNOWN_USER_ID.to_uppercase(), "wrong", "x").await);
}

#[tokio::test]
async fn legacy_ids_cannot_be_counted_through() {
    let service = TestService::new().await;
    service.lab.import_user().await;
    let mut answers = Vec::new();
    // A known legacy id, the next one, one of another dialect's source, a text that no source has.
    for id in [json!(7), json!("7"), json!(8), json!("4"), json!("no-such-id"), json!(IMPORTED_UUID)] {
        let (response, measured_cost) = service.lab.measure_cost(service.pwdreset(id.clone(), "wrong", "x")).await;
        response.assert_is(200, WRONG_CREDENTIALS);
        assert_eq!(measured_cost, RequestCost::new(0, &["find_ref"], &["settle"]), "{id}");
        answers.push(response);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    // Unknown ids are limited like known ones, and all names of a user together: of six attempts, "7" has used three.
    for id in ["7", "8"] {
        let failures = if id == "7" { 3 } else { 5 };
        for _ in 0..failures {
            service.pwdreset(id, "wrong", "x").await.assert_is(200, WRONG_CREDENTIALS);
        }
        assert_rate_limited(&service, &service.pwdreset(id, "wrong", "x").await);
    }
    assert_rate_limited(&service, &service.login(IMPORTED_PHONE, "123456").await);
}

#[tokio::test]
async fn a_user_number_is_not_accepted_as_an_id() {
    let service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    // Even a correct password is rejected, and counted as an attempt on an unknown UUID.
    for index in 0..6 {
        let id = if index % 2 == 0 { json!(user.number) } else { json!(user.number.to_string()) };
        service.pwdreset(id, "123456", "654321").await.assert_is(200, WRONG_CREDENTIALS);
    }
    assert_rate_limited(&service, &service.pwdreset(user.number, "123456", "654321").await);
    // Neither the failure count nor the password of the user with that number has changed.
    service.login("mark", "123456").await.token();
}

#[tokio::test]
async fn failed_password_changes_and_logins_share_a_rate_limit() {
    let service = TestService::new().await;
    let id = service.lab.user("mark").add().await.id.to_string();
    for _ in 0..5 {
        service.login("mark", "wrong").await.assert_is(200, WRONG_CREDENTIALS);
    }
    service.pwdreset(id.as_str(), "wrong", "654321").await.assert_is(200, WRONG_CREDENTIALS);
    assert_rate_limited(&service, &service.pwdreset(id.replace('-', ""), "123456", "654321").await);
    assert_rate_limited(&service, &service.login("mark", "123456").await);
}

#[tokio::test]
async fn a_proof_must_be_fresh_and_is_accepted_once_across_calls() {
    let service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    for (offset, is_fresh) in [(-301, false), (-300, true), (300, true), (301, false)] {
        let at = service.now() + offset;
        let proof = salted_digest("123456", at);
        let body = json!({
            "user_id": user.id.to_string(), "orig_password": proof, "new_password": md5_hex("123456"), "timestamp": at,
        });
        let response = service.post(PWDRESET, &body).await;
        if is_fresh {
            response.token();
            service.login_at("mark", "123456", at).await.assert_is(200, PROOF_REPLAYED);
        } else {
            response.assert_is(200, PROOF_STALE);
        }
    }
    service.login("mark", "123456").await.token();
    service.pwdreset(user.id.to_string(), "123456", "654321").await.assert_is(200, PROOF_REPLAYED);
    service.advance_clock(1);
    service.set_status(&user, UserStatus::Disabled).await;
    service.pwdreset(user.id.to_string(), "123456", "654321").await.assert_is(200, USER_DISABLED);
}

#[tokio::test]
async fn without_sealed_digests_no_proof_is_accepted() {
    let service = TestService::with_settings(&[("STELE_SALTED", "false")]).await;
    let user = service.lab.user("mark").add().await;
    service.pwdreset(user.id.to_string(), "123456", "654321").await.assert_is(200, WRONG_CREDENTIALS);
}
