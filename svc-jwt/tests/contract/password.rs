//! Password reset (忘记密码, 验证手机) and password change (更新密码).

use stele_testkit::send_raw;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{ResponseExt as _, TestService};

const FORGET: &str = "/api/vi/Auth/ForgetPassword";
const VALIDATE: &str = "/api/vi/Auth/validatePhone";
const PHONE: &str = "13800138000";

async fn service_with_two_users() -> TestService {
    let service = TestService::new().await;
    service.lab.user("a").phone(PHONE).email("a@b.cn").add().await;
    service.lab.user("b").phone("13900139000").add().await;
    service
}

#[tokio::test]
async fn forgot_password_does_not_reveal_whether_account_and_recipient_match() {
    let service = service_with_two_users().await;
    let number = stele_core::user::FIRST_USER_NUMBER;
    let mut responses = Vec::new();
    for body in [
        format!("account=a&phone={PHONE}"),
        "account=a&phone=13900139000".into(),
        "account=unknown&phone=13700137000".into(),
        "account=a&email=x@y.cn".into(),
        format!("account={number}&phone=13600136000"),
    ] {
        let request = format!(
            "POST {FORGET} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let response = send_raw(service.service.address(), request.as_bytes()).await;
        responses.push(response.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n"));
    }
    assert!(responses.iter().all(|response| *response == responses[0]), "{responses:#?}");
    assert!(responses[0].ends_with(r#"{"code":0,"message":"发送短信成功"}"#), "{}", responses[0]);
    let sent = service.lab.sent_codes();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].to.as_str(), sent[0].purpose, sent[0].dialect), (PHONE, "reset", "jwt"));
}

#[tokio::test]
async fn a_reset_code_goes_to_phone_or_email_with_phone_preferred() {
    let service = service_with_two_users().await;
    let forget = async |body: &str| service.post(FORGET, body).await;
    assert_eq!(forget("account=a&email=A@B.cn").await.message(), "发送短信成功");
    assert_eq!(service.lab.sent_codes().len(), 1);
    assert_eq!(forget("account=a&phone=%2B8613800138000&email=other@b.cn").await.message(), "发送短信成功");
    assert_eq!(service.lab.sent_codes().len(), 2);
    assert_eq!(forget("account=A@b.cn&phone=&email=a@b.cn").await.message(), "发送短信成功");
    assert_eq!(service.lab.sent_codes().len(), 3);
    forget("account=a").await.assert_error(400, "缺少参数: phone");
    forget("account=a&phone=123&email=a@b.cn").await.assert_error(400, "参数错误: phone");
    forget("account=a&email=13800138000").await.assert_error(400, "参数错误: email");
    assert_eq!(service.lab.sent_codes().len(), 3);
}

#[tokio::test]
async fn reset_requests_use_a_quota_of_this_dialect_only() {
    use stele_core::Error;
    use stele_core::code::CodePurpose;
    use stele_core::identifier::Recipient;
    use stele_core::usecase::RequestInfo;
    use stele_core::usecase::send_code::RecipientFilter;

    let service = service_with_two_users().await;
    let portal = RequestInfo::from_client("portal", "192.0.2.7".parse().unwrap());
    // The first account is unknown, so nothing is sent. Neither account's requests count against the quota of other
    // dialects.
    for (account, phone, sent) in [("no-such", "13900139000", 0), ("a", PHONE, 5)] {
        for _ in 0..5 {
            assert_eq!(service.post(FORGET, &format!("account={account}&phone={phone}")).await.status, 200);
        }
        assert_eq!(service.lab.sent_codes().len(), sent);
        service
            .post(FORGET, &format!("account={account}&phone={phone}"))
            .await
            .assert_error(429, "操作过于频繁，请稍后再试");
    }
    for phone in ["13900139000", PHONE] {
        let to = Recipient::parse(phone).unwrap();
        let send =
            async || service.lab.use_cases().send_code(&portal, &to, CodePurpose::Any, RecipientFilter::Anyone).await;
        for n in 0..5 {
            send().await.unwrap_or_else(|error| panic!("{phone}, {n}: {error}"));
        }
        assert!(matches!(send().await, Err(Error::RateLimited { .. })), "{phone}");
    }
}

#[tokio::test]
async fn unsent_reset_codes_do_not_consume_the_quota_of_other_dialects() {
    use stele_core::code::CodePurpose;
    use stele_core::identifier::Recipient;
    use stele_core::usecase::RequestInfo;
    use stele_core::usecase::send_code::RecipientFilter;

    let service = TestService::with_settings(&[("STELE_SEND_TOTAL", "3")]).await;
    for n in 0..3 {
        assert_eq!(service.post(FORGET, &format!("account=no-such&phone=1390013900{n}")).await.status, 200);
    }
    service.post(FORGET, "account=no-such&phone=13900139009").await.assert_error(429, "操作过于频繁，请稍后再试");
    assert_eq!(service.lab.sent_codes().len(), 0);
    let portal = RequestInfo::from_client("portal", "192.0.2.7".parse().unwrap());
    let to = Recipient::parse(PHONE).unwrap();
    service.lab.use_cases().send_code(&portal, &to, CodePurpose::Any, RecipientFilter::Anyone).await.unwrap();
}

#[tokio::test]
async fn an_address_may_request_thirty_codes_an_hour() {
    let service = TestService::new().await;
    for n in 0..30 {
        assert_eq!(service.post(FORGET, &format!("account=a&phone=138001380{n:02}")).await.status, 200);
    }
    service.post(FORGET, "account=a&phone=13900139000").await.assert_error(429, "操作过于频繁，请稍后再试");
}

#[tokio::test]
async fn a_code_is_bound_to_one_account_and_single_use() {
    let service = service_with_two_users().await;
    service.post(FORGET, &format!("account=a&phone={PHONE}")).await;
    let code = service.lab.last_code_for(PHONE);
    for account in ["b", "unknown"] {
        service.post(VALIDATE, &format!("account={account}&identifyCode={code}")).await.assert_error(200, "验证码错误");
    }
    // Any identifier of the account is accepted, and parameters in the query string as well as in the body.
    let response = service.post(&format!("{VALIDATE}?account={PHONE}&identifyCode={code}"), "").await;
    assert_eq!(response.message(), "验证码正确");
    assert_eq!(response.token().len(), 32);
    assert_eq!(response.header("authorization"), format!("Bearer {}", response.token()));
    assert_eq!(response.text, format!(r#"{{"code":0,"message":"验证码正确","token":"{}"}}"#, response.token()));
    service.post(VALIDATE, &format!("account=a&identifyCode={code}")).await.assert_error(200, "验证码错误");
}

#[tokio::test]
async fn a_reset_token_is_single_use_and_revokes_all_sessions() {
    let service = service_with_two_users().await;
    let session = service.login("a", "123456").await;
    let (token, other_token) = (service.reset_token("a", PHONE).await, service.reset_token("a", PHONE).await);
    service.update_password(&token, "b", "new123").await.assert_error(401, "更新密码失败");
    service.update_password(&token, "unknown", "new123").await.assert_error(401, "更新密码失败");
    service.update_password(&token, "a", "12345").await.assert_error(400, "参数错误: password");
    service.update_password(&token, "a", &"x".repeat(129)).await.assert_error(400, "参数错误: password");
    let updated = service.update_password(&format!("Bearer {token}"), "a", "new123").await;
    assert_eq!(updated.text, r#"{"code":0,"message":"更新密码成功"}"#);
    service.update_password(&token, "a", "other1").await.assert_error(401, "更新密码失败");
    service.update_password(&other_token, "a", "other1").await.assert_error(401, "更新密码失败");
    assert!(!service.is_session_valid(&session).await);
    service.post("/api/v1/Auth/Login", "account=a&password=123456").await.assert_error(200, "用户名或密码错误");
    service.login("a", "new123").await;
    service.login("b", "123456").await;
}

#[tokio::test]
async fn a_reset_token_expires_after_ten_minutes_and_is_no_login_token() {
    let service = service_with_two_users().await;
    let token = service.reset_token("a", PHONE).await;
    service.logout(&token).await.assert_error(401, "注销失败");
    service.advance_clock(600);
    service.update_password(&token, "a", "new123").await.assert_error(401, "更新密码失败");
    let token = service.reset_token("a", PHONE).await;
    service.advance_clock(599);
    assert_eq!(service.update_password(&token, "a", "new123").await.message(), "更新密码成功");
}

#[tokio::test]
async fn a_reset_token_redeemed_concurrently_works_once() {
    let service = service_with_two_users().await;
    let token = service.reset_token("a", PHONE).await;
    let (first, second) =
        tokio::join!(service.update_password(&token, "a", "first1"), service.update_password(&token, "a", "second"));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
}

#[tokio::test]
async fn a_password_change_by_login_token_revokes_every_other_session() {
    let service = service_with_two_users().await;
    let (own_token, other_token, token_of_b) =
        (service.login("a", "123456").await, service.login("a", "123456").await, service.login("b", "123456").await);
    let reset = service.reset_token("a", PHONE).await;
    service.update_password(&token_of_b, "a", "new123").await.assert_error(401, "更新密码失败");
    assert_eq!(service.update_password(&own_token, "a", "new123").await.message(), "更新密码成功");
    assert!(
        service.is_session_valid(&own_token).await
            && !service.is_session_valid(&other_token).await
            && service.is_session_valid(&token_of_b).await
    );
    service.update_password(&other_token, "a", "other1").await.assert_error(401, "更新密码失败");
    service.update_password(&reset, "a", "other1").await.assert_error(401, "更新密码失败");
    assert_eq!(service.update_password(&own_token, "A@b.cn", "newer1").await.message(), "更新密码成功");
    service.login("a", "newer1").await;
}

#[tokio::test]
async fn a_login_token_older_than_fifteen_minutes_cannot_change_the_password() {
    let service = service_with_two_users().await;
    let token = service.login("a", "123456").await;
    service.advance_clock(900);
    assert_eq!(service.update_password(&token, "a", "new123").await.message(), "更新密码成功");
    service.advance_clock(1);
    service.update_password(&token, "a", "newer1").await.assert_error(401, "更新密码失败");
    assert_eq!(service.logout(&token).await.message(), "注销成功", "the session itself is still valid");
}

#[tokio::test]
async fn a_malformed_token_cannot_change_the_password() {
    let service = service_with_two_users().await;
    for token in ["", "Bearer", "x", "a.b.c", "..", &"0".repeat(32), &"0".repeat(31)] {
        service.update_password(token, "a", "new123").await.assert_error(401, "更新密码失败");
    }
    service.login("a", "123456").await;
}

#[tokio::test]
async fn a_foreign_phone_gets_the_same_response_and_no_message() {
    let service = TestService::new().await;
    service.lab.user("a").phone("+85251234567").email("a@b.cn").add().await;
    for account in ["a", "unknown"] {
        let response = service.post(FORGET, &format!("account={account}&phone=%2B85251234567")).await;
        assert_eq!((response.status, response.message().as_str()), (200, "发送短信成功"));
    }
    assert_eq!(service.lab.sent_codes(), []);
    service.post(FORGET, "account=a&phone=%2B862112345678").await.assert_error(400, "参数错误: phone");
}
