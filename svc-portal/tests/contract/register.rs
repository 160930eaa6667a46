//! /i/register

use stele_testkit::conformance::DialectUnderTest as _;

use crate::portal::{PHONE, Portal};

const OK: &str = r#"{"status":{"status_code":"200","status_message":"OK","message":"OK"},"content":{"memo":""}}"#;

#[tokio::test]
async fn a_phone_and_an_e_mail_register_and_log_in() {
    let portal = Portal::with(&[("STELE_SMS_COUNTRIES", "86,1")]).await;
    for (number, username) in ["13800138000", "123456@qq.cpom", "+14155550123"].into_iter().enumerate() {
        let code = portal.code(username).await;
        let answer = portal.with_code("/i/register", username, "hna123", &code).await;
        assert_eq!(answer.is("200").body, OK);
        assert_eq!(answer.set_cookie, None, "registering is not logging in");
        let profile = portal.login(username, "hna123").await;
        assert_eq!(profile.is("200").content["passport"], username);
        assert_eq!(profile.content["user_name"], username);
        assert_eq!(profile.content["id"], (number + 1).to_string());
        assert_eq!(profile.content["gid"], (number + 100_001).to_string());
        let (mobile, email) = if username.contains('@') { ("", username) } else { (username, "") };
        assert_eq!((&profile.content["mobile"], &profile.content["email"]), (&mobile.into(), &email.into()));
    }
}

#[tokio::test]
async fn a_bad_code_is_told_before_a_known_user() {
    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    portal.with_code("/i/register", PHONE, "hna123", "000000").await.is("3208");
    let code = portal.code(PHONE).await;
    portal.with_code("/i/register", PHONE, "hna123", &Portal::not(&code)).await.is("3208");
    portal.with_code("/i/register", PHONE, "other123", &code).await.is("3207");
    portal.login(PHONE, "hna123").await.is("200");
}

#[tokio::test]
async fn an_account_is_one_however_it_is_written() {
    let portal = Portal::new().await;
    portal.member("A.B@QQ.com", "hna123").await;
    portal.lab.user("mark").phone(PHONE).add().await;
    for (sent, again) in [("a.b@qq.COM", "a.b@qq.com"), ("+8613800138000", " 13800138000 ")] {
        portal.code(sent).await;
        let code = portal.lab.code_for(sent);
        portal.with_code("/i/register", again, "hna123", &code).await.is("3207");
    }
    let profile = portal.login("a.b@qq.com", "hna123").await;
    assert_eq!(profile.is("200").content["passport"], "A.B@QQ.com", "as it was registered with");
}

#[tokio::test]
async fn what_cannot_be_registered_is_named_and_costs_no_try() {
    let portal = Portal::new().await;
    let code = portal.code(PHONE).await;
    for bad in ["mark", "1380013800", "a@b@c.cn", "1@hna", "12345678901234567890"] {
        portal.with_code("/i/register", bad, "hna123", &code).await.refuses("username");
    }
    let long = "密".repeat(129);
    for bad in ["12345", "密码密码密", &long] {
        // More often than a code may be tried; the wrong code is not looked at.
        for code in [&code, "000000", "000000"] {
            portal.with_code("/i/register", PHONE, bad, code).await.refuses("password");
        }
    }
    portal.with_code("/i/register", PHONE, &"密".repeat(128), &code).await.is("200");
    portal.login(PHONE, &"密".repeat(128)).await.is("200");
}

#[tokio::test]
async fn the_shortest_password_is_a_setting() {
    let portal = Portal::with(&[("STELE_PASSWORD_MIN", "8")]).await;
    let code = portal.code(PHONE).await;
    portal.with_code("/i/register", PHONE, "1234567", &code).await.refuses("password");
    portal.with_code("/i/register", PHONE, "12345678", &code).await.is("200");
}
