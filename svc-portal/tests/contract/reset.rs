//! /i/resetpwd

use stele_core::user::Profile;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::portal::{PHONE, Portal};

#[tokio::test]
async fn a_code_sets_a_new_password_and_ends_every_session() {
    let portal = Portal::new().await;
    let profile = Profile { memo: "备注".into(), ..Profile::default() };
    portal.lab.user("mark").password("hna123").phone(PHONE).profile(profile).add().await;
    let token = portal.login(PHONE, "hna123").await.token();
    let code = portal.code(PHONE).await;
    let answer = portal.with_code("/i/resetpwd", PHONE, "new123", &code).await;
    assert_eq!(
        answer.is("200").body,
        r#"{"status":{"status_code":"200","status_message":"OK","message":"OK"},"content":{"memo":"备注"}}"#
    );
    assert!(!portal.lives(&token).await);
    portal.login(PHONE, "hna123").await.is("3202");
    portal.login(PHONE, "new123").await.is("200");
}

#[tokio::test]
async fn a_bad_code_is_told_before_an_unknown_user() {
    let portal = Portal::new().await;
    portal.with_code("/i/resetpwd", PHONE, "new123", "000000").await.is("3208");
    let code = portal.code(PHONE).await;
    portal.with_code("/i/resetpwd", PHONE, "new123", &Portal::not(&code)).await.is("3208");
    portal.with_code("/i/resetpwd", PHONE, "new123", &code).await.is("3201");
    // It was not used up: the same person may well register with it.
    portal.with_code("/i/register", PHONE, "new123", &code).await.is("200");
}

#[tokio::test]
async fn what_cannot_be_set_is_named() {
    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    let code = portal.code(PHONE).await;
    portal.with_code("/i/resetpwd", "mark", "new123", &code).await.refuses("username");
    portal.with_code("/i/resetpwd", PHONE, "short", &code).await.refuses("password");
    portal.with_code("/i/resetpwd", PHONE, &"x".repeat(129), &code).await.refuses("password");
    portal.with_code("/i/resetpwd", PHONE, "new123", &code).await.is("200");
}

#[tokio::test]
async fn a_code_of_someone_else_does_not_do() {
    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    portal.member("13900139000", "hna123").await;
    let code = portal.code("13900139000").await;
    // Unless, one time in a million, both are the same.
    let own = portal.code(PHONE).await;
    assert_ne!(code, own);
    portal.with_code("/i/resetpwd", PHONE, "new123", &code).await.is("3208");
    portal.with_code("/i/resetpwd", "13900139000", "new123", &code).await.is("200");
    portal.login(PHONE, "hna123").await.is("200");
}

#[tokio::test]
async fn a_code_to_a_phone_does_not_open_the_account_that_is_named_like_it() {
    let portal = Portal::new().await;
    portal.lab.user(PHONE).password("hna123").add().await;
    let code = portal.code(PHONE).await;
    portal.with_code("/i/resetpwd", PHONE, "new123", &code).await.is("3201");
    portal.login(PHONE, "hna123").await.is("200");
}
