//! A laboratory with the service in it, and how clients of this dialect speak.

use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use stele_core::proof::{Proof, Salted};
use stele_core::usecase::Caller;
use stele_core::usecase::login::{self, Audience, Carrier, Challenge};
use stele_core::usecase::set_status::UserStatus;
use stele_core::user::{User, UserRef};
use stele_testkit::{Lab, Running, md5_hex};

pub(crate) const ADMIN: &str = "/container/api/v1/cloudbox/tms/auth/adminauthsalt";
pub(crate) const LOGIN: &str = "/container/api/v1/cloudbox/tms/auth/authsalt";
pub(crate) const PWDRESET: &str = "/container/api/v1/cloudbox/tms/auth/pwdreset";

pub(crate) const WRONG: &str = r#"{"message":"用户名或密码错误","code":"1002"}"#;
pub(crate) const STALE: &str = r#"{"message":"时间戳已过期","code":"1003"}"#;
pub(crate) const REPLAYED: &str = r#"{"message":"请求已被使用","code":"1004"}"#;
pub(crate) const NO_TOKEN: &str = r#"{"message":"登录凭证缺失或已失效","code":"1005"}"#;
pub(crate) const DISABLED: &str = r#"{"message":"用户已被禁用","code":"1006"}"#;
pub(crate) const TOO_MANY: &str = r#"{"message":"操作过于频繁，请稍后再试","code":"1007"}"#;

pub(crate) struct Bench {
    pub(crate) lab: Lab,
    pub(crate) service: Running,
    /// A client token.
    pub(crate) kiosk: String,
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
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        assert_eq!((self.status, self.code().as_str()), (200, "0000"), "{self:?}");
        self.json()["data"]["user_token"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text.as_str()), (status, text));
    }
}

/// `md5(md5(password) + at)`.
pub(crate) fn salted(password: &str, at: i64) -> String {
    md5_hex(&format!("{}{at}", md5_hex(password)))
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let lab = Lab::with(settings).await;
        let service = lab.start(svc_tms::SERVICE).await;
        let kiosk = lab.client_token("kiosk").await;
        Self { lab, service, kiosk, http: stele_testkit::http() }
    }

    pub(crate) fn now(&self) -> i64 {
        self.lab.clock().now().as_secs()
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.lab.clock().advance(Duration::from_secs(seconds));
    }

    /// A request without a token.
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

    /// Posts with a token; with an empty one, without.
    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        let request = self.request(path).json(body);
        self.send(if token.is_empty() { request } else { request.header("authorization", token) }).await
    }

    /// Posts with the client token.
    pub(crate) async fn post_as(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.request(path).header("authorization", &self.kiosk);
        self.send(request.header("content-type", content_type).body(body)).await
    }

    /// Logs in with this proof, sent at `at`.
    pub(crate) async fn prove(&self, path: &str, username: &str, proof: &str, at: i64) -> Answer {
        let body = json!({ "username": username, "password": proof, "timestamp": at });
        self.post(path, &self.kiosk, &body).await
    }

    /// Logs in with a salted proof made now. Once a second at most: each proof is good once.
    pub(crate) async fn login(&self, username: &str, password: &str) -> Answer {
        self.prove(LOGIN, username, &salted(password, self.now()), self.now()).await
    }

    /// Logs in as an administrator with a salted proof made now.
    pub(crate) async fn login_admin(&self, username: &str, password: &str) -> Answer {
        self.prove(ADMIN, username, &salted(password, self.now()), self.now()).await
    }

    /// Changes a password, with a salted proof made now.
    pub(crate) async fn pwdreset(&self, token: &str, user: impl Into<Value>, old: &str, new: &str) -> Answer {
        let body = json!({
            "user_id": user.into(),
            "orig_password": salted(old, self.now()),
            "new_password": md5_hex(new),
            "timestamp": self.now(),
        });
        self.post(PWDRESET, token, &body).await
    }

    /// Logs in through the cloudbox dialect's door, as its service would; gives the token.
    pub(crate) async fn login_cloudbox(&self, username: &str, password: &str) -> stele_core::Result<String> {
        let timestamp = self.now();
        let digest = stele_core::hex::decode(&salted(password, timestamp)).unwrap();
        let request = login::Login {
            identifier: username,
            proof: Proof::Salted(Salted { digest, timestamp: timestamp.try_into().unwrap() }),
            caller: &Caller::direct("cloudbox", [127, 0, 0, 1].into()),
            audience: Audience::Everyone,
            challenge: Challenge::Never,
            carrier: Carrier::Token,
        };
        self.lab.use_cases().login(request).await.map(|done| done.token.expose().to_owned())
    }

    pub(crate) async fn disable(&self, user: &User, disabled: bool) {
        let status = if disabled { UserStatus::Disabled } else { UserStatus::Active };
        self.lab.use_cases().set_status(UserRef::Id(user.id), status).await.unwrap();
    }

    /// How many password hashes were computed so far.
    pub(crate) fn hashes(&self) -> u64 {
        self.lab.deps().hasher.computed()
    }
}
