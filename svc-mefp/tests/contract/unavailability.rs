//! Our own faults: 503, in plain while no envelope is open, encrypted after, and never taken for a wrong password.

use serde_json::{Value, json};
use stele_core::Error;
use stele_testkit::TestResponse;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, ROUTES, ResponseExt as _, TestService};

const TOKEN_REJECTED: &str = r#"{"result":0,"errors":{"code":40006,"message":"获取token失败"}}"#;

/// To the byte, so nothing of the cause.
#[track_caller]
fn assert_unavailable(bench: &TestService, answer: &TestResponse, sealed: bool) {
    bench.assert_fails_with(answer, &Error::unavailable(""));
    assert_eq!(answer.encrypted, sealed);
}

/// Calls a route as `melink` with the well-formed request of [`ROUTES`], but for an app that it may hand over to.
async fn call_route(bench: &TestService, path: &str, inner: &str) -> TestResponse {
    bench.call_as("melink", path, inner.replace("\"melink\"", "\"wlfz\"")).await
}

/// Asks for a token as `melink`, where the user is present.
async fn request_token(bench: &TestService) -> TestResponse {
    bench.call_as_melink("/auth/token", &json!({ "login_name": PHONE, "app_to": "wlfz" })).await
}

async fn redeem_token(bench: &TestService, token: &TestResponse) -> TestResponse {
    bench.call_as_wlfz("/auth/check/token", &json!({ "token": token.json()["token"] })).await
}

/// The service, with a user who is present at `melink`, and two tokens: one that was redeemed and one that was not.
async fn service_with_present_user() -> (TestService, TestResponse, TestResponse) {
    let bench = TestService::new().await;
    bench.lab.user("mark").phone(PHONE).add().await;
    assert_eq!(bench.login("melink", PHONE, "123456").await.error_code(), 0);
    let (used, unused) = (request_token(&bench).await, request_token(&bench).await);
    assert_eq!(redeem_token(&bench, &used).await.error_code(), 0);
    (bench, used, unused)
}

/// All is well: the used token is still dead, and what was good is still good.
async fn assert_recovered(bench: &TestService, used: &TestResponse, unused: &TestResponse) {
    assert_eq!(redeem_token(bench, used).await.text, TOKEN_REJECTED);
    assert_eq!(redeem_token(bench, unused).await.error_code(), 0);
    assert_eq!(redeem_token(bench, unused).await.text, TOKEN_REJECTED);
    assert_eq!(request_token(bench).await.error_code(), 0);
    assert_eq!(bench.login("melink", PHONE, "123456").await.error_code(), 0);
    let code = bench.request_code_for("melink", PHONE, 2).await;
    let check = json!({ "login_name": PHONE, "captcha": code });
    assert_eq!(bench.call_as_melink("/auth/check/captcha", &check).await.error_code(), 0);
}

#[actix_web::test]
async fn a_database_outage_is_reported_as_unavailable_in_plain() {
    let (bench, used, unused) = service_with_present_user().await;
    bench.lab.set_user_store_down(true);
    for (path, inner) in ROUTES {
        assert_unavailable(&bench, &call_route(&bench, path, inner).await, false);
    }
    for token in [&used, &unused] {
        assert_unavailable(&bench, &redeem_token(&bench, token).await, false);
    }
    bench.lab.set_user_store_down(false);
    assert_recovered(&bench, &used, &unused).await;
}

#[actix_web::test]
async fn an_accounts_outage_is_reported_in_a_sealed_response() {
    let (bench, used, unused) = service_with_present_user().await;
    let lost = request_token(&bench).await;
    bench.lab.set_accounts_down(true);
    // But for the last, where a token that nobody has is refused before a user is looked up.
    for (path, inner) in ROUTES.iter().take(ROUTES.len() - 1) {
        assert_unavailable(&bench, &call_route(&bench, path, inner).await, true);
    }
    assert_unavailable(&bench, &redeem_token(&bench, &lost).await, true);
    assert_eq!(redeem_token(&bench, &used).await.text, TOKEN_REJECTED);
    bench.lab.set_accounts_down(false);
    assert_recovered(&bench, &used, &unused).await;
}

#[actix_web::test]
async fn a_state_store_outage_fails_closed() {
    let (bench, used, unused) = service_with_present_user().await;
    let unknown_phone = "13612345678";
    bench.lab.set_state_store_down(true);
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
        assert_unavailable(&bench, &bench.call_as_melink(path, &inner).await, true);
    }
    for token in [&used, &unused] {
        assert_unavailable(&bench, &redeem_token(&bench, token).await, true);
    }
    // The one call that asks the database alone.
    assert_eq!(bench.call_as_melink("/auth/check/loginname", &json!({ "login_name": PHONE })).await.error_code(), 0);
    assert_eq!(bench.lab.sent_codes(), []);
    bench.lab.set_state_store_down(false);
    assert_recovered(&bench, &used, &unused).await;
}

#[actix_web::test]
async fn a_full_hashing_queue_consumes_no_code() {
    let stranger = "13612345678";
    let mut bench = TestService::new().await;
    let code = bench.request_code_for("melink", stranger, 1).await;
    let full = bench.lab.start_with_full_hash_queue(svc_mefp::SERVICE).await;
    let idle = std::mem::replace(&mut bench.service, full);
    let register = json!({ "login_name": stranger, "password": "123456", "captcha": code });
    for _ in 0..8 {
        assert_eq!(bench.call_as_melink("/auth/register", &register).await.status_and_code(), (503, 50300));
    }
    bench.service = idle;
    assert_eq!(bench.call_as_melink("/auth/register", &register).await.error_code(), 0);
}
