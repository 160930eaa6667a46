//! Password reset (/i/resetpwd).

use stele_core::user::Profile;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, TestService};

#[tokio::test]
async fn a_password_reset_revokes_all_sessions() {
    let service = TestService::new().await;
    let profile = Profile { memo: "备注".into(), ..Profile::default() };
    service.lab.user("mark").password("hna123").phone(PHONE).profile(profile).add().await;
    let token = service.login(PHONE, "hna123").await.session_token();
    let code = service.request_code_for(PHONE).await;
    let response = service.post_with_code("/i/resetpwd", PHONE, "new123", &code).await;
    assert_eq!(
        response.assert_code("200").body,
        r#"{"status":{"status_code":"200","status_message":"OK","message":"OK"},"content":{"memo":"备注"}}"#
    );
    assert!(!service.is_session_valid(&token).await);
    service.login(PHONE, "hna123").await.assert_code("3202");
    service.login(PHONE, "new123").await.assert_code("200");
}

#[tokio::test]
async fn a_wrong_code_is_reported_before_an_unknown_user() {
    let service = TestService::new().await;
    service.post_with_code("/i/resetpwd", PHONE, "new123", "000000").await.assert_code("3208");
    let code = service.request_code_for(PHONE).await;
    service
        .post_with_code("/i/resetpwd", PHONE, "new123", &TestService::different_code(&code))
        .await
        .assert_code("3208");
    service.post_with_code("/i/resetpwd", PHONE, "new123", &code).await.assert_code("3201");
    // The code is still valid, so the same person can register with it.
    service.post_with_code("/i/register", PHONE, "new123", &code).await.assert_code("200");
}

#[tokio::test]
async fn invalid_fields_are_named() {
    let service = TestService::new().await;
    service.register_user(PHONE, "hna123").await;
    let code = service.request_code_for(PHONE).await;
    service.post_with_code("/i/resetpwd", "mark", "new123", &code).await.assert_field_error("username");
    service.post_with_code("/i/resetpwd", PHONE, "short", &code).await.assert_field_error("password");
    service.post_with_code("/i/resetpwd", PHONE, &"x".repeat(129), &code).await.assert_field_error("password");
    service.post_with_code("/i/resetpwd", PHONE, "new123", &code).await.assert_code("200");
}

#[tokio::test]
async fn a_code_of_another_user_is_rejected() {
    let service = TestService::new().await;
    service.register_user(PHONE, "hna123").await;
    service.register_user("13900139000", "hna123").await;
    let code = service.request_code_for("13900139000").await;
    // Fails once in a million runs, when both codes are equal.
    let own_code = service.request_code_for(PHONE).await;
    assert_ne!(code, own_code);
    service.post_with_code("/i/resetpwd", PHONE, "new123", &code).await.assert_code("3208");
    service.post_with_code("/i/resetpwd", "13900139000", "new123", &code).await.assert_code("200");
    service.login(PHONE, "hna123").await.assert_code("200");
}

#[tokio::test]
async fn a_phone_code_cannot_reset_an_account_whose_name_is_that_number() {
    let service = TestService::new().await;
    service.lab.user(PHONE).password("hna123").add().await;
    let code = service.request_code_for(PHONE).await;
    service.post_with_code("/i/resetpwd", PHONE, "new123", &code).await.assert_code("3201");
    service.login(PHONE, "hna123").await.assert_code("200");
}
