//! The service, and how clients of this dialect call it.

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use stele_app::Service;
use stele_core::proof::{Proof, Salted};
use stele_core::session::Token;
use stele_core::usecase::Caller;
use stele_core::usecase::login::{self, Audience, Carrier, Challenge};
use stele_testkit::conformance::salted::{BAD_VALUES, salted};
use stele_testkit::conformance::{DialectUnderTest, SaltedDialect, SessionDialect, Settings};
use stele_testkit::{Answer, Lab, MessageCode as _, TestApp, Work, md5_hex, stands_for_its_app};

pub(crate) const ADMIN: &str = "/container/api/v1/cloudbox/tms/auth/adminauthsalt";
pub(crate) const LOGIN: &str = "/container/api/v1/cloudbox/tms/auth/authsalt";
pub(crate) const PWDRESET: &str = "/container/api/v1/cloudbox/tms/auth/pwdreset";

pub(crate) const WRONG: &str = r#"{"message":"用户名或密码错误","code":"1002"}"#;
pub(crate) const STALE: &str = r#"{"message":"时间戳已过期","code":"1003"}"#;
pub(crate) const REPLAYED: &str = r#"{"message":"请求已被使用","code":"1004"}"#;
pub(crate) const NO_TOKEN: &str = r#"{"message":"登录凭证缺失或已失效","code":"1005"}"#;

pub(crate) struct App {
    app: TestApp,
    /// A client token.
    pub(crate) kiosk: String,
}

stands_for_its_app!(App);

impl DialectUnderTest for App {
    const SERVICE: Service = svc_tms::SERVICE;
    const LOGIN: &'static str = LOGIN;
    const BAD_VALUES: &'static [(&'static str, &'static [&'static str])] = BAD_VALUES;
    const NOWHERE: &'static [&'static str] =
        &["/container/api/v1/cloudbox/tms/", "/container/api/v1/cloudbox/tms/auth/login"];

    async fn start(lab: Lab) -> Self {
        // Another instance adds one of its own.
        let kiosk = lab.client_token(&lab.deps().random.hex128()).await;
        Self { app: TestApp::start(lab, Self::SERVICE).await, kiosk }
    }

    fn login_cost(right: bool) -> Work {
        // The token first, that every call carries. Whether a proof is salted is known only afterwards, and a hash must
        // not be computed before the limits are asked.
        Work::of(u64::from(!right), &["client_token", "find"], &["admit", "settle"])
    }

    fn login_fields(&self, _: u8, identifier: &str, password: &str) -> Vec<(&'static str, String)> {
        Self::proof_fields(identifier, &salted(password, self.now()), self.now())
    }

    fn accepted(answer: &Answer) -> bool {
        answer.is_success()
    }

    fn carry(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("authorization", &self.kiosk)
    }
}

impl SaltedDialect for App {
    const SALTED_ALONE: Settings = &[("STELE_TMS_PROOF", "salted")];
}

impl SessionDialect for App {
    fn session(&self, answer: &Answer) -> Token {
        Token::parse(&answer.token()).unwrap()
    }
}

impl App {
    /// Posts with a token; with an empty one, without.
    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        let request = self.request("POST", path).json(body);
        self.send(if token.is_empty() { request } else { request.header("authorization", token) }).await
    }

    /// Posts with the client token.
    pub(crate) async fn post_as(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.carry(self.request("POST", path)).header("content-type", content_type);
        self.send(request.body(body)).await
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
            proof: Proof::Salted(Salted { digest, timestamp: u64::try_from(timestamp).unwrap().into() }),
            caller: &Caller::direct("cloudbox", [127, 0, 0, 1].into()),
            audience: Audience::Everyone,
            challenge: Challenge::Never,
            carrier: Carrier::Token,
        };
        self.lab.use_cases().login(request).await.map(|done| done.token.expose().to_owned())
    }
}
