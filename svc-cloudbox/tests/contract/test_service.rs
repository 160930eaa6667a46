//! The service under test and its client.

use serde_json::{Value, json};
use stele_app::Service;
use stele_core::session::Token;
use stele_core::user::User;
use stele_testkit::conformance::salted::{INVALID_VALUES, login_at, salted_digest};
use stele_testkit::conformance::{
    DialectUnderTest, NewPasswordDialect, PASSWORD, PasswordGuess, SaltedDialect, SessionDialect,
};
use stele_testkit::{MessageCode as _, RequestCost, TestApp, TestLab, TestResponse, impl_deref_to_test_app, md5_hex};

pub(crate) const LOGIN: &str = "/api/v1/cloudbox/smarttms/auth/authsalt";
pub(crate) const PWDRESET: &str = "/api/v1/cloudbox/auth/pwdreset";
pub(crate) const LOGOUT: &str = "/api/v1/cloudbox/smarttms/logout";

pub(crate) const LOGGED_OUT: &str = r#"{"msg":"退出成功"}"#;
pub(crate) const WRONG_CREDENTIALS: &str = r#"{"message":"用户名或密码错误","code":"1002"}"#;
pub(crate) const PROOF_STALE: &str = r#"{"message":"时间戳已过期","code":"1003"}"#;
pub(crate) const PROOF_REPLAYED: &str = r#"{"message":"请求已被使用","code":"1004"}"#;
pub(crate) const BAD_TOKEN: &str = r#"{"message":"登录凭证缺失或已失效","code":"1005"}"#;
pub(crate) const USER_DISABLED: &str = r#"{"message":"用户已被禁用","code":"1006"}"#;

pub(crate) struct TestService {
    app: TestApp,
}

impl_deref_to_test_app!(TestService);

impl DialectUnderTest for TestService {
    const SERVICE: Service = svc_cloudbox::SERVICE;
    const LOGIN_PATH: &'static str = LOGIN;
    const INVALID_VALUES: &'static [(&'static str, &'static [&'static str])] = INVALID_VALUES;
    const UNKNOWN_PATHS: &'static [&'static str] =
        &["/api/v1/cloudbox/", "/api/v1/cloudbox/auth/authsalt", "/api/v1/cloudbox/auth/PWDRESET"];

    async fn start(lab: TestLab) -> Self {
        Self { app: TestApp::start(lab, Self::SERVICE).await }
    }

    fn login_cost(_: PasswordGuess) -> RequestCost {
        // A salted proof costs no password hash.
        RequestCost::new(0, &["find"], &["settle"])
    }

    fn login_fields(&self, _: u8, identifier: &str, password: &str) -> Vec<(&'static str, String)> {
        Self::proof_fields(identifier, &salted_digest(password, self.now()), self.now())
    }

    fn is_accepted(response: &TestResponse) -> bool {
        response.is_success()
    }
}

impl SaltedDialect for TestService {}

impl SessionDialect for TestService {
    fn session_token(&self, response: &TestResponse) -> Token {
        Token::parse(&response.token()).unwrap()
    }
}

impl NewPasswordDialect for TestService {
    /// The user's id, and the time of the proof.
    type Authorization = (String, i64);

    async fn authorize_new_password(&self, user: &User) -> Self::Authorization {
        (user.id.to_string(), self.now())
    }

    async fn set_new_password(&self, (user, at): &Self::Authorization, password: &str) -> TestResponse {
        let proof = salted_digest(PASSWORD, *at);
        let body = json!({
            "user_id": user, "orig_password": proof, "new_password": md5_hex(password), "timestamp": at,
        });
        self.post(PWDRESET, &body).await
    }

    fn is_password_set(response: &TestResponse) -> bool {
        Self::is_accepted(response)
    }
}

impl TestService {
    pub(crate) async fn post(&self, path: &str, body: &Value) -> TestResponse {
        self.send(self.request("POST", path).json(body)).await
    }

    /// Logs in with a proof for time `at`.
    pub(crate) async fn login_at(&self, username: &str, password: &str, at: i64) -> TestResponse {
        login_at(self, username, password, at).await
    }

    /// Logs in with a proof for the current time. Works once per second of the test clock, as each proof is accepted
    /// once.
    pub(crate) async fn login(&self, username: &str, password: &str) -> TestResponse {
        self.login_at(username, password, self.now()).await
    }

    /// Changes a password with a proof for the current time.
    pub(crate) async fn pwdreset(&self, user: impl Into<Value>, old: &str, new: &str) -> TestResponse {
        let body = json!({
            "user_id": user.into(),
            "orig_password": salted_digest(old, self.now()),
            "new_password": md5_hex(new),
            "timestamp": self.now(),
        });
        self.post(PWDRESET, &body).await
    }

    pub(crate) async fn logout(&self, authorization: &str) -> TestResponse {
        self.send(self.request("POST", LOGOUT).header("authorization", authorization)).await
    }
}
