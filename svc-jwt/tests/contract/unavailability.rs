//! When a store is gone or hashing is full: 503 in dialect, no token passes for live, and all is well when it is back.

use stele_testkit::STORES;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{ResponseExt as _, TestService};

impl TestService {
    async fn call_with_token(&self, method: &str, path: &str, token: &str, body: &str) -> stele_testkit::TestResponse {
        let request = self.request(method, &format!("/api/v1/Auth/{path}")).header("token", token);
        self.send(request.body(body.to_owned())).await
    }

    async fn assert_unavailable(&self, method: &str, path: &str, token: &str, body: &str, message: &str) {
        let answer = self.call_with_token(method, path, token, body).await;
        // To the byte, so nothing of the cause.
        answer.assert_error(503, message);
        assert_eq!(answer.header("retry-after"), "1", "{path}");
    }
}

#[tokio::test]
async fn a_store_outage_fails_closed_and_recovers() {
    const UPDATE: &str = "account=a&password=new123";
    for (store, down) in STORES {
        let bench = TestService::new().await;
        bench.lab.user("a").phone("13800138000").add().await;
        let dead = bench.login("a", "123456").await;
        assert_eq!(bench.logout(&dead).await.message(), "注销成功");
        let token = bench.login("a", "123456").await;
        let reset = bench.reset_token("a", "13800138000").await;

        down(&bench.lab, true);
        for (method, path, token, body, message) in [
            ("POST", "Login", "", "account=a&password=123456", "服务暂不可用"),
            ("GET", "Logout", token.as_str(), "", "服务暂不可用"),
            ("POST", "ForgetPassword", "", "account=a&phone=13800138000", "发送短信失败"),
            ("POST", "ForgetPassword", "", "account=nobody&phone=13800138000", "发送短信失败"),
            ("POST", "validatePhone", "", "account=a&identifyCode=123456", "服务暂不可用"),
            ("POST", "updatePassword", &token, UPDATE, "服务暂不可用"),
            ("POST", "updatePassword", &reset, UPDATE, "服务暂不可用"),
        ] {
            bench.assert_unavailable(method, path, token, body, message).await;
        }
        if store == "users" {
            // A session that is gone is known to be; captchas are nobody's.
            bench.call_with_token("GET", "Logout", &dead, "").await.assert_error(401, "注销失败");
            bench.call_with_token("POST", "updatePassword", &dead, UPDATE).await.assert_error(401, "更新密码失败");
            bench.captcha().await;
        } else {
            bench.assert_unavailable("GET", "Logout", &dead, "", "服务暂不可用").await;
            bench.assert_unavailable("POST", "updatePassword", &dead, UPDATE, "服务暂不可用").await;
            for (method, path) in [("GET", "getCAPTCHA"), ("POST", "CAPTCHA"), ("GET", "CAPTCHA/1")] {
                bench.assert_unavailable(method, path, "", "", "获取验证码失败").await;
            }
        }
        down(&bench.lab, false);

        assert!(bench.is_session_valid(&token).await, "{store}");
        assert_eq!(bench.lab.sent_codes().len(), 1, "{store}");
        bench.call_with_token("GET", "Logout", &dead, "").await.assert_error(401, "注销失败");
        bench.call_with_token("POST", "updatePassword", &dead, UPDATE).await.assert_error(401, "更新密码失败");
        assert_eq!(bench.call_with_token("POST", "updatePassword", &reset, UPDATE).await.message(), "更新密码成功");
        bench.call_with_token("POST", "updatePassword", &reset, UPDATE).await.assert_error(401, "更新密码失败");
        bench.call_with_token("GET", "Logout", &token, "").await.assert_error(401, "注销失败");
        assert_eq!(bench.call_with_token("POST", "Login", "", UPDATE).await.message(), "登录成功");
    }
}

#[tokio::test]
async fn a_full_hashing_queue_returns_503_and_counts_no_attempt() {
    const FORM: &str = "account=a&password=123456";
    let mut bench = TestService::new().await;
    bench.lab.user("a").phone("13800138000").add().await;
    let token = bench.login("a", "123456").await;
    let full = bench.lab.start_with_full_hash_queue(svc_jwt::SERVICE).await;
    let idle = std::mem::replace(&mut bench.service, full);
    // More than the limits let pass, had they been counted.
    for _ in 0..8 {
        bench.assert_unavailable("POST", "updatePassword", &token, FORM, "服务暂不可用").await;
    }
    // What costs no hash is served.
    assert_eq!(
        bench.post("/api/vi/Auth/ForgetPassword", "account=a&phone=13800138000").await.message(),
        "发送短信成功"
    );
    bench.service = idle;
    assert!(bench.is_session_valid(&token).await);
    assert_eq!(bench.call_with_token("POST", "updatePassword", &token, FORM).await.message(), "更新密码成功");
    bench.login("a", "123456").await;
}
