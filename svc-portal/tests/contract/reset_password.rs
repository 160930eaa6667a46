//! /i/resetpwd

use stele_core::user::Profile;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, TestService};

#[tokio::test]
async fn a_password_reset_ends_all_sessions() {
    let portal = TestService::new().await;
    let profile = Profile { memo: "备注".into(), ..Profile::default() };
    portal.lab.user("mark").password("hna123").phone(PHONE).profile(profile).add().await;
    let token = portal.login(PHONE, "hna123").await.session_token();
    let code = portal.request_code_for(PHONE).await;
    let answer = portal.post_with_code("/i/resetpwd", PHONE, "new123", &code).await;
    assert_eq!(
        answer.assert_code("200").body,
        r#"{"status":{"status_code":"200","status_message":"OK","message":"OK"},"content":{"memo":"备注"}}"#
    );
    assert!(!portal.is_session_valid(&token).await);
    portal.login(PHONE, "hna123").await.assert_code("3202");
    portal.login(PHONE, "new123").await.assert_code("200");
}

#[tokio::test]
async fn a_wrong_code_is_reported_before_an_unknown_user() {
    let portal = TestService::new().await;
    portal.post_with_code("/i/resetpwd", PHONE, "new123", "000000").await.assert_code("3208");
    let code = portal.request_code_for(PHONE).await;
    portal
        .post_with_code("/i/resetpwd", PHONE, "new123", &TestService::different_code(&code))
        .await
        .assert_code("3208");
    portal.post_with_code("/i/resetpwd", PHONE, "new123", &code).await.assert_code("3201");
    // It was not used up: the same person may well register with it.
    portal.post_with_code("/i/register", PHONE, "new123", &code).await.assert_code("200");
}

#[tokio::test]
async fn invalid_fields_are_named() {
    let portal = TestService::new().await;
    portal.register_user(PHONE, "hna123").await;
    let code = portal.request_code_for(PHONE).await;
    portal.post_with_code("/i/resetpwd", "mark", "new123", &code).await.assert_field_error("username");
    portal.post_with_code("/i/resetpwd", PHONE, "short", &code).await.assert_field_error("password");
    portal.post_with_code("/i/resetpwd", PHONE, &"x".repeat(129), &code).await.assert_field_error("password");
    portal.post_with_code("/i/resetpwd", PHONE, "new123", &code).await.assert_code("200");
}

#[tokio::test]
async fn a_code_of_another_user_is_rejected() {
    let portal = TestService::new().await;
    portal.register_user(PHONE, "hna123").await;
    portal.register_user("13900139000", "hna123").await;
    let code = portal.request_code_for("13900139000").await;
    // Unless, one time in a million, both are the same.
    let own = portal.request_code_for(PHONE).await;
    assert_ne!(code, own);
    portal.post_with_code("/i/resetpwd", PHONE, "new123", &code).await.assert_code("3208");
    portal.post_with_code("/i/resetpwd", "13900139000", "new123", &code).await.assert_code("200");
    portal.login(PHONE, "hna123").await.assert_code("200");
}

#[tokio::test]
async fn a_phone_code_cannot_reset_an_account_whose_name_is_that_number() {
    let portal = TestService::new().await;
    portal.lab.user(PHONE).password("hna123").add().await;
    let code = portal.request_code_for(PHONE).await;
    portal.post_with_code("/i/resetpwd", PHONE, "new123", &code).await.assert_code("3201");
    portal.login(PHONE, "hna123").await.assert_code("200");
}
