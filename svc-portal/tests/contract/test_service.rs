//! The portal service under test and its client.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers may panic")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use stele_app::Service;
use stele_core::session::Token;
use stele_core::user::User;
use stele_testkit::conformance::input::encode_urlencoded;
use stele_testkit::conformance::{
    CodeDialect, DialectUnderTest, NewPasswordDialect, PasswordGuess, SessionDialect, Settings,
};
use stele_testkit::{RequestCost, TestApp, TestLab, conformance, impl_deref_to_test_app};

/// The phone of most tests.
pub(crate) const PHONE: &str = "13800138000";
/// The client address of requests, unless a test sets another one.
pub(crate) const DEFAULT_ADDRESS: &str = "192.0.2.1";

/// Encodes as portal clients do.
pub(crate) fn to_base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// A running service.
pub(crate) struct TestService {
    app: TestApp,
}

impl_deref_to_test_app!(TestService);

impl DialectUnderTest for TestService {
    const SERVICE: Service = svc_portal::SERVICE;
    /// Trusts the test's `X-Forwarded-For`, so that requests can come from any address.
    const SETTINGS: Settings = &[("STELE_TRUSTED_PROXIES", "127.0.0.1")];
    const UNIFORM_ERROR_SETTINGS: Settings = &[("STELE_PORTAL_TELL_UNKNOWN", "false")];
    const LOGIN_PATH: &'static str = "/i/login";
    const IDENTIFIERS: &'static [&'static str] = &[PHONE, " 13800138000", "mark@stele.cn", "MARK@STELE.CN"];
    const INVALID_VALUES: &'static [(&'static str, &'static [&'static str])] = &[
        ("password", &["\"123456!\"", "\"ab>ab>\"", "\"YWI*YWI+\"", "\"/w==\"", "\"====\"", "17"]),
        ("code", &["\"12345!\"", "\"/w==\"", "17"]),
    ];
    const UNKNOWN_PATHS: &'static [&'static str] =
        &["/i/", "/i/nothing", "/i/LOGIN", "/i/login/x", "/code/", "/code/sends", "/i/%00"];

    async fn start(lab: TestLab) -> Self {
        Self { app: TestApp::start(lab, Self::SERVICE).await }
    }

    fn login_cost(_: PasswordGuess) -> RequestCost {
        // The rate limit is checked before a hash is computed.
        RequestCost::new(1, &["find"], &["admit", "settle"])
    }

    fn login_fields(&self, _: u8, identifier: &str, password: &str) -> Vec<(&'static str, String)> {
        vec![("username", identifier.to_owned()), ("password", to_base64(password))]
    }

    fn is_accepted(response: &stele_testkit::TestResponse) -> bool {
        response.json()["status"]["status_code"] == "200"
    }

    async fn login_after_challenge(&self, origin: u8, identifier: &str, password: &str) -> stele_testkit::TestResponse {
        self.post("/code/send", &[("username", identifier)]).await.assert_code("200");
        let mut fields = self.login_fields(origin, identifier, password);
        fields.push(("code", to_base64(&self.lab.sent_codes().pop().unwrap().code)));
        self.login_with_fields(origin, fields).await
    }

    async fn enumeration_attempt(&self, n: usize, identifier: &str) -> stele_testkit::TestResponse {
        match n % 3 {
            2 => self.redeem_code(identifier, "000000").await,
            1 if n > 6 => self.request_code(0, identifier).await,
            _ => DialectUnderTest::login(self, 0, identifier, "wrong!").await,
        }
    }
}

impl SessionDialect for TestService {
    fn session_token(&self, response: &stele_testkit::TestResponse) -> Token {
        let cookie = response.header("set-cookie").strip_prefix("stele_session=").unwrap();
        Token::parse(cookie.split(';').next().unwrap()).unwrap()
    }
}

impl CodeDialect for TestService {
    async fn request_code(&self, origin: u8, phone: &str) -> stele_testkit::TestResponse {
        self.form(&format!("203.0.113.{origin}"), "/code/send", &[("username", phone)]).await
    }

    async fn redeem_code(&self, phone: &str, code: &str) -> stele_testkit::TestResponse {
        let form = [("username", phone), ("password", &to_base64("new123")), ("code", &to_base64(code))];
        self.form(DEFAULT_ADDRESS, "/i/resetpwd", &form).await
    }

    fn is_success(response: &stele_testkit::TestResponse) -> bool {
        Self::is_accepted(response)
    }
}

impl NewPasswordDialect for TestService {
    type Authorization = String;

    async fn authorize_new_password(&self, _: &User) -> String {
        self.request_code_for(conformance::PHONE).await
    }

    async fn set_new_password(&self, code: &String, password: &str) -> stele_testkit::TestResponse {
        let form = [("username", conformance::PHONE), ("password", &to_base64(password)), ("code", &to_base64(code))];
        self.form(DEFAULT_ADDRESS, "/i/resetpwd", &form).await
    }

    fn is_password_set(response: &stele_testkit::TestResponse) -> bool {
        Self::is_accepted(response)
    }
}

/// A parsed response.
#[derive(Debug)]
pub(crate) struct PortalResponse {
    pub(crate) http_status: u16,
    pub(crate) status_code: String,
    pub(crate) status_message: String,
    pub(crate) content: Value,
    pub(crate) body: String,
    pub(crate) set_cookie: Option<String>,
    pub(crate) retry_after: Option<u64>,
}

impl PortalResponse {
    /// Asserts `status_code`, and the HTTP status that belongs to it.
    #[track_caller]
    pub(crate) fn assert_code(&self, code: &str) -> &Self {
        assert_eq!(self.status_code, code, "{self:?}");
        let http = code.parse().ok().filter(|n| *n < 1000).unwrap_or(200);
        assert_eq!(self.http_status, http, "{self:?}");
        self
    }

    /// Asserts code 400 with a message that contains `text`.
    #[track_caller]
    pub(crate) fn assert_field_error(&self, text: &str) -> &Self {
        assert!(self.assert_code("400").status_message.contains(text), "{text} is not named in {self:?}");
        self
    }

    /// The session token in `Set-Cookie`.
    #[track_caller]
    pub(crate) fn session_token(&self) -> String {
        let cookie = self.set_cookie.as_deref().expect("a cookie");
        cookie.strip_prefix("stele_session=").unwrap().split(';').next().unwrap().to_owned()
    }
}

impl TestService {
    /// A POST to `path` from `address`, to be sent by [`TestService::send`].
    pub(crate) fn request(&self, address: &str, path: &str) -> reqwest::RequestBuilder {
        self.app.request("POST", path).header("x-forwarded-for", address)
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> PortalResponse {
        parse_response(&self.app.send(request).await)
    }

    pub(crate) async fn post_from(&self, address: &str, path: &str, form: &[(&str, &str)]) -> PortalResponse {
        parse_response(&self.form(address, path, form).await)
    }

    async fn form(&self, address: &str, path: &str, form: &[(&str, &str)]) -> stele_testkit::TestResponse {
        let request = self.request(address, path).header("content-type", "application/x-www-form-urlencoded");
        self.app.send(request.body(encode_urlencoded(form))).await
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> PortalResponse {
        self.post_from(DEFAULT_ADDRESS, path, form).await
    }

    pub(crate) async fn login_from(&self, address: &str, username: &str, password: &str) -> PortalResponse {
        self.post_from(address, "/i/login", &[("username", username), ("password", &to_base64(password))]).await
    }

    pub(crate) async fn login(&self, username: &str, password: &str) -> PortalResponse {
        self.login_from(DEFAULT_ADDRESS, username, password).await
    }

    /// Posts username, password and code: a registration, a password reset, or a login with a code.
    pub(crate) async fn post_with_code(
        &self,
        path: &str,
        username: &str,
        password: &str,
        code: &str,
    ) -> PortalResponse {
        let form = [("username", username), ("password", &to_base64(password)), ("code", &to_base64(code))];
        self.post(path, &form).await
    }

    /// Requests a code for `to` and returns it.
    pub(crate) async fn request_code_for(&self, to: &str) -> String {
        self.post("/code/send", &[("username", to)]).await.assert_code("200");
        self.lab.last_code_for(to)
    }

    /// A code different from `code`.
    pub(crate) fn different_code(code: &str) -> String {
        if code == "000000" { "000001".to_owned() } else { "000000".to_owned() }
    }

    /// Registers a user by a code.
    pub(crate) async fn register_user(&self, username: &str, password: &str) {
        let code = self.request_code_for(username).await;
        self.post_with_code("/i/register", username, password, &code).await.assert_code("200");
    }

    /// Whether the session of `token` is valid.
    pub(crate) async fn is_session_valid(&self, token: &str) -> bool {
        self.app.is_session_valid(&Token::parse(token).unwrap()).await
    }
}

fn parse_response(response: &stele_testkit::TestResponse) -> PortalResponse {
    let (http_status, body, retry_after) = (response.status, response.text.clone(), response.retry_after());
    let set_cookie = response.headers.get("set-cookie").map(|value| value.to_str().unwrap().to_owned());
    let json = response.json();
    let status_field =
        |name: &str| json["status"][name].as_str().unwrap_or_else(|| panic!("{name}: {body}")).to_owned();
    let (status_code, status_message) = (status_field("status_code"), status_field("status_message"));
    let content = json["content"].clone();
    // Exactly the fields of the API document, in its order.
    let start = format!(
        r#"{{"status":{{"status_code":"{status_code}","status_message":"{status_message}","message":"{status_message}"}},"content":{{"#
    );
    assert!(body.starts_with(&start), "{body}");
    assert_eq!((json.as_object().unwrap().len(), json["status"].as_object().unwrap().len()), (2, 3), "{body}");
    assert!(content.is_object() && (status_code == "200" || content.as_object().unwrap().is_empty()), "{body}");
    assert_eq!(status_code == "429" || status_code == "503", retry_after.is_some(), "{body}");
    PortalResponse { http_status, status_code, status_message, content, body, set_cookie, retry_after }
}
