//! Verification codes: one code is valid for register, resetpwd and login, once.

use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, TestService, to_base64};

/// Logs in with a code from an untrusted address.
async fn login_with_code(service: &TestService, password: &str, code: &str) -> String {
    let form = [("username", PHONE), ("password", &to_base64(password)), ("code", &to_base64(code))];
    service.post_from("198.51.100.1", "/i/login", &form).await.status_code
}

/// Fails five logins, after which untrusted addresses need a code.
async fn fail_five_logins(service: &TestService) {
    for n in 0..5 {
        service.login_from(&format!("203.0.113.{n}"), PHONE, "wrong!").await.assert_code("3202");
    }
}

#[tokio::test]
async fn a_code_works_for_registration_and_reset_and_success_consumes_it() {
    let service = TestService::new().await;
    let code = service.request_code_for(PHONE).await;
    service.post_with_code("/i/register", PHONE, "hna123", &code).await.assert_code("200");
    for path in ["/i/register", "/i/resetpwd"] {
        service.post_with_code(path, PHONE, "hna123", &code).await.assert_code("3208");
    }
    let code = service.request_code_for(PHONE).await;
    service.post_with_code("/i/resetpwd", PHONE, "new123", &code).await.assert_code("200");
    for path in ["/i/register", "/i/resetpwd"] {
        service.post_with_code(path, PHONE, "hna123", &code).await.assert_code("3208");
    }
}

#[tokio::test]
async fn a_login_that_requires_a_code_consumes_it() {
    let service = TestService::new().await;
    service.lab.user("mark").password("hna123").phone(PHONE).add().await;
    fail_five_logins(&service).await;
    let code = service.request_code_for(PHONE).await;
    assert_eq!(login_with_code(&service, "hna123", &code).await, "200");
    service.post_with_code("/i/resetpwd", PHONE, "new123", &code).await.assert_code("3208");
}

#[tokio::test]
async fn a_login_that_requires_no_code_leaves_it_valid() {
    let service = TestService::new().await;
    service.register_user(PHONE, "hna123").await;
    let code = service.request_code_for(PHONE).await;
    assert_eq!(login_with_code(&service, "hna123", "999999").await, "200");
    assert_eq!(login_with_code(&service, "hna123", &code).await, "200");
    service.post_with_code("/i/resetpwd", PHONE, "new123", &code).await.assert_code("200");
}

#[tokio::test]
async fn five_wrong_attempts_across_calls_invalidate_a_code() {
    // A high rate limit, so that no wait follows the failures.
    let service = TestService::with_settings(&[("STELE_LIMIT_ACCOUNT", "50")]).await;
    for wrong_attempts in [4, 5] {
        let to = format!("1380013800{wrong_attempts}");
        let code = service.request_code_for(&to).await;
        for n in 0..wrong_attempts {
            let path = if n % 2 == 0 { "/i/register" } else { "/i/resetpwd" };
            service.post_with_code(path, &to, "hna123", &TestService::different_code(&code)).await.assert_code("3208");
        }
        let response = service.post_with_code("/i/register", &to, "hna123", &code).await;
        response.assert_code(if wrong_attempts < 5 { "200" } else { "3208" });
    }
}

#[tokio::test]
async fn a_password_reset_invalidates_the_codes_of_every_recipient() {
    let service = TestService::new().await;
    service.lab.user("mark").password("hna123").phone(PHONE).email("a@b.cn").add().await;
    let (by_phone, by_email) = (service.request_code_for(PHONE).await, service.request_code_for("a@b.cn").await);
    service.post_with_code("/i/resetpwd", "a@b.cn", "new123", &by_email).await.assert_code("200");
    service.post_with_code("/i/resetpwd", PHONE, "other123", &by_phone).await.assert_code("3208");
}
