//! The service under test and its client.

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use stele_app::Service;
use stele_core::proof::{Proof, SaltedProof};
use stele_core::session::Token;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::login::{self, AllowedUsers, Challenge, SessionTransport};
use stele_core::user::User;
use stele_testkit::conformance::salted::{INVALID_VALUES, salted_digest};
use stele_testkit::conformance::{
    DialectUnderTest, NewPasswordDialect, PASSWORD, PHONE, PasswordGuess, SaltedDialect, SessionDialect, Settings,
};
use stele_testkit::{MessageCode as _, RequestCost, TestApp, TestLab, TestResponse, impl_deref_to_test_app, md5_hex};

pub(crate) const ADMIN_LOGIN: &str = "/container/api/v1/cloudbox/tms/auth/adminauthsalt";
pub(crate) const LOGIN: &str = "/container/api/v1/cloudbox/tms/auth/authsalt";
pub(crate) const PWDRESET: &str = "/container/api/v1/cloudbox/tms/auth/pwdreset";

pub(crate) const WRONG_CREDENTIALS: &str = r#"{"message":"用户名或密码错误","code":"1002"}"#;
pub(crate) const PROOF_STALE: &str = r#"{"message":"时间戳已过期","code":"1003"}"#;
pub(crate) const PROOF_REPLAYED: &str = r#"{"message":"请求已被使用","code":"1004"}"#;
pub(crate) const BAD_TOKEN: &str = r#"{"message":"登录凭证缺失或已失效","code":"1005"}"#;

pub(crate) struct TestService {
    app: TestApp,
    /// A client token.
    pub(crate) client_token: String,
}

impl_deref_to_test_app!(TestService);

impl DialectUnderTest for TestService {
    const SERVICE: Service = svc_tms::SERVICE;
    const LOGIN_PATH: &'static str = LOGIN;
    const INVALID_VALUES: &'static [(&'static str, &'static [&'static str])] = INVALID_VALUES;
    const UNKNOWN_PATHS: &'static [&'static str] =
        &["/container/api/v1/cloudbox/tms/", "/container/api/v1/cloudbox/tms/auth/login"];

    async fn start(lab: TestLab) -> Self {
        // A random name, because instances that share a store each add a client.
        let client_token = lab.add_client_token(&lab.dependencies().random.hex128()).await;
        Self { app: TestApp::start(lab, Self::SERVICE).await, client_token }
    }

    fn login_cost(guess: PasswordGuess) -> RequestCost {
        // Every call checks its token first. The format is known only after the check, and the rate limit must be
        // checked before a hash is computed.
        RequestCost::new(u64::from(guess == PasswordGuess::Wrong), &["client_token", "find"], &["admit", "settle"])
    }

    fn login_fields(&self, _: u8, identifier: &str, password: &str) -> Vec<(&'static str, String)> {
        Self::proof_fields(identifier, &salted_digest(password, self.now()), self.now())
    }

    fn is_accepted(response: &TestResponse) -> bool {
        response.is_success()
    }

    fn add_credentials(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("authorization", &self.client_token)
    }
}

impl SaltedDialect for TestService {
    const SALTED_ONLY_SETTINGS: Settings = &[("STELE_TMS_PROOF", "salted")];
}

impl SessionDialect for TestService {
    fn session_token(&self, response: &TestResponse) -> Token {
        Token::parse(&response.token()).unwrap()
    }
}

impl NewPasswordDialect for TestService {
    /// The user's id and session token, and the time of the proof.
    type Authorization = (String, String, i64);

    async fn authorize_new_password(&self, user: &User) -> Self::Authorization {
        let token = self.login(PHONE, PASSWORD).await.token();
        self.advance_clock(1);
        (user.id.to_string(), token, self.now())
    }

    async fn set_new_password(&self, (user, token, at): &Self::Authorization, password: &str) -> TestResponse {
        let proof = salted_digest(PASSWORD, *at);
        let body = json!({
            "user_id": user, "orig_password": proof, "new_password": md5_hex(password), "timestamp": at,
        });
        self.post_with_token(PWDRESET, token, &body).await
    }

    fn is_password_set(response: &TestResponse) -> bool {
        Self::is_accepted(response)
    }
}

impl TestService {
    /// Posts with `token` in `Authorization`, or without the header if `token` is empty.
    pub(crate) async fn post_with_token(&self, path: &str, token: &str, body: &Value) -> TestResponse {
        let request = self.request("POST", path).json(body);
        self.send(if token.is_empty() { request } else { request.header("authorization", token) }).await
    }

    /// Posts with the client token.
    pub(crate) async fn post_with_client_token(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> TestResponse {
        let request = self.add_credentials(self.request("POST", path)).header("content-type", content_type);
        self.send(request.body(body)).await
    }

    /// Logs in with `proof` and timestamp `at`.
    pub(crate) async fn login_with_proof(&self, path: &str, username: &str, proof: &str, at: i64) -> TestResponse {
        let body = json!({ "username": username, "password": proof, "timestamp": at });
        self.post_with_token(path, &self.client_token, &body).await
    }

    /// Logs in with a salted proof for the current time. Works once per second of the test clock, as each proof is
    /// accepted once.
    pub(crate) async fn login(&self, username: &str, password: &str) -> TestResponse {
        self.login_with_proof(LOGIN, username, &salted_digest(password, self.now()), self.now()).await
    }

    /// Logs in as an administrator with a salted proof for the current time.
    pub(crate) async fn login_admin(&self, username: &str, password: &str) -> TestResponse {
        self.login_with_proof(ADMIN_LOGIN, username, &salted_digest(password, self.now()), self.now()).await
    }

    /// Changes a password with a salted proof for the current time.
    pub(crate) async fn pwdreset(&self, token: &str, user: impl Into<Value>, old: &str, new: &str) -> TestResponse {
        let body = json!({
            "user_id": user.into(),
            "orig_password": salted_digest(old, self.now()),
            "new_password": md5_hex(new),
            "timestamp": self.now(),
        });
        self.post_with_token(PWDRESET, token, &body).await
    }

    /// Logs in as the cloudbox service does; returns the token.
    pub(crate) async fn login_cloudbox(&self, username: &str, password: &str) -> stele_core::Result<String> {
        let timestamp = self.now();
        let digest = stele_core::hex::decode(&salted_digest(password, timestamp)).unwrap();
        let request = login::LoginRequest {
            identifier: username,
            proof: Proof::Salted(SaltedProof { digest, timestamp: u64::try_from(timestamp).unwrap().into() }),
            caller: &RequestInfo::from_client("cloudbox", [127, 0, 0, 1].into()),
            allowed_users: AllowedUsers::Everyone,
            challenge: Challenge::Never,
            transport: SessionTransport::Token,
        };
        self.lab.use_cases().login(request).await.map(|session| session.token.expose().to_owned())
    }
}
