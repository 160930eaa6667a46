//! Tokens that hand a user over to another app: authorization, single use and revocation (docs/THREATS.md 26, 29).

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use stele_core::password::{NewPassword, RawPassword};
use stele_core::user::{UserRef, UserStatus};
use stele_testkit::TestResponse;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, ResponseExt as _, TestService, app_secret};

const TOKEN_REJECTED: &str = r#"{"result":0,"errors":{"code":40006,"message":"获取token失败"}}"#;

async fn request_token_for(service: &TestService, app: &str, to: &str) -> TestResponse {
    service.call_as(app, "/auth/token", &json!({ "login_name": PHONE, "app_to": to }).to_string()).await
}

async fn issue_token(service: &TestService) -> Value {
    let response = request_token_for(service, "melink", "wlfz").await;
    assert_eq!(response.error_code(), 0);
    json!({ "token": response.json()["token"] })
}

/// The service, and a user who has logged in through both apps.
async fn service_with_present_user() -> (TestService, UserRef) {
    let service = TestService::new().await;
    let user = service.lab.user("mark").phone(PHONE).add().await;
    for app in ["melink", "wlfz"] {
        assert_eq!(service.login(app, PHONE, "123456").await.error_code(), 0);
    }
    (service, UserRef::Id(user.id))
}

#[actix_web::test]
async fn a_token_is_single_use_and_bound_to_its_target_app() {
    let (service, _) = service_with_present_user().await;
    let token = issue_token(&service).await;
    for _ in 0..2 {
        let response = service.call_as_melink("/auth/check/token", &token).await;
        assert_eq!((response.status, response.text.as_str()), (200, TOKEN_REJECTED));
    }
    let redeemed = service.call_as_wlfz("/auth/check/token", &token).await;
    assert_eq!(redeemed.json(), json!({ "result": 1, "login_name": PHONE, "app_from": "melink" }));
    assert_eq!(service.call_as_wlfz("/auth/check/token", &token).await.text, TOKEN_REJECTED);
}

#[actix_web::test]
async fn a_token_redeemed_concurrently_works_once() {
    let (service, _) = service_with_present_user().await;
    for _ in 0..5 {
        let token = issue_token(&service).await;
        let responses = join_all((0..12).map(|_| service.call_as_wlfz("/auth/check/token", &token))).await;
        assert_eq!(responses.iter().filter(|response| response.error_code() == 0).count(), 1);
        assert_eq!(responses.iter().filter(|response| response.text == TOKEN_REJECTED).count(), 11);
    }
}

#[actix_web::test]
async fn a_token_expires_after_five_minutes() {
    let (service, _) = service_with_present_user().await;
    let (early, late) = (issue_token(&service).await, issue_token(&service).await);
    service.lab.clock().advance(Duration::from_secs(299));
    assert_eq!(service.call_as_wlfz("/auth/check/token", &early).await.error_code(), 0);
    service.lab.clock().advance(Duration::from_secs(1));
    assert_eq!(service.call_as_wlfz("/auth/check/token", &late).await.text, TOKEN_REJECTED);
}

#[actix_web::test]
async fn a_malformed_token_is_rejected_like_an_unknown_one() {
    let (service, _) = service_with_present_user().await;
    for text in ["x", "00000000000000000000000000000000", "密", "0", &"0".repeat(4_000)] {
        assert_eq!(
            service.call_as_wlfz("/auth/check/token", &json!({ "token": text })).await.text,
            TOKEN_REJECTED,
            "{text}"
        );
    }
    let upper = issue_token(&service).await["token"].as_str().unwrap().to_uppercase();
    assert_eq!(service.call_as_wlfz("/auth/check/token", &json!({ "token": upper })).await.error_code(), 0);
}

#[actix_web::test]
async fn a_token_requires_a_registered_and_allowed_target_app() {
    let (service, _) = service_with_present_user().await;
    for to in ["melink", "unknown", "later", "WLFZ", " ", "\u{0}", "密", &"w".repeat(500)] {
        assert_eq!(request_token_for(&service, "melink", to).await.text, TOKEN_REJECTED, "{to:?}");
    }
    assert_eq!(request_token_for(&service, "wlfz", "melink").await.text, TOKEN_REJECTED);
    // `--may-token` of melink named the app before it was registered.
    service.lab.add_app("later", &app_secret("later"), &[]).await;
    assert_eq!(request_token_for(&service, "melink", "later").await.error_code(), 0);
}

#[actix_web::test]
async fn a_token_requires_a_user_present_at_the_calling_app() {
    let service = TestService::new().await;
    assert_eq!(request_token_for(&service, "melink", "wlfz").await.text, TOKEN_REJECTED, "an unknown user");
    service.lab.user("mark").phone(PHONE).add().await;
    assert_eq!(request_token_for(&service, "melink", "wlfz").await.text, TOKEN_REJECTED, "a user who is not logged in");
    service.login("wlfz", PHONE, "123456").await;
    assert_eq!(
        request_token_for(&service, "melink", "wlfz").await.text,
        TOKEN_REJECTED,
        "a user logged in at another app"
    );
    service.login("melink", PHONE, "wrong!").await;
    assert_eq!(request_token_for(&service, "melink", "wlfz").await.text, TOKEN_REJECTED, "a user whose login failed");
    service.login("melink", PHONE, "123456").await;
    assert_eq!(request_token_for(&service, "melink", "wlfz").await.error_code(), 0);
}

#[actix_web::test]
async fn registration_makes_the_user_present() {
    let service = TestService::new().await;
    let code = service.request_code_for("melink", PHONE, 1).await;
    let register = json!({ "login_name": PHONE, "password": "123456", "captcha": code });
    assert_eq!(service.call_as_melink("/auth/register", &register).await.error_code(), 0);
    assert_eq!(request_token_for(&service, "melink", "wlfz").await.error_code(), 0);
}

#[actix_web::test]
async fn presence_expires_twelve_hours_after_last_use() {
    let (service, _) = service_with_present_user().await;
    for _ in 0..3 {
        service.lab.clock().advance(Duration::from_secs(11 * 3_600));
        assert_eq!(request_token_for(&service, "melink", "wlfz").await.error_code(), 0);
    }
    service.lab.clock().advance(Duration::from_secs(12 * 3_600));
    assert_eq!(request_token_for(&service, "melink", "wlfz").await.text, TOKEN_REJECTED);
}

#[actix_web::test]
async fn a_password_reset_revokes_presence_and_tokens() {
    let (service, _) = service_with_present_user().await;
    let token = issue_token(&service).await;
    let code = service.request_code_for("wlfz", PHONE, 2).await;
    let forgot = json!({ "login_name": PHONE, "new_password": "654321", "captcha": code });
    assert_eq!(service.call_as_wlfz("/auth/forgot", &forgot).await.error_code(), 0);
    assert_eq!(service.call_as_wlfz("/auth/check/token", &token).await.text, TOKEN_REJECTED);
    assert_eq!(request_token_for(&service, "melink", "wlfz").await.text, TOKEN_REJECTED);
    assert_eq!(service.login("melink", PHONE, "654321").await.error_code(), 0);
    assert_eq!(request_token_for(&service, "melink", "wlfz").await.error_code(), 0);
}

#[actix_web::test]
async fn a_password_change_elsewhere_revokes_presence_and_tokens() {
    let (service, user) = service_with_present_user().await;
    let token = issue_token(&service).await;
    let new = NewPassword::from_administrator(&RawPassword::new("another".to_owned())).unwrap();
    service.lab.use_cases().provision_password(user, &new).await.unwrap();
    assert_eq!(service.call_as_wlfz("/auth/check/token", &token).await.text, TOKEN_REJECTED);
    assert_eq!(request_token_for(&service, "melink", "wlfz").await.text, TOKEN_REJECTED);
}

#[actix_web::test]
async fn disabling_a_user_revokes_presence_and_tokens_permanently() {
    let (service, user) = service_with_present_user().await;
    let token = issue_token(&service).await;
    for status in [UserStatus::Disabled, UserStatus::Active] {
        service.lab.use_cases().set_status(user, status).await.unwrap();
        assert_eq!(service.call_as_wlfz("/auth/check/token", &token).await.text, TOKEN_REJECTED);
        assert_eq!(request_token_for(&service, "melink", "wlfz").await.text, TOKEN_REJECTED);
    }
}
