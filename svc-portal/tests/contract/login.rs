//! Login (/i/login).

use stele_core::user::Profile;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{DEFAULT_ADDRESS, PHONE, TestService, to_base64};

#[tokio::test]
async fn the_login_response_matches_the_document_exactly() {
    let service = TestService::new().await;
    let profile = Profile { org_id: "100001".into(), memo: "备注".into(), ..Profile::default() };
    service.lab.user("Mark").password("hna123").phone(PHONE).email("123456@qq.cpom").profile(profile).add().await;
    let response = service.login(PHONE, "hna123").await;
    let expected = concat!(
        r#"{"status":{"status_code":"200","status_message":"OK","message":"OK"},"#,
        r#""content":{"id":"1","user_name":"Mark","mobile":"13800138000","email":"123456@qq.cpom","user_type":1,"#,
        r#""gid":"100001","orgId":"100001","passport":"13800138000","memo":"备注"}}"#
    );
    assert_eq!(response.assert_code("200").body, expected);
    assert_eq!(service.login("123456@QQ.cpom", "hna123").await.body, expected);
    assert_eq!(service.login("+8613800138000", "hna123").await.body, expected);
}

#[tokio::test]
async fn an_unknown_user_gets_the_documented_distinct_code() {
    let service = TestService::new().await;
    service.register_user(PHONE, "hna123").await;
    assert_eq!(service.login(PHONE, "hna124").await.assert_code("3202").status_message, "密码错误");
    assert_eq!(service.login("13900139000", "hna123").await.assert_code("3201").status_message, "没有此用户");
    assert_eq!(service.login("unknown@qq.com", "hna123").await.assert_code("3201").set_cookie, None);
}

#[tokio::test]
async fn a_setting_hides_whether_a_user_exists() {
    let service = TestService::with_settings(&[("STELE_PORTAL_TELL_UNKNOWN", "false")]).await;
    service.register_user(PHONE, "hna123").await;
    service.lab.user("mark").password("hna123").add().await;
    let wrong = service.login(PHONE, "hna124").await;
    wrong.assert_code("3202");
    for unknown in ["13900139000", "unknown@qq.com", "mark", "unknown", "\u{0}"] {
        assert_eq!(service.login(unknown, "hna123").await.body, wrong.body, "{unknown}");
    }
}

#[tokio::test]
async fn an_invalid_boolean_setting_prevents_startup() {
    let lab = stele_testkit::TestLab::with_settings(&[("STELE_PORTAL_TELL_UNKNOWN", "maybe")]).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = svc_portal::SERVICE.start(lab.context(), listener).err().unwrap().to_string();
    assert!(error.contains("STELE_PORTAL_TELL_UNKNOWN") && error.contains("maybe"), "{error}");
}

#[tokio::test]
async fn usernames_and_nonstandard_phones_cannot_log_in() {
    let service = TestService::new().await;
    service.lab.user("mark").password("hna123").phone("1548736484").email("1@hna").add().await;
    for username in ["mark", "MARK", "1548736484", "100001", "1"] {
        service.login(username, "hna123").await.assert_code("3201");
    }
    service.login("1@hna", "hna123").await.assert_code("200");
}

#[tokio::test]
async fn passwords_are_accepted_in_every_base64_variant() {
    let service = TestService::new().await;
    // ab>ab> is YWI+YWI+ in base64; in a form without percent-encoding each plus is decoded as a space.
    service.register_user(PHONE, "ab>ab>").await;
    for password in ["YWI%2BYWI%2B", "YWI+YWI+", "YWI-YWI-", "%20YWI%2BYWI%2B%0A"] {
        let request =
            service.request(DEFAULT_ADDRESS, "/i/login").header("content-type", "application/x-www-form-urlencoded");
        let response = service.send(request.body(format!("password={password}&username={PHONE}"))).await;
        assert_eq!(response.status_code, "200", "{password}");
    }
}

#[tokio::test]
async fn the_cookie_is_http_only_and_secure_behind_https() {
    let service = TestService::new().await;
    service.register_user(PHONE, "hna123").await;
    let response = service.login(PHONE, "hna123").await;
    let token = response.session_token();
    assert_eq!(token.len(), 32);
    let expected = format!("stele_session={token}; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(response.set_cookie.as_deref(), Some(expected.as_str()));
    assert!(service.is_session_valid(&token).await);

    let body = format!("username={PHONE}&password={}", to_base64("hna123"));
    for (scheme, secure) in [("https", true), ("HTTPS", true), ("http", false), ("", false)] {
        let request =
            service.request(DEFAULT_ADDRESS, "/i/login").header("x-forwarded-proto", scheme).body(body.clone());
        let cookie = service.send(request).await.set_cookie.unwrap();
        assert_eq!(cookie.ends_with("; SameSite=Lax; Secure"), secure, "{scheme}: {cookie}");
    }
}

#[tokio::test]
async fn x_forwarded_proto_from_an_untrusted_peer_is_ignored() {
    let service = TestService::with_settings(&[("STELE_TRUSTED_PROXIES", "")]).await;
    service.register_user(PHONE, "hna123").await;
    let body = format!("username={PHONE}&password={}", to_base64("hna123"));
    let request = service.request(DEFAULT_ADDRESS, "/i/login").header("x-forwarded-proto", "https").body(body);
    let cookie = service.send(request).await.set_cookie.unwrap();
    assert!(!cookie.contains("Secure"), "{cookie}");
}
