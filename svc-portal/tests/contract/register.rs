//! Registration (/i/register).

use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, TestService};

const OK: &str = r#"{"status":{"status_code":"200","status_message":"OK","message":"OK"},"content":{"memo":""}}"#;

#[tokio::test]
async fn a_phone_or_email_can_register_and_log_in() {
    let service = TestService::with_settings(&[("STELE_SMS_COUNTRIES", "86,1")]).await;
    for (number, username) in ["13800138000", "123456@qq.cpom", "+14155550123"].into_iter().enumerate() {
        let code = service.request_code_for(username).await;
        let response = service.post_with_code("/i/register", username, "hna123", &code).await;
        assert_eq!(response.assert_code("200").body, OK);
        assert_eq!(response.set_cookie, None, "registration opens no session");
        let profile = service.login(username, "hna123").await;
        assert_eq!(profile.assert_code("200").content["passport"], username);
        assert_eq!(profile.content["user_name"], username);
        assert_eq!(profile.content["id"], (number + 1).to_string());
        assert_eq!(profile.content["gid"], (number + 100_001).to_string());
        let (mobile, email) = if username.contains('@') { ("", username) } else { (username, "") };
        assert_eq!((&profile.content["mobile"], &profile.content["email"]), (&mobile.into(), &email.into()));
    }
}

#[tokio::test]
async fn a_wrong_code_is_reported_before_an_existing_user() {
    let service = TestService::new().await;
    service.register_user(PHONE, "hna123").await;
    service.post_with_code("/i/register", PHONE, "hna123", "000000").await.assert_code("3208");
    let code = service.request_code_for(PHONE).await;
    service
        .post_with_code("/i/register", PHONE, "hna123", &TestService::different_code(&code))
        .await
        .assert_code("3208");
    service.post_with_code("/i/register", PHONE, "other123", &code).await.assert_code("3207");
    service.login(PHONE, "hna123").await.assert_code("200");
}

#[tokio::test]
async fn equivalent_spellings_name_the_same_account() {
    let service = TestService::new().await;
    service.register_user("A.B@QQ.com", "hna123").await;
    service.lab.user("mark").phone(PHONE).add().await;
    for (recipient, spelling) in [("a.b@qq.COM", "a.b@qq.com"), ("+8613800138000", " 13800138000 ")] {
        service.request_code_for(recipient).await;
        let code = service.lab.last_code_for(recipient);
        service.post_with_code("/i/register", spelling, "hna123", &code).await.assert_code("3207");
    }
    let profile = service.login("a.b@qq.com", "hna123").await;
    assert_eq!(profile.assert_code("200").content["passport"], "A.B@QQ.com", "passport shows the e-mail as registered");
}

#[tokio::test]
async fn invalid_fields_are_named_and_count_no_attempt() {
    let service = TestService::new().await;
    let code = service.request_code_for(PHONE).await;
    for invalid in ["mark", "1380013800", "a@b@c.cn", "1@hna", "12345678901234567890"] {
        service.post_with_code("/i/register", invalid, "hna123", &code).await.assert_field_error("username");
    }
    let long = "密".repeat(129);
    for invalid in ["12345", "密码密码密", &long] {
        // More requests than a code has attempts: an invalid password is rejected before the code is checked.
        for code in [&code, "000000", "000000"] {
            service.post_with_code("/i/register", PHONE, invalid, code).await.assert_field_error("password");
        }
    }
    service.post_with_code("/i/register", PHONE, &"密".repeat(128), &code).await.assert_code("200");
    service.login(PHONE, &"密".repeat(128)).await.assert_code("200");
}

#[tokio::test]
async fn the_minimum_password_length_is_configurable() {
    let service = TestService::with_settings(&[("STELE_PASSWORD_MIN", "8")]).await;
    let code = service.request_code_for(PHONE).await;
    service.post_with_code("/i/register", PHONE, "1234567", &code).await.assert_field_error("password");
    service.post_with_code("/i/register", PHONE, "12345678", &code).await.assert_code("200");
}
