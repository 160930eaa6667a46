//! A laboratory with the service in it, and how clients of this dialect speak.

use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use stele_core::usecase::set_status::UserStatus;
use stele_core::user::{User, UserId, UserRef};
use stele_testkit::{Lab, Running, md5_hex};

pub(crate) const LOGIN: &str = "/api/v1/cloudbox/smarttms/auth/authsalt";
pub(crate) const PWDRESET: &str = "/api/v1/cloudbox/auth/pwdreset";
pub(crate) const LOGOUT: &str = "/api/v1/cloudbox/smarttms/logout";

pub(crate) const BYE: &str = r#"{"msg":"退出成功"}"#;
pub(crate) const WRONG: &str = r#"{"message":"用户名或密码错误","code":"1002"}"#;
pub(crate) const STALE: &str = r#"{"message":"时间戳已过期","code":"1003"}"#;
pub(crate) const REPLAYED: &str = r#"{"message":"请求已被使用","code":"1004"}"#;
pub(crate) const NO_TOKEN: &str = r#"{"message":"登录凭证缺失或已失效","code":"1005"}"#;
pub(crate) const DISABLED: &str = r#"{"message":"用户已被禁用","code":"1006"}"#;
pub(crate) const TOO_MANY: &str = r#"{"message":"操作过于频繁，请稍后再试","code":"1007"}"#;

pub(crate) struct Bench {
    pub(crate) lab: Lab,
    pub(crate) service: Running,
    http: reqwest::Client,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap().to_owned()
    }

    /// The `user_token` of a success.
    pub(crate) fn token(&self) -> String {
        assert_eq!((self.status, self.code().as_str()), (200, "0000"), "{self:?}");
        self.json()["data"]["user_token"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text.as_str()), (status, text));
    }
}

/// `md5(md5(password) + at)`, as the document has it.
pub(crate) fn salted(password: &str, at: i64) -> String {
    md5_hex(&format!("{}{at}", md5_hex(password)))
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        Self::on(Lab::with(settings).await).await
    }

    pub(crate) async fn on(lab: Lab) -> Self {
        let service = lab.start(svc_cloudbox::SERVICE).await;
        Self { lab, service, http: stele_testkit::http() }
    }

    pub(crate) fn now(&self) -> i64 {
        self.lab.clock().now().as_secs()
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.lab.clock().advance(Duration::from_secs(seconds));
    }

    pub(crate) fn request(&self, path: &str) -> RequestBuilder {
        self.http.post(self.service.url(path))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
        Answer { status, retry_after, text: response.text().await.unwrap() }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(path).json(body)).await
    }

    pub(crate) async fn post_as(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(path).header("content-type", content_type).body(body)).await
    }

    /// Logs in with a proof made at `at`.
    pub(crate) async fn login_at(&self, username: &str, password: &str, at: i64) -> Answer {
        let body = json!({ "username": username, "password": salted(password, at), "timestamp": at });
        self.post(LOGIN, &body).await
    }

    /// Logs in with a proof made now. Once a second at most: each proof is good once.
    pub(crate) async fn login(&self, username: &str, password: &str) -> Answer {
        self.login_at(username, password, self.now()).await
    }

    /// Changes a password, with a proof made now.
    pub(crate) async fn pwdreset(&self, user: impl Into<Value>, old: &str, new: &str) -> Answer {
        let body = json!({
            "user_id": user.into(),
            "orig_password": salted(old, self.now()),
            "new_password": md5_hex(new),
            "timestamp": self.now(),
        });
        self.post(PWDRESET, &body).await
    }

    pub(crate) async fn logout(&self, authorization: &str) -> Answer {
        self.send(self.request(LOGOUT).header("authorization", authorization)).await
    }

    pub(crate) async fn disable(&self, user: &User, disabled: bool) {
        let status = if disabled { UserStatus::Disabled } else { UserStatus::Active };
        self.lab.use_cases().set_status(by_id(user.id), status).await.unwrap();
    }

    /// How many password hashes were computed so far.
    pub(crate) fn hashes(&self) -> u64 {
        self.lab.deps().hasher.computed()
    }
}

pub(crate) fn by_id(id: UserId) -> UserRef {
    UserRef::Id(id)
}
