//! The JWT service alone, over HTTP: what its document promises, and what `WIRE.md` adds.
//!
//! - [`samples`]: the document's sample calls, to the byte
//! - [`login`], [`challenge`], [`password`], [`captcha`]: route by route
//! - [`tokens`]: hostile tokens
//! - [`faults`]: without a store, and without a place to hash; [`hashing`]: with another cost of hashes
//! - [`input`]: bad input on every route
//! - [`golden`]: transcripts in `tests/golden/`
//! - [`openapi`]: its document

#![expect(clippy::unwrap_used, reason = "tests")]

mod captcha;
mod challenge;
mod faults;
mod golden;
mod hashing;
mod input;
mod login;
mod openapi;
mod password;
mod samples;
mod tokens;
mod work;

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;
use stele_testkit::{Lab, Running, http};
use svc_jwt::SERVICE;

/// The service on a user base of its own.
struct Bench {
    lab: Lab,
    service: Running,
    http: reqwest::Client,
}

/// What the service answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Bench {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let lab = Lab::with(settings).await;
        let service = lab.start(SERVICE).await;
        Self { lab, service, http: http() }
    }

    /// A service that believes `X-Forwarded-For`, so that a test can come from anywhere.
    async fn behind_proxy() -> Self {
        Self::with(&[("STELE_TRUSTED_PROXIES", "127.0.0.1")]).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        assert_eq!(headers["cache-control"], "no-store");
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().unwrap(), self.service.url(path))
    }

    /// A POST as jQuery sends it: multipart's content type over an urlencoded body.
    fn form(&self, path: &str, body: &str) -> reqwest::RequestBuilder {
        self.request("POST", path).header("content-type", "multipart/form-data").body(body.to_owned())
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(self.form(path, body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    async fn login_from(&self, address: &str, body: &str) -> Answer {
        self.send(self.form("/api/v1/Auth/Login", body).header("x-forwarded-for", address)).await
    }

    /// Logs in and gives the token.
    async fn login(&self, account: &str, password: &str) -> String {
        let answer = self.post("/api/v1/Auth/Login", &format!("account={account}&password={password}")).await;
        assert_eq!(answer.message(), "登录成功");
        answer.token()
    }

    async fn logout(&self, token: &str) -> Answer {
        self.send(self.request("GET", "/api/v1/Auth/Logout").header("authorization", token)).await
    }

    async fn update(&self, token: &str, account: &str, password: &str) -> Answer {
        let form = self.form("/api/vi/Auth/updatePassword", &format!("account={account}&password={password}"));
        self.send(form.header("authorization", token)).await
    }

    /// Whether a login token is of a live session.
    async fn lives(&self, token: &str) -> bool {
        let bearer = jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims;
        let session = stele_core::session::Token::parse(bearer["jti"].as_str().unwrap()).unwrap();
        self.lab.use_cases().authenticate("jwt", &session).await.is_ok()
    }

    /// A reset token for `account`, by way of `phone`.
    async fn reset_token(&self, account: &str, phone: &str) -> String {
        let sent = self.post("/api/vi/Auth/ForgetPassword", &format!("account={account}&phone={phone}")).await;
        assert_eq!(sent.message(), "发送短信成功");
        let code = self.lab.code_for(phone);
        let answer = self.post("/api/vi/Auth/validatePhone", &format!("account={account}&identifyCode={code}")).await;
        assert_eq!(answer.message(), "验证码正确");
        answer.token()
    }

    /// Issues a captcha; gives its id and what its picture shows.
    async fn captcha(&self) -> (u64, String) {
        let id = self.get("/api/vi/Auth/getCAPTCHA").await.json()["data"]["id"].as_u64().unwrap();
        (id, self.lab.use_cases().view_captcha(id).await.unwrap().unwrap().text)
    }

    fn wait(&self, seconds: u64) {
        self.lab.clock().advance(Duration::from_secs(seconds));
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }

    fn token(&self) -> String {
        self.json()["token"].as_str().unwrap().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts a failure in dialect.
    #[track_caller]
    fn fails(&self, status: u16, message: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.text, format!(r#"{{"code":-1,"message":"{message}"}}"#));
        assert_eq!(self.header("cache-control"), "no-store");
    }
}
