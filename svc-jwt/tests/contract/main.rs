//! Contract tests of the JWT service over HTTP: the API document, and the additions in `WIRE.md`.
//!
//! - [`documented_samples`]: the API document's sample calls, byte for byte
//! - [`login`], [`login_challenge`], [`password`], [`captcha`]: endpoint by endpoint
//! - [`hostile_tokens`]: forged and malformed tokens
//! - [`unavailability`]: store outages and a full hashing queue; [`password_hashing`]: rehash on login
//! - [`request_cost`]: hashes and store round trips (user enumeration)
//! - [`input`]: input rules of this dialect; the conformance suite tests those of all dialects
//! - [`golden`]: transcripts in `tests/golden/`

#![expect(clippy::unwrap_used, reason = "tests")]

mod captcha;
mod documented_samples;
mod golden;
mod hostile_tokens;
mod input;
mod login;
mod login_challenge;
mod password;
mod password_hashing;
mod request_cost;
mod unavailability;

use reqwest::RequestBuilder;
use serde_json::Value;
use stele_app::Service;
use stele_core::session::Token;
use stele_core::user::User;
use stele_testkit::conformance::{CodeDialect, DialectUnderTest, NewPasswordDialect, PasswordGuess, SessionDialect};
use stele_testkit::{RequestCost, TestApp, TestLab, TestResponse, conformance, impl_deref_to_test_app};
use svc_jwt::SERVICE;

/// The service under test and its client.
struct TestService {
    app: TestApp,
}

impl_deref_to_test_app!(TestService);

conformance!(TestService, sessions, codes, new_passwords);

impl DialectUnderTest for TestService {
    const SERVICE: Service = SERVICE;
    const LOGIN_PATH: &'static str = "/api/v1/Auth/Login";
    const INVALID_VALUES: &'static [(&'static str, &'static [&'static str])] = &[
        ("captchaId", &["-1", "1.5", "1e-3", "\"x\"", "9007199254740992", "99999999999999999999999", "\"+1\""]),
        ("phone", &["123", "\"a@b.cn\"", "\"+862112345678\""]),
    ];
    const UNKNOWN_PATHS: &'static [&'static str] = &[
        "/api/v1/Auth/",
        "/api/v1/Auth/Nothing",
        "/api/v1/Auth/Login/x",
        "/api/v2/Auth/Login",
        "/api/v1i/Auth/Login",
        "/x/api/v1/Auth/Login",
        "/api/v1/Auth/CAPTCHA/1/2",
    ];

    async fn start(lab: TestLab) -> Self {
        Self { app: TestApp::start(lab, SERVICE).await }
    }

    fn login_cost(_: PasswordGuess) -> RequestCost {
        // The rate limit is checked before a hash is computed.
        RequestCost::new(1, &["find"], &["admit", "settle"])
    }

    fn login_fields(&self, _: u8, identifier: &str, password: &str) -> Vec<(&'static str, String)> {
        vec![("account", identifier.to_owned()), ("password", password.to_owned())]
    }

    fn is_accepted(response: &TestResponse) -> bool {
        response.message() == "登录成功"
    }

    async fn login_after_challenge(&self, origin: u8, identifier: &str, password: &str) -> TestResponse {
        let (id, text) = self.captcha().await;
        let mut fields = self.login_fields(origin, identifier, password);
        fields.extend([("captchaId", id.to_string()), ("captcha", text)]);
        self.login_with_fields(origin, fields).await
    }

    async fn enumeration_attempt(&self, n: usize, identifier: &str) -> TestResponse {
        match n % 4 {
            3 if n < 12 => self.request_code(0, identifier).await,
            1 => self.redeem_code(identifier, "no").await,
            _ => DialectUnderTest::login(self, 0, identifier, "wrong!").await,
        }
    }
}

impl SessionDialect for TestService {
    fn session_token(&self, response: &TestResponse) -> Token {
        session_token_of(&response.token())
    }
}

/// The session token in a login token.
fn session_token_of(token: &str) -> Token {
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims;
    Token::parse(claims["jti"].as_str().unwrap()).unwrap()
}

impl CodeDialect for TestService {
    async fn request_code(&self, origin: u8, phone: &str) -> TestResponse {
        let body = serde_json::json!({ "account": phone, "phone": phone });
        let request = self.request("POST", "/api/vi/Auth/ForgetPassword").json(&body);
        self.send(request.header("x-forwarded-for", format!("203.0.113.{origin}"))).await
    }

    async fn redeem_code(&self, phone: &str, code: &str) -> TestResponse {
        let body = serde_json::json!({ "account": phone, "identifyCode": code });
        self.send(self.request("POST", "/api/vi/Auth/validatePhone").json(&body)).await
    }

    fn is_success(response: &TestResponse) -> bool {
        response.status == 200 && response.json()["code"] == 0
    }
}

impl NewPasswordDialect for TestService {
    /// A reset token.
    type Authorization = String;

    async fn authorize_new_password(&self, _: &User) -> String {
        self.reset_token(conformance::PHONE, conformance::PHONE).await
    }

    async fn set_new_password(&self, token: &String, password: &str) -> TestResponse {
        self.update_password(token, conformance::PHONE, password).await
    }

    fn is_password_set(response: &TestResponse) -> bool {
        response.message() == "更新密码成功"
    }
}

impl TestService {
    /// Trusts the test's `X-Forwarded-For`, so that requests can come from any address.
    async fn behind_trusted_proxy() -> Self {
        Self::with_settings(&[conformance::BEHIND_PROXY]).await
    }

    /// A POST as jQuery sends it: an urlencoded body with multipart's content type.
    fn urlencoded_post(&self, path: &str, body: &str) -> RequestBuilder {
        self.request("POST", path).header("content-type", "multipart/form-data").body(body.to_owned())
    }

    async fn post(&self, path: &str, body: &str) -> TestResponse {
        self.send(self.urlencoded_post(path, body)).await
    }

    async fn get(&self, path: &str) -> TestResponse {
        self.send(self.request("GET", path)).await
    }

    async fn login_from(&self, address: &str, body: &str) -> TestResponse {
        self.send(self.urlencoded_post("/api/v1/Auth/Login", body).header("x-forwarded-for", address)).await
    }

    /// Logs in and returns the token.
    async fn login(&self, account: &str, password: &str) -> String {
        let response = self.post("/api/v1/Auth/Login", &format!("account={account}&password={password}")).await;
        assert_eq!(response.message(), "登录成功");
        response.token()
    }

    async fn logout(&self, token: &str) -> TestResponse {
        self.send(self.request("GET", "/api/v1/Auth/Logout").header("authorization", token)).await
    }

    async fn update_password(&self, token: &str, account: &str, password: &str) -> TestResponse {
        let form =
            self.urlencoded_post("/api/vi/Auth/updatePassword", &format!("account={account}&password={password}"));
        self.send(form.header("authorization", token)).await
    }

    /// Whether the session of a login token is valid.
    async fn is_session_valid(&self, token: &str) -> bool {
        self.app.is_session_valid(&session_token_of(token)).await
    }

    /// Obtains a reset token for `account` with a code sent to `phone`.
    async fn reset_token(&self, account: &str, phone: &str) -> String {
        let sent = self.post("/api/vi/Auth/ForgetPassword", &format!("account={account}&phone={phone}")).await;
        assert_eq!(sent.message(), "发送短信成功");
        let code = self.lab.last_code_for(phone);
        let response = self.post("/api/vi/Auth/validatePhone", &format!("account={account}&identifyCode={code}")).await;
        assert_eq!(response.message(), "验证码正确");
        response.token()
    }

    /// Issues a captcha; returns its id and text.
    async fn captcha(&self) -> (u64, String) {
        let id = self.get("/api/vi/Auth/getCAPTCHA").await.json()["data"]["id"].as_u64().unwrap();
        (id, self.lab.use_cases().view_captcha(id).await.unwrap().unwrap().text)
    }
}

/// Accessors for responses of this dialect.
trait ResponseExt {
    fn message(&self) -> String;

    fn token(&self) -> String;

    /// Asserts an error response with this HTTP status and message.
    fn assert_error(&self, status: u16, message: &str);
}

impl ResponseExt for TestResponse {
    fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }

    fn token(&self) -> String {
        self.json()["token"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn assert_error(&self, status: u16, message: &str) {
        self.assert_is(status, &format!(r#"{{"code":-1,"message":"{message}"}}"#));
    }
}
