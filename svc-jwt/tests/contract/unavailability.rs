//! Store outages and a full hashing queue: 503 in the dialect's format, no token is accepted, and the service recovers.

use stele_testkit::{STORES, StoreState};

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{ResponseExt as _, TestService};

impl TestService {
    async fn call_with_token(&self, method: &str, path: &str, token: &str, body: &str) -> stele_testkit::TestResponse {
        let request = self.request(method, &format!("/api/v1/Auth/{path}")).header("token", token);
        self.send(request.body(body.to_owned())).await
    }

    async fn assert_unavailable(&self, method: &str, path: &str, token: &str, body: &str, message: &str) {
        let response = self.call_with_token(method, path, token, body).await;
        // The exact bytes, which reveal nothing about the cause.
        response.assert_error(503, message);
        assert_eq!(response.header("retry-after"), "1", "{path}");
    }
}

#[tokio::test]
async fn a_store_outage_fails_closed_and_recovers() {
    const UPDATE: &str = "account=a&password=new123";
    for (store, set_store) in STORES {
        let service = TestService::new().await;
        service.lab.user("a").phone("13800138000").add().await;
        let ended_token = service.login("a", "123456").await;
        assert_eq!(service.logout(&ended_token).await.message(), "注销成功");
        let token = service.login("a", "123456").await;
        let reset = service.reset_token("a", "13800138000").await;

        set_store(&service.lab, StoreState::Down);
        for (method, path, token, body, message) in [
            ("POST", "Login", "", "account=a&password=123456", "服务暂不可用"),
            ("GET", "Logout", token.as_str(), "", "服务暂不可用"),
            ("POST", "ForgetPassword", "", "account=a&phone=13800138000", "发送短信失败"),
            ("POST", "ForgetPassword", "", "account=unknown&phone=13800138000", "发送短信失败"),
            ("POST", "validatePhone", "", "account=a&identifyCode=123456", "服务暂不可用"),
            ("POST", "updatePassword", &token, UPDATE, "服务暂不可用"),
            ("POST", "updatePassword", &reset, UPDATE, "服务暂不可用"),
        ] {
            service.assert_unavailable(method, path, token, body, message).await;
        }
        if store == "users" {
            // The state store alone knows that a session has ended, and holds the captchas.
            service.call_with_token("GET", "Logout", &ended_token, "").await.assert_error(401, "注销失败");
            service
                .call_with_token("POST", "updatePassword", &ended_token, UPDATE)
                .await
                .assert_error(401, "更新密码失败");
            service.captcha().await;
        } else {
            service.assert_unavailable("GET", "Logout", &ended_token, "", "服务暂不可用").await;
            service.assert_unavailable("POST", "updatePassword", &ended_token, UPDATE, "服务暂不可用").await;
            for (method, path) in [("GET", "getCAPTCHA"), ("POST", "CAPTCHA"), ("GET", "CAPTCHA/1")] {
                service.assert_unavailable(method, path, "", "", "获取验证码失败").await;
            }
        }
        set_store(&service.lab, StoreState::Up);

        assert!(service.is_session_valid(&token).await, "{store}");
        assert_eq!(service.lab.sent_codes().len(), 1, "{store}");
        service.call_with_token("GET", "Logout", &ended_token, "").await.assert_error(401, "注销失败");
        service.call_with_token("POST", "updatePassword", &ended_token, UPDATE).await.assert_error(401, "更新密码失败");
        assert_eq!(service.call_with_token("POST", "updatePassword", &reset, UPDATE).await.message(), "更新密码成功");
        service.call_with_token("POST", "updatePassword", &reset, UPDATE).await.assert_error(401, "更新密码失败");
        service.call_with_token("GET", "Logout", &token, "").await.assert_error(401, "注销失败");
        assert_eq!(service.call_with_token("POST", "Login", "", UPDATE).await.message(), "登录成功");
    }
}

#[tokio::test]
async fn a_full_hashing_queue_returns_503_and_counts_no_attempt() {
    const FORM: &str = "account=a&password=123456";
    let mut service = TestService::new().await;
    service.lab.user("a").phone("13800138000").add().await;
    let token = service.login("a", "123456").await;
    let full = service.lab.start_with_full_hash_queue(svc_jwt::SERVICE).await;
    let idle = std::mem::replace(&mut service.service, full);
    // More attempts than the rate limit permits, if they were counted.
    for _ in 0..8 {
        service.assert_unavailable("POST", "updatePassword", &token, FORM, "服务暂不可用").await;
    }
    // Calls without hashing still work.
    assert_eq!(
        service.post("/api/vi/Auth/ForgetPassword", "account=a&phone=13800138000").await.message(),
        "发送短信成功"
    );
    service.service = idle;
    assert!(service.is_session_valid(&token).await);
    assert_eq!(service.call_with_token("POST", "updatePassword", &token, FORM).await.message(), "更新密码成功");
    service.login("a", "123456").await;
}

#[tokio::test]
async fn a_changed_password_is_answered_as_success_even_if_the_session_is_lost() {
    let service = TestService::new().await;
    service.lab.user("a").phone("13800138000").add().await;
    let token = service.login("a", "123456").await;
    service.lab.lose_responses_to("restamp_session");
    let response = service.call_with_token("POST", "updatePassword", &token, "account=a&password=new123").await;
    assert_eq!(response.message(), "更新密码成功");
    service.lab.set_store_observer(None);
    service.login("a", "new123").await;
}
