//! Server errors: 503, encrypted if the request's envelope was decrypted, and never reported as a wrong password.

use serde_json::{Value, json};
use stele_core::Error;
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::{StoreState, TestResponse};

use crate::test_service::{PHONE, ROUTES, ResponseExt as _, TestService};

const TOKEN_REJECTED: &str = r#"{"result":0,"errors":{"code":40006,"message":"获取token失败"}}"#;

/// The form of a response.
#[derive(Clone, Copy, PartialEq)]
enum ResponseForm {
    Encrypted,
    Plain,
}

/// Asserts the exact bytes of an unavailability error, which reveal nothing about the cause.
#[track_caller]
fn assert_unavailable(service: &TestService, response: &TestResponse, form: ResponseForm) {
    service.assert_fails_with(response, &Error::unavailable(""));
    assert_eq!(response.encrypted, form == ResponseForm::Encrypted);
}

/// Calls a route as `melink` with the request of [`ROUTES`], but with a permitted target app.
async fn call_route(service: &TestService, path: &str, inner: &str) -> TestResponse {
    service.call_as("melink", path, inner.replace("\"melink\"", "\"wlfz\"")).await
}

/// Requests a token as `melink`, where the user is present.
async fn request_token(service: &TestService) -> TestResponse {
    service.call_as_melink("/auth/token", &json!({ "login_name": PHONE, "app_to": "wlfz" })).await
}

async fn redeem_token(service: &TestService, token: &TestResponse) -> TestResponse {
    service.call_as_wlfz("/auth/check/token", &json!({ "token": token.json()["token"] })).await
}

/// The service with a user who is present at `melink`, and two tokens: a redeemed one and an unused one.
async fn service_with_present_user() -> (TestService, TestResponse, TestResponse) {
    let service = TestService::new().await;
    service.lab.user("mark").phone(PHONE).add().await;
    assert_eq!(service.login("melink", PHONE, "123456").await.error_code(), 0);
    let (used, unused) = (request_token(&service).await, request_token(&service).await);
    assert_eq!(redeem_token(&service, &used).await.error_code(), 0);
    (service, used, unused)
}

/// Asserts that the service works again: the used token is still rejected, the unused one and the session are valid.
async fn assert_recovered(service: &TestService, used: &TestResponse, unused: &TestResponse) {
    assert_eq!(redeem_token(service, used).await.text, TOKEN_REJECTED);
    assert_eq!(redeem_token(service, unused).await.error_code(), 0);
    assert_eq!(redeem_token(service, unused).await.text, TOKEN_REJECTED);
    assert_eq!(request_token(service).await.error_code(), 0);
    assert_eq!(service.login("melink", PHONE, "123456").await.error_code(), 0);
    let code = service.request_code_for("melink", PHONE, 2).await;
    let check = json!({ "login_name": PHONE, "captcha": code });
    assert_eq!(service.call_as_melink("/auth/check/captcha", &check).await.error_code(), 0);
}

#[actix_web::test]
async fn a_database_outage_is_reported_in_a_plaintext_response() {
    let (service, used, unused) = service_with_present_user().await;
    service.lab.set_user_store(StoreState::Down);
    for (path, inner) in ROUTES {
        assert_unavailable(&service, &call_route(&service, path, inner).await, ResponseForm::Plain);
    }
    for token in [&used, &unused] {
        assert_unavailable(&service, &redeem_token(&service, token).await, ResponseForm::Plain);
    }
    service.lab.set_user_store(StoreState::Up);
    assert_recovered(&service, &used, &unused).await;
}

#[actix_web::test]
async fn an_accounts_outage_is_reported_in_an_encrypted_response() {
    let (service, used, unused) = service_with_present_user().await;
    let unredeemed = request_token(&service).await;
    service.lab.set_accounts(StoreState::Down);
    // All routes but the last, which rejects an unknown token before it looks up a user.
    for (path, inner) in ROUTES.iter().take(ROUTES.len() - 1) {
        assert_unavailable(&service, &call_route(&service, path, inner).await, ResponseForm::Encrypted);
    }
    assert_unavailable(&service, &redeem_token(&service, &unredeemed).await, ResponseForm::Encrypted);
    assert_eq!(redeem_token(&service, &used).await.text, TOKEN_REJECTED);
    service.lab.set_accounts(StoreState::Up);
    assert_recovered(&service, &used, &unused).await;
}

#[actix_web::test]
async fn a_state_store_outage_fails_closed() {
    let (service, used, unused) = service_with_present_user().await;
    let unknown_phone = "13612345678";
    service.lab.set_state_store(StoreState::Down);
    let calls: [(&str, Value); 9] = [
        ("/auth/register", json!({ "login_name": unknown_phone, "password": "123456", "captcha": "629457" })),
        ("/auth/login", json!({ "login_name": PHONE, "password": "123456" })),
        ("/auth/login", json!({ "login_name": unknown_phone, "password": "123456" })),
        ("/auth/captcha", json!({ "login_name": unknown_phone, "usage": 1 })),
        ("/auth/captcha", json!({ "login_name": PHONE, "usage": 2 })),
        ("/auth/forgot", json!({ "login_name": PHONE, "new_password": "654321", "captcha": "629457" })),
        ("/auth/token", json!({ "login_name": PHONE, "app_to": "wlfz" })),
        ("/auth/check/captcha", json!({ "login_name": PHONE, "captcha": "629457" })),
        ("/auth/check/token", json!({ "token": "00000000000000000000000000000000" })),
    ];
    for (path, inner) in calls {
        assert_unavailable(&service, &service.call_as_melink(path, &inner).await, ResponseForm::Encrypted);
    }
    for token in [&used, &unused] {
        assert_unavailable(&service, &redeem_token(&service, token).await, ResponseForm::Encrypted);
    }
    // The only call that needs no state store.
    assert_eq!(service.call_as_melink("/auth/check/loginname", &json!({ "login_name": PHONE })).await.error_code(), 0);
    assert_eq!(service.lab.sent_codes(), []);
    service.lab.set_state_store(StoreState::Up);
    assert_recovered(&service, &used, &unused).await;
}

#[actix_web::test]
async fn a_full_hashing_queue_consumes_no_code() {
    let phone = "13612345678";
    let mut service = TestService::new().await;
    let code = service.request_code_for("melink", phone, 1).await;
    let full = service.lab.start_with_full_hash_queue(svc_mefp::SERVICE).await;
    let idle = std::mem::replace(&mut service.service, full);
    let register = json!({ "login_name": phone, "password": "123456", "captcha": code });
    for _ in 0..8 {
        assert_eq!(service.call_as_melink("/auth/register", &register).await.status_and_code(), (503, 50300));
    }
    service.service = idle;
    assert_eq!(service.call_as_melink("/auth/register", &register).await.error_code(), 0);
}

#[actix_web::test]
async fn a_registration_without_a_session_adds_no_user() {
    let service = TestService::new().await;
    let code = service.request_code_for("melink", PHONE, 1).await;
    let register = json!({ "login_name": PHONE, "password": "123456", "captcha": code });
    service.lab.lose_responses_to("open_session");
    let response = service.call_as_melink("/auth/register", &register).await;
    assert_unavailable(&service, &response, ResponseForm::Encrypted);
    service.lab.set_store_observer(None);
    // The code was not used up.
    assert_eq!(service.call_as_melink("/auth/register", &register).await.error_code(), 0);
}
