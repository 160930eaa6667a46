//! /i/login

use stele_core::user::Profile;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::portal::{HOME, PHONE, Portal, b64};

#[tokio::test]
async fn the_answer_is_the_documents_to_the_byte() {
    let portal = Portal::new().await;
    let profile = Profile { org_id: "100001".into(), memo: "备注".into(), ..Profile::default() };
    portal.lab.user("Mark").password("hna123").phone(PHONE).email("123456@qq.cpom").profile(profile).add().await;
    let answer = portal.login(PHONE, "hna123").await;
    let expected = concat!(
        r#"{"status":{"status_code":"200","status_message":"OK","message":"OK"},"#,
        r#""content":{"id":"1","user_name":"Mark","mobile":"13800138000","email":"123456@qq.cpom","user_type":1,"#,
        r#""gid":"100001","orgId":"100001","passport":"13800138000","memo":"备注"}}"#
    );
    assert_eq!(answer.is("200").body, expected);
    assert_eq!(portal.login("123456@QQ.cpom", "hna123").await.body, expected);
    assert_eq!(portal.login("+8613800138000", "hna123").await.body, expected);
}

#[tokio::test]
async fn an_unknown_user_is_told_from_a_wrong_password_as_the_document_has_it() {
    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    assert_eq!(portal.login(PHONE, "hna124").await.is("3202").text, "密码错误");
    assert_eq!(portal.login("13900139000", "hna123").await.is("3201").text, "没有此用户");
    assert_eq!(portal.login("nobody@qq.com", "hna123").await.is("3201").set_cookie, None);
}

#[tokio::test]
async fn they_can_be_answered_the_same() {
    let portal = Portal::with(&[("STELE_PORTAL_TELL_UNKNOWN", "false")]).await;
    portal.member(PHONE, "hna123").await;
    portal.lab.user("mark").password("hna123").add().await;
    let wrong = portal.login(PHONE, "hna124").await;
    wrong.is("3202");
    for unknown in ["13900139000", "nobody@qq.com", "mark", "nobody", "\u{0}"] {
        assert_eq!(portal.login(unknown, "hna123").await.body, wrong.body, "{unknown}");
    }
}

#[tokio::test]
async fn a_setting_that_is_no_flag_stops_the_service() {
    let lab = stele_testkit::Lab::with(&[("STELE_PORTAL_TELL_UNKNOWN", "maybe")]).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = svc_portal::SERVICE.start(lab.context(), listener).err().unwrap().to_string();
    assert!(error.contains("STELE_PORTAL_TELL_UNKNOWN") && error.contains("maybe"), "{error}");
}

#[tokio::test]
async fn names_and_other_phones_do_not_log_in() {
    let portal = Portal::new().await;
    portal.lab.user("mark").password("hna123").phone("1548736484").email("1@hna").add().await;
    for not_here in ["mark", "MARK", "1548736484", "100001", "1"] {
        portal.login(not_here, "hna123").await.is("3201");
    }
    portal.login("1@hna", "hna123").await.is("200");
}

#[tokio::test]
async fn base64_comes_in_many_writings() {
    let portal = Portal::new().await;
    // ab>ab> is YWI+YWI+: each plus turns into a space in a form that is not percent-encoded.
    portal.member(PHONE, "ab>ab>").await;
    for password in ["YWI%2BYWI%2B", "YWI+YWI+", "YWI-YWI-", "%20YWI%2BYWI%2B%0A"] {
        let request = portal.request(HOME, "/i/login").header("content-type", "application/x-www-form-urlencoded");
        let answer = portal.send(request.body(format!("password={password}&username={PHONE}"))).await;
        assert_eq!(answer.code, "200", "{password}");
    }
}

#[tokio::test]
async fn the_cookie_is_for_http_alone_and_secure_behind_https() {
    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    let answer = portal.login(PHONE, "hna123").await;
    let token = answer.token();
    assert_eq!(token.len(), 32);
    let expected = format!("stele_session={token}; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(answer.set_cookie.as_deref(), Some(expected.as_str()));
    assert!(portal.lives(&token).await);

    let body = format!("username={PHONE}&password={}", b64("hna123"));
    for (scheme, secure) in [("https", true), ("HTTPS", true), ("http", false), ("", false)] {
        let request = portal.request(HOME, "/i/login").header("x-forwarded-proto", scheme).body(body.clone());
        let cookie = portal.send(request).await.set_cookie.unwrap();
        assert_eq!(cookie.ends_with("; SameSite=Lax; Secure"), secure, "{scheme}: {cookie}");
    }
}

#[tokio::test]
async fn a_stranger_is_not_believed_about_https() {
    let portal = Portal::with(&[("STELE_TRUSTED_PROXIES", "")]).await;
    portal.member(PHONE, "hna123").await;
    let body = format!("username={PHONE}&password={}", b64("hna123"));
    let request = portal.request(HOME, "/i/login").header("x-forwarded-proto", "https").body(body);
    let cookie = portal.send(request).await.set_cookie.unwrap();
    assert!(!cookie.contains("Secure"), "{cookie}");
}
