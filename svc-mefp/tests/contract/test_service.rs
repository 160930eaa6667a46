//! The service with two apps, and what an app server does: seal, post, open.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use serde_json::{Value, json};
use stele_app::Service;
use stele_testkit::conformance::input::documented_calls;
use stele_testkit::conformance::{Call, CodeDialect, DialectUnderTest, Settings, WRONG_PASSWORD};
use stele_testkit::{RequestCost, TestApp, TestLab, TestResponse, stands_for_its_app};
use svc_mefp::SERVICE;

/// `mefp_secret`.
pub(crate) const MEFP_SECRET: &str = "0123456789abcdefghijklmnopqrstuv";
/// The one plain answer to an envelope that cannot be opened.
pub(crate) const UNREADABLE_ENVELOPE: &str = r#"{"result":0,"errors":{"code":40000,"message":"请求无法解密"}}"#;
/// The one phone that most tests are about.
pub(crate) const PHONE: &str = "15068880258";

/// Every route, with an inner request whose fields are all there and well formed.
pub(crate) const ROUTES: [(&str, &str); 8] = [
    ("/auth/register", r#"{"login_name":"15068880258","password":"123456","captcha":"629457"}"#),
    ("/auth/login", r#"{"login_name":"13612345678","password":"123456"}"#),
    ("/auth/captcha", r#"{"login_name":"15068880258","usage":1}"#),
    ("/auth/forgot", r#"{"login_name":"15068880258","new_password":"123456","captcha":"629457"}"#),
    ("/auth/token", r#"{"login_name":"15068880258","app_to":"melink"}"#),
    ("/auth/check/loginname", r#"{"login_name":"15068880258"}"#),
    ("/auth/check/captcha", r#"{"login_name":"15068880258","captcha":"629457"}"#),
    ("/auth/check/token", r#"{"token":"00000000000000000000000000000000"}"#),
];

/// The service, and two apps. `melink` may hand users over to `wlfz`, and `wlfz` to no app.
pub(crate) struct TestService {
    app: TestApp,
}

stands_for_its_app!(TestService);

/// The app that calls from an origin.
fn app_for_origin(origin: u8) -> &'static str {
    if origin == 0 { "melink" } else { "wlfz" }
}

impl DialectUnderTest for TestService {
    const SERVICE: Service = SERVICE;
    const SETTINGS: Settings = &[("STELE_MEFP_SECRET", MEFP_SECRET)];
    const LOGIN_PATH: &'static str = "/auth/login";
    const IDENTIFIERS: &'static [&'static str] = &["13800138000", " 13800138000 "];
    const ACCEPTS_ANY_IDENTIFIER: bool = false;
    const INVALID_VALUES: &'static [(&'static str, &'static [&'static str])] =
        &[("usage", &["0", "3", "\"x\"", "\"\"", "1.5", "-1"])];
    const UNKNOWN_PATHS: &'static [&'static str] =
        &["/auth/", "/auth/nothing", "/auth/check", "/auth/Login", "/auth/check/password"];

    async fn start(lab: TestLab) -> Self {
        lab.add_app("melink", &app_secret("melink"), &["wlfz", "later"]).await;
        lab.add_app("wlfz", &app_secret("wlfz"), &[]).await;
        Self { app: TestApp::start(lab, SERVICE).await }
    }

    fn login_cost(_: bool) -> RequestCost {
        // The app first: its secret is what opens the envelope.
        RequestCost::new(1, &["app", "find"], &["admit", "settle"])
    }

    fn login_fields(&self, origin: u8, identifier: &str, password: &str) -> Vec<(&'static str, String)> {
        let (app, inner) = (app_for_origin(origin), json!({ "login_name": identifier, "password": password }));
        vec![("encrypt", seal_text(app, inner.to_string())), ("app_from", app.to_owned())]
    }

    fn is_accepted(answer: &TestResponse) -> bool {
        answer.error_code() == 0
    }

    /// As whichever app can read it.
    fn decode_response(&self, answer: TestResponse) -> TestResponse {
        let Some(sealed) = answer.json()["encrypt"].as_str().map(str::to_owned) else { return answer };
        assert_eq!(answer.json().as_object().unwrap().len(), 1);
        let read = ["melink", "wlfz", "later"].into_iter().filter_map(|app| unseal(app, &sealed));
        let text = read.into_iter().find(|text| serde_json::from_str::<Value>(text).is_ok()).unwrap();
        TestResponse { text, encrypted: true, ..answer }
    }

    fn calls_with_body(&self) -> Vec<Call> {
        let sealed = ROUTES.iter().map(|(path, inner)| Call::encrypted(path, inner));
        documented_calls(SERVICE).into_iter().chain(sealed).collect()
    }

    async fn submit(&self, call: &Call, content_type: &str, body: Vec<u8>) -> TestResponse {
        if call.encrypted {
            self.call_as("melink", &call.path, body).await
        } else {
            self.post(&call.path, content_type, body).await
        }
    }

    async fn enumeration_probe(&self, n: usize, identifier: &str) -> TestResponse {
        if n % 3 == 2 {
            return self
                .call_as_melink("/auth/check/captcha", &json!({ "login_name": identifier, "captcha": "no code" }))
                .await;
        }
        self.login("melink", identifier, WRONG_PASSWORD).await
    }
}

impl CodeDialect for TestService {
    async fn request_code(&self, origin: u8, phone: &str) -> TestResponse {
        self.call_as(app_for_origin(origin), "/auth/captcha", json!({ "login_name": phone, "usage": 2 }).to_string())
            .await
    }

    async fn redeem_code(&self, phone: &str, code: &str) -> TestResponse {
        self.call_as_melink("/auth/forgot", &json!({ "login_name": phone, "new_password": "654321", "captcha": code }))
            .await
    }

    fn is_success(answer: &TestResponse) -> bool {
        Self::is_accepted(answer)
    }
}

/// What answers of this dialect hold.
pub(crate) trait ResponseExt {
    /// The error's number; 0 if there was none.
    fn error_code(&self) -> u64;

    /// Status and error's number.
    fn status_and_code(&self) -> (u16, u64);
}

impl ResponseExt for TestResponse {
    fn error_code(&self) -> u64 {
        let body = self.json();
        if body["result"] == 1 { 0 } else { body["errors"]["code"].as_u64().unwrap() }
    }

    fn status_and_code(&self) -> (u16, u64) {
        (self.status, self.error_code())
    }
}

impl TestService {
    /// Calls as `app`, with `inner` sealed, and opens the answer.
    pub(crate) async fn call_as(&self, app: &str, path: &str, inner: impl AsRef<[u8]>) -> TestResponse {
        let body = json!({ "encrypt": seal_text(app, inner), "app_from": app }).to_string();
        self.post(path, "application/json", body).await
    }

    /// Calls as `melink`.
    pub(crate) async fn call_as_melink(&self, path: &str, inner: &Value) -> TestResponse {
        self.call_as("melink", path, inner.to_string()).await
    }

    /// Calls as `wlfz`.
    pub(crate) async fn call_as_wlfz(&self, path: &str, inner: &Value) -> TestResponse {
        self.call_as("wlfz", path, inner.to_string()).await
    }

    /// Posts `body` as it is, and opens the answer if it is encrypted.
    pub(crate) async fn post(&self, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> TestResponse {
        self.decode_response(self.post_with_type(path, kind, body).await)
    }

    /// Sends a code for `usage` through `app`, and gives it.
    pub(crate) async fn request_code_for(&self, app: &str, phone: &str, usage: u8) -> String {
        let reply =
            self.call_as(app, "/auth/captcha", json!({ "login_name": phone, "usage": usage }).to_string()).await;
        assert_eq!(reply.text, r#"{"result":1}"#);
        self.lab.last_code_for(phone)
    }

    /// Logs in through `app`.
    pub(crate) async fn login(&self, app: &str, phone: &str, password: &str) -> TestResponse {
        self.call_as(app, "/auth/login", json!({ "login_name": phone, "password": password }).to_string()).await
    }
}

/// An app's secret: its name, repeated to 16 bytes.
pub(crate) fn app_secret(app: &str) -> String {
    app.chars().cycle().take(16).collect()
}

/// `text` with PKCS#7, encrypted as `app` does.
pub(crate) fn seal_text(app: &str, text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let pad = 16 - text.len() % 16;
    let mut bytes = text.to_vec();
    bytes.resize(text.len() + pad, u8::try_from(pad).unwrap());
    seal_blocks(app, &bytes)
}

/// Whole blocks, encrypted as `app` does.
pub(crate) fn seal_blocks(app: &str, blocks: &[u8]) -> String {
    let mut bytes = blocks.to_vec();
    let cipher = cbc::Encryptor::<Aes256>::new_from_slices(MEFP_SECRET.as_bytes(), app_secret(app).as_bytes()).unwrap();
    STANDARD.encode(cipher.encrypt_padded::<NoPadding>(&mut bytes, blocks.len()).unwrap())
}

/// What `app` reads of an answer, if it can.
pub(crate) fn unseal(app: &str, sealed: &str) -> Option<String> {
    let mut bytes = STANDARD.decode(sealed).ok()?;
    let cipher = cbc::Decryptor::<Aes256>::new_from_slices(MEFP_SECRET.as_bytes(), app_secret(app).as_bytes()).unwrap();
    // However it is padded: it is one object.
    let plain = cipher.decrypt_padded::<NoPadding>(&mut bytes).ok()?;
    let end = plain.iter().rposition(|byte| *byte == b'}')? + 1;
    String::from_utf8(plain[..end].to_vec()).ok()
}
