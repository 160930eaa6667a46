//! When a store is gone or hashing is full: 503 in dialect, no token passes for live, and all is well when it is back.

use stele_testkit::STORES;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{Bench, Reply as _};

impl Bench {
    async fn call(&self, method: &str, path: &str, token: &str, body: &str) -> stele_testkit::Answer {
        let request = self.request(method, &format!("/api/v1/Auth/{path}")).header("token", token);
        self.send(request.body(body.to_owned())).await
    }

    async fn is_unavailable(&self, method: &str, path: &str, token: &str, body: &str, message: &str) {
        let answer = self.call(method, path, token, body).await;
        // To the byte, so nothing of the cause.
        answer.fails(503, message);
        assert_eq!(answer.header("retry-after"), "1", "{path}");
    }
}

#[tokio::test]
async fn without_a_store_nothing_opens_and_with_it_all_is_well() {
    const UPDATE: &str = "account=a&password=new123";
    for (store, down) in STORES {
        let bench = Bench::new().await;
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
            bench.is_unavailable(method, path, token, body, message).await;
        }
        if store == "users" {
            // A session that is gone is known to be; captchas are nobody's.
            bench.call("GET", "Logout", &dead, "").await.fails(401, "注销失败");
            bench.call("POST", "updatePassword", &dead, UPDATE).await.fails(401, "更新密码失败");
            bench.captcha().await;
        } else {
            bench.is_unavailable("GET", "Logout", &dead, "", "服务暂不可用").await;
            bench.is_unavailable("POST", "updatePassword", &dead, UPDATE, "服务暂不可用").await;
            for (method, path) in [("GET", "getCAPTCHA"), ("POST", "CAPTCHA"), ("GET", "CAPTCHA/1")] {
                bench.is_unavailable(method, path, "", "", "获取验证码失败").await;
            }
        }
        down(&bench.lab, false);

        assert!(bench.lives(&token).await, "{store}");
        assert_eq!(bench.lab.codes().len(), 1, "{store}");
        bench.call("GET", "Logout", &dead, "").await.fails(401, "注销失败");
        bench.call("POST", "updatePassword", &dead, UPDATE).await.fails(401, "更新密码失败");
        assert_eq!(bench.call("POST", "updatePassword", &reset, UPDATE).await.message(), "更新密码成功");
        bench.call("POST", "updatePassword", &reset, UPDATE).await.fails(401, "更新密码失败");
        bench.call("GET", "Logout", &token, "").await.fails(401, "注销失败");
        assert_eq!(bench.call("POST", "Login", "", UPDATE).await.message(), "登录成功");
    }
}

#[tokio::test]
async fn a_full_hashing_queue_asks_to_come_back_and_costs_nothing() {
    const FORM: &str = "account=a&password=123456";
    let mut bench = Bench::new().await;
    bench.lab.user("a").phone("13800138000").add().await;
    let token = bench.login("a", "123456").await;
    let full = bench.lab.start_when_hashing_is_full(svc_jwt::SERVICE).await;
    let idle = std::mem::replace(&mut bench.service, full);
    // More than the limits let pass, had they been counted.
    for _ in 0..8 {
        bench.is_unavailable("POST", "updatePassword", &token, FORM, "服务暂不可用").await;
    }
    // What costs no hash is served.
    assert_eq!(
        bench.post("/api/vi/Auth/ForgetPassword", "account=a&phone=13800138000").await.message(),
        "发送短信成功"
    );
    bench.service = idle;
    assert!(bench.lives(&token).await);
    assert_eq!(bench.call("POST", "updatePassword", &token, FORM).await.message(), "更新密码成功");
    bench.login("a", "123456").await;
}
