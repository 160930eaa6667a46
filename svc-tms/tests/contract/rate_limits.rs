//! Rate limits of password guessing at the three endpoints. The conformance suite tests the limits of all dialects.

use std::time::Duration;

use serde_json::json;
use stele_core::Error;
use stele_core::user::UserStatus;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::conformance::{DialectUnderTest as _, PASSWORD, PHONE};
use stele_testkit::{MessageCode as _, TestResponse, md5_hex};

use crate::test_service::{LOGIN, TestService, WRONG_CREDENTIALS};

#[track_caller]
fn assert_rate_limited(service: &TestService, response: &TestResponse) {
    service.assert_fails_with(response, &Error::RateLimited { retry_after: Duration::from_secs(1) });
}

#[tokio::test]
async fn rate_limits_apply_to_every_proof_format() {
    for format in ["salted", "digest", "either"] {
        let service = TestService::with_settings(&[("STELE_TMS_PROOF", format)]).await;
        service.add_test_user().await;
        service.fail_until_locked_out(PHONE).await;
        let hashes_before = service.hash_count();
        for proof in [salted_digest(PASSWORD, service.now()), md5_hex(PASSWORD), md5_hex("wrong")] {
            assert_rate_limited(&service, &service.login_with_proof(LOGIN, PHONE, &proof, service.now()).await);
        }
        assert_eq!(service.hash_count(), hashes_before, "a rate-limited login verifies nothing");
        service.advance_clock(1);
        let proof = if format == "digest" { md5_hex(PASSWORD) } else { salted_digest(PASSWORD, service.now()) };
        service.login_with_proof(LOGIN, PHONE, &proof, service.now()).await.token();
    }
}

#[tokio::test]
async fn a_failure_count_is_shared_by_endpoints_identifiers_and_dialects() {
    let service = TestService::new().await;
    let user = service.lab.user("Mark").phone("1548736484").email("1@hna").admin().add().await;
    let token = service.open_session_token("mark").await;
    service.login("mark", "wrong").await.assert_is(200, WRONG_CREDENTIALS);
    service.login_admin("1548736484", "wrong").await.assert_is(200, WRONG_CREDENTIALS);
    service.login("1@HNA", "wrong").await.assert_is(200, WRONG_CREDENTIALS);
    service.pwdreset(&token, user.number, "wrong", "x").await.assert_is(200, WRONG_CREDENTIALS);
    service.pwdreset(&token, user.id.to_string(), "wrong", "x").await.assert_is(200, WRONG_CREDENTIALS);
    service.login_cloudbox("mark", "wrong").await.unwrap_err();
    assert_rate_limited(&service, &service.login("mark", "123456").await);
    assert_rate_limited(&service, &service.login_admin("mark", "123456").await);
    assert_rate_limited(&service, &service.pwdreset(&token, user.number, "123456", "x").await);
    let other = service.login_cloudbox("mark", "123456").await;
    assert!(matches!(other, Err(stele_core::Error::RateLimited { .. })), "{other:?}");
}

#[tokio::test]
async fn a_user_at_the_admin_login_counts_as_a_failed_attempt() {
    let service = TestService::new().await;
    service.lab.user("mark").add().await;
    for _ in 0..6 {
        service.login_admin("mark", "123456").await.assert_is(200, WRONG_CREDENTIALS);
    }
    assert_rate_limited(&service, &service.login("mark", "123456").await);
}

#[tokio::test]
async fn a_login_without_a_token_counts_no_attempt() {
    let service = TestService::new().await;
    service.add_test_user().await;
    for _ in 0..10 {
        let body = json!({ "username": PHONE, "password": md5_hex("wrong"), "timestamp": service.now() });
        assert_eq!(service.post_with_token(LOGIN, "", &body).await.code(), "1005");
    }
    service.login(PHONE, PASSWORD).await.token();
}

#[tokio::test]
async fn a_disabled_user_gets_the_disabled_error_with_an_unsalted_digest() {
    let service = TestService::new().await;
    let user = service.add_test_user().await;
    service.set_status(&user, UserStatus::Disabled).await;
    service.assert_fails_with(
        &service.login_with_proof(LOGIN, PHONE, &md5_hex(PASSWORD), service.now()).await,
        &Error::Disabled,
    );
}
