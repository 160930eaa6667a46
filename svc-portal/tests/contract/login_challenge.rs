//! Login challenge and rate limits: after five failures, untrusted addresses need a code (error 3208) and must wait.

use std::time::Duration;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, PortalResponse, TestService, to_base64};

const OWNER_ADDRESS: &str = "192.0.2.1";
const UNTRUSTED_ADDRESS: &str = "203.0.113.1";

async fn login_with_code(service: &TestService, password: &str, code: &str) -> PortalResponse {
    let form = [("username", PHONE), ("password", &to_base64(password)), ("code", &to_base64(code))];
    service.post_from(UNTRUSTED_ADDRESS, "/i/login", &form).await
}

async fn fail_five_logins(service: &TestService, username: &str, expected: &str) {
    for n in 0..5 {
        service.login_from(&format!("203.0.113.{}", n % 3), username, "wrong!").await.assert_code(expected);
    }
}

async fn service_with_user() -> TestService {
    let service = TestService::new().await;
    service.lab.user("mark").password("hna123").phone(PHONE).add().await;
    service
}

#[tokio::test]
async fn a_code_is_required_after_five_failures() {
    let service = service_with_user().await;
    fail_five_logins(&service, PHONE, "3202").await;
    for password in ["hna123", "wrong!"] {
        // A login without a code counts no attempt, so there is no wait yet.
        let response = service.login_from(UNTRUSTED_ADDRESS, PHONE, password).await;
        assert_eq!(response.assert_code("3208").status_message, "验证码错误");
    }
    let code = service.request_code_for(PHONE).await;
    login_with_code(&service, "hna123", &code).await.assert_code("200");
    // The successful login reset the failure count.
    service.login_from("203.0.113.77", PHONE, "hna123").await.assert_code("200");
}

#[tokio::test]
async fn a_rate_limited_login_checks_neither_code_nor_password() {
    let service = service_with_user().await;
    fail_five_logins(&service, PHONE, "3202").await;
    let code = service.request_code_for(PHONE).await;
    login_with_code(&service, "hna123", &TestService::different_code(&code)).await.assert_code("3208");
    for (password, code) in [("hna123", code.as_str()), ("wrong!", "999999")] {
        assert_eq!(login_with_code(&service, password, code).await.assert_code("429").retry_after, Some(1));
    }
    service.lab.clock().advance(Duration::from_secs(1));
    // A correct code with a wrong password fails, doubles the wait, and does not consume the code.
    login_with_code(&service, "wrong!", &code).await.assert_code("3202");
    assert_eq!(login_with_code(&service, "hna123", &code).await.assert_code("429").retry_after, Some(2));
    service.lab.clock().advance(Duration::from_secs(2));
    login_with_code(&service, "hna123", &code).await.assert_code("200");
    login_with_code(&service, "hna123", &code).await.assert_code("200");
}

#[tokio::test]
async fn a_trusted_address_has_its_own_rate_limit_and_challenge() {
    let service = service_with_user().await;
    service.login_from(OWNER_ADDRESS, PHONE, "hna123").await.assert_code("200");
    for _ in 0..5 {
        service.login_from(OWNER_ADDRESS, PHONE, "wrong!").await.assert_code("3202");
    }
    // A trusted address is challenged as well: otherwise the challenge would reveal the account to others at that
    // address.
    service.login_from(OWNER_ADDRESS, PHONE, "wrong!").await.assert_code("3208");
    let with_code = async |password: &str, code: &str| {
        let form = [("username", PHONE), ("password", &to_base64(password)), ("code", &to_base64(code))];
        service.post_from(OWNER_ADDRESS, "/i/login", &form).await
    };
    let code = service.request_code_for(PHONE).await;
    with_code("wrong!", &code).await.assert_code("3202");
    assert_eq!(with_code("hna123", &code).await.assert_code("429").retry_after, Some(1));
    // This rate limit applies to the trusted address only; other addresses are unaffected.
    service.login_from(UNTRUSTED_ADDRESS, PHONE, "hna123").await.assert_code("200");
    service.lab.clock().advance(Duration::from_secs(1));
    with_code("hna123", &code).await.assert_code("200");
}

#[tokio::test]
async fn a_password_reset_revokes_trusted_addresses() {
    let service = service_with_user().await;
    let thief = "198.51.100.66";
    service.login_from(thief, PHONE, "hna123").await.assert_code("200");
    let code = service.request_code_for(PHONE).await;
    service.post_with_code("/i/resetpwd", PHONE, "new123", &code).await.assert_code("200");
    fail_five_logins(&service, PHONE, "3202").await;
    service.login_from(thief, PHONE, "hna123").await.assert_code("3208");
}

#[tokio::test]
async fn an_address_is_trusted_for_thirty_days() {
    let service = service_with_user().await;
    let days = |n: u64| Duration::from_secs(n * 86_400);
    service.login_from(OWNER_ADDRESS, PHONE, "hna123").await.assert_code("200");
    service.lab.clock().advance(days(30) - Duration::from_secs(1));
    fail_five_logins(&service, PHONE, "3202").await;
    service.login_from(OWNER_ADDRESS, PHONE, "hna123").await.assert_code("200");
    service.lab.clock().advance(days(30) + Duration::from_secs(1));
    fail_five_logins(&service, PHONE, "3202").await;
    service.login_from(OWNER_ADDRESS, PHONE, "hna123").await.assert_code("3208");
}

#[tokio::test]
async fn the_failure_count_expires_after_fifteen_minutes() {
    let service = service_with_user().await;
    fail_five_logins(&service, PHONE, "3202").await;
    service.login_from(UNTRUSTED_ADDRESS, PHONE, "hna123").await.assert_code("3208");
    service.lab.clock().advance(Duration::from_secs(900));
    service.login_from(UNTRUSTED_ADDRESS, PHONE, "hna123").await.assert_code("200");
}

#[tokio::test]
async fn every_spelling_of_an_account_shares_one_failure_count() {
    let service = TestService::new().await;
    service.lab.user("mark").password("hna123").phone(PHONE).email("a@b.cn").add().await;
    for username in [PHONE, "+8613800138000", "a@b.cn", "A@B.CN", " 13800138000"] {
        service.login_from(UNTRUSTED_ADDRESS, username, "wrong!").await.assert_code("3202");
    }
    for username in [PHONE, "a@b.cn"] {
        service.login_from(UNTRUSTED_ADDRESS, username, "hna123").await.assert_code("3208");
    }
    // A code may be sent to the phone or the e-mail, and is valid only for the recipient of the code.
    let code = service.request_code_for("a@b.cn").await;
    login_with_code(&service, "hna123", &code).await.assert_code("3208");
    service.lab.clock().advance(Duration::from_secs(1));
    let form = [("username", "a@b.cn"), ("password", &to_base64("hna123")), ("code", &to_base64(&code))];
    service.post_from(UNTRUSTED_ADDRESS, "/i/login", &form).await.assert_code("200");
}

#[tokio::test]
async fn unknown_users_and_usernames_are_rate_limited_alike() {
    let service = service_with_user().await;
    for username in ["13900139000", "unknown@qq.com", "mark"] {
        fail_five_logins(&service, username, "3201").await;
        let response = service.login_from(UNTRUSTED_ADDRESS, username, "hna123").await;
        assert_eq!(response.assert_code("3208").status_message, "验证码错误");
        let form = [("username", username), ("password", &to_base64("hna123")), ("code", &to_base64("000000"))];
        service.post_from(UNTRUSTED_ADDRESS, "/i/login", &form).await.assert_code("3208");
        assert_eq!(
            service.post_from(UNTRUSTED_ADDRESS, "/i/login", &form).await.assert_code("429").retry_after,
            Some(1)
        );
    }
    // Failures by username do not count against the account.
    service.login_from(UNTRUSTED_ADDRESS, PHONE, "hna123").await.assert_code("200");
}
