//! Verification codes: what they are bound to, when they end, and how many may be sent (docs/THREATS.md 20, 23, 25).

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use stele_testkit::TestResponse;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, ResponseExt as _, TestService};

const HOUR: Duration = Duration::from_secs(3_600);

async fn check_code(service: &TestService, app: &str, phone: &str, code: &str) -> u64 {
    let inner = json!({ "login_name": phone, "captcha": code }).to_string();
    service.call_as(app, "/auth/check/captcha", &inner).await.error_code()
}

async fn register_with_code(service: &TestService, app: &str, phone: &str, code: &str) -> u64 {
    let inner = json!({ "login_name": phone, "password": "123456", "captcha": code }).to_string();
    service.call_as(app, "/auth/register", &inner).await.error_code()
}

async fn reset_with_code(service: &TestService, app: &str, phone: &str, code: &str) -> u64 {
    let inner = json!({ "login_name": phone, "new_password": "654321", "captcha": code }).to_string();
    service.call_as(app, "/auth/forgot", &inner).await.error_code()
}

async fn send_code(service: &TestService, app: &str, phone: &str, usage: u8) -> TestResponse {
    service.call_as(app, "/auth/captcha", &json!({ "login_name": phone, "usage": usage }).to_string()).await
}

#[actix_web::test]
async fn a_code_is_valid_only_for_its_app() {
    let service = TestService::new().await;
    let code = service.request_code_for("melink", PHONE, 1).await;
    assert_eq!(check_code(&service, "wlfz", PHONE, &code).await, 40002);
    assert_eq!(register_with_code(&service, "wlfz", PHONE, &code).await, 40002);
    assert_eq!(register_with_code(&service, "melink", PHONE, &code).await, 0);
}

#[actix_web::test]
async fn a_code_is_valid_only_for_its_purpose_and_phone() {
    let service = TestService::new().await;
    service.lab.user("mark").phone("13800138000").add().await;
    let reset = service.request_code_for("melink", "13800138000", 2).await;
    let fresh = service.request_code_for("melink", PHONE, 1).await;
    assert_eq!(register_with_code(&service, "melink", PHONE, &reset).await, 40002);
    assert_eq!(reset_with_code(&service, "melink", "13800138000", &fresh).await, 40002);
    // The phone has since been registered, but the code is for registration, not for a reset.
    service.lab.user("anna").phone(PHONE).add().await;
    assert_eq!(reset_with_code(&service, "melink", PHONE, &fresh).await, 40002);
    assert_eq!(register_with_code(&service, "melink", "13800138000", &reset).await, 40002);
    assert_eq!(reset_with_code(&service, "melink", "13800138000", &reset).await, 0);
}

#[actix_web::test]
async fn concurrent_registrations_with_one_code_succeed_once() {
    let service = TestService::new().await;
    let code = service.request_code_for("melink", PHONE, 1).await;
    let codes = join_all((0..8).map(|_| register_with_code(&service, "melink", PHONE, &code))).await;
    assert_eq!(codes.iter().filter(|&&code| code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| [0, 40001, 40002, 42900].contains(code)), "{codes:?}");
}

#[actix_web::test]
async fn five_wrong_attempts_invalidate_a_code() {
    for wrong_attempts in [4, 5] {
        let service = TestService::new().await;
        let code = service.request_code_for("melink", PHONE, 1).await;
        let wrong = if code == "000000" { "111111" } else { "000000" };
        let codes = join_all((0..wrong_attempts - 2).map(|_| check_code(&service, "melink", PHONE, wrong))).await;
        assert!(codes.iter().all(|&code| code == 40002), "{codes:?}");
        assert_eq!(
            check_code(&service, "wlfz", PHONE, &code).await,
            40002,
            "a code of another app counts as a wrong attempt"
        );
        assert_eq!(register_with_code(&service, "melink", PHONE, wrong).await, 40002);
        let fifth = if wrong_attempts < 5 { 0 } else { 40002 };
        assert_eq!(
            register_with_code(&service, "melink", PHONE, &code).await,
            fifth,
            "after {wrong_attempts} wrong attempts"
        );
    }
}

#[actix_web::test]
async fn a_numeric_code_without_leading_zeros_is_accepted() {
    let service = TestService::with_settings(&[("STELE_SEND_RECIPIENT", "1000")]).await;
    let mut code = service.request_code_for("melink", PHONE, 1).await;
    while !code.starts_with('0') {
        code = service.request_code_for("melink", PHONE, 1).await;
    }
    let number: u32 = code.parse().unwrap();
    let inner = json!({ "login_name": PHONE, "password": "123456", "captcha": number });
    assert_eq!(service.call_as_melink("/auth/register", &inner).await.error_code(), 0);
}

#[actix_web::test]
async fn sends_are_rate_limited_per_app_instead_of_per_address() {
    let service = TestService::with_settings(&[("STELE_SEND_APP", "3"), ("STELE_SEND_ADDRESS", "1")]).await;
    service.lab.user("mark").phone("13800138000").add().await;
    for phone in ["13900139001", "13900139002", "13900139003"] {
        assert_eq!(send_code(&service, "melink", phone, 1).await.status_and_code(), (200, 0));
        assert_eq!(
            send_code(&service, "melink", "13800138000", 1).await.error_code(),
            40001,
            "rejected sends are not counted"
        );
    }
    let response = send_code(&service, "melink", "13900139004", 1).await;
    assert_eq!((response.status_and_code(), response.retry_after()), ((429, 42900), Some(3_600)));
    assert_eq!(send_code(&service, "wlfz", "13900139004", 1).await.status_and_code(), (200, 0));
    assert_eq!(service.lab.sent_codes().len(), 4);
}

#[actix_web::test]
async fn an_app_may_send_a_thousand_codes_an_hour_by_default() {
    let service = TestService::new().await;
    // A different phone each time, so that the limit per recipient does not apply.
    let nth_phone = |n: u32| format!("139{n:08}");
    for batch in 0..100 {
        let phones: Vec<_> = (batch * 10..batch * 10 + 10).map(nth_phone).collect();
        let sent = join_all(phones.iter().map(|phone| send_code(&service, "melink", phone, 1))).await;
        assert!(sent.iter().all(|response| response.status_and_code() == (200, 0)), "{batch}: {sent:?}");
    }
    let response = send_code(&service, "melink", &nth_phone(1_000), 1).await;
    assert_eq!((response.status_and_code(), response.retry_after()), ((429, 42900), Some(3_600)));
    assert_eq!(service.lab.sent_codes().len(), 1_000);
    assert_eq!(
        send_code(&service, "wlfz", &nth_phone(1_000), 1).await.status_and_code(),
        (200, 0),
        "each app has its own thousand"
    );
    service.lab.clock().advance(HOUR);
    assert_eq!(send_code(&service, "melink", &nth_phone(1_000), 1).await.status_and_code(), (200, 0));
}

#[actix_web::test]
async fn foreign_phones_are_rejected_without_counting() {
    let service = TestService::with_settings(&[("STELE_SEND_APP", "1")]).await;
    for phone in ["+88216123456", "+85251234567", "+862112345678"] {
        for usage in [1, 2] {
            assert_eq!(send_code(&service, "melink", phone, usage).await.status_and_code(), (200, 40004), "{phone}");
        }
    }
    assert_eq!(service.lab.sent_codes(), []);
    assert_eq!(send_code(&service, "melink", PHONE, 1).await.status_and_code(), (200, 0));
}
