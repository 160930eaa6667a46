//! The service under test with two apps, and a client that encrypts requests and decrypts responses.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use serde_json::{Value, json};
use stele_app::Service;
use stele_core::user::User;
use stele_testkit::conformance::input::documented_calls;
use stele_testkit::conformance::{
    Call, CodeDialect, DialectUnderTest, NewPasswordDialect, PasswordGuess, Settings, WRONG_PASSWORD,
};
use stele_testkit::{RequestCost, TestApp, TestLab, TestResponse, conformance, impl_deref_to_test_app};
use svc_mefp::SERVICE;

/// `mefp_secret`.
pub(crate) const MEFP_SECRET: &str = "0123456789abcdefghijklmnopqrstuv";
/// The plain response to every envelope that cannot be decrypted.
pub(crate) const UNREADABLE_ENVELOPE: &str = r#"{"result":0,"errors":{"code":40000,"message":"请求无法解密"}}"#;
/// The phone of most tests.
pub(crate) const PHONE: &str = "15068880258";

/// Every route, with a complete and well-formed inner request.
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

/// The service with two apps: `melink` may hand users over to `wlfz` and `later`, `wlfz` to none.
pub(crate) struct TestService {
    app: TestApp,
}

impl_deref_to_test_app!(TestService);

/// The app through which a test's client `origin` sends requests.
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

    fn login_cost(_: PasswordGuess) -> RequestCost {
        // The app is looked up first, since its secret decrypts the envelope.
        RequestCost::new(1, &["app", "find"], &["admit", "settle"])
    }

    fn login_fields(&self, origin: u8, identifier: &str, password: &str) -> Vec<(&'static str, String)> {
        let (app, inner) = (app_for_origin(origin), json!({ "login_name": identifier, "password": password }));
        vec![("encrypt", encrypt_text(app, inner.to_string())), ("app_from", app.to_owned())]
    }

    fn is_accepted(response: &TestResponse) -> bool {
        response.error_code() == 0
    }

    /// Decrypts the envelope with the secret of the app that it is addressed to.
    fn decode_response(&self, response: TestResponse) -> TestResponse {
        let Some(encrypted) = response.json()["encrypt"].as_str().map(str::to_owned) else { return response };
        assert_eq!(response.json().as_object().unwrap().len(), 1);
        let plaintexts = ["melink", "wlfz", "later"].into_iter().filter_map(|app| decrypt(app, &encrypted));
        let text = plaintexts.into_iter().find(|text| serde_json::from_str::<Value>(text).is_ok()).unwrap();
        TestResponse { text, encrypted: true, ..response }
    }

    fn calls_with_body(&self) -> Vec<Call> {
        let encrypted = ROUTES.iter().map(|(path, inner)| Call::encrypted(path, inner));
        documented_calls(SERVICE).into_iter().chain(encrypted).collect()
    }

    async fn submit(&self, call: &Call, content_type: &str, body: Vec<u8>) -> TestResponse {
        if call.is_encrypted {
            self.call_as("melink", &call.path, body).await
        } else {
            self.post(&call.path, content_type, body).await
        }
    }

    async fn enumeration_attempt(&self, n: usize, identifier: &str) -> TestResponse {
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

    fn is_success(response: &TestResponse) -> bool {
        Self::is_accepted(response)
    }
}

impl NewPasswordDialect for TestService {
    /// A code.
    type Authorization = String;

    async fn authorize_new_password(&self, _: &User) -> String {
        self.request_code_for("melink", conformance::PHONE, 2).await
    }

    async fn set_new_password(&self, code: &String, password: &str) -> TestResponse {
        let inner = json!({ "login_name": conformance::PHONE, "new_password": password, "captcha": code });
        self.call_as_melink("/auth/forgot", &inner).await
    }

    fn is_password_set(response: &TestResponse) -> bool {
        Self::is_accepted(response)
    }
}

/// Accessors for responses of this dialect.
pub(crate) trait ResponseExt {
    /// The error code; 0 for a success.
    fn error_code(&self) -> u64;

    /// HTTP status and error code.
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
    /// Calls `path` as `app` with `inner` encrypted, and decrypts the response.
    pub(crate) async fn call_as(&self, app: &str, path: &str, inner: impl AsRef<[u8]>) -> TestResponse {
        let body = json!({ "encrypt": encrypt_text(app, inner), "app_from": app }).to_string();
        self.post(path, "application/json", body).await
    }

    /// Calls `path` as `melink`.
    pub(crate) async fn call_as_melink(&self, path: &str, inner: &Value) -> TestResponse {
        self.call_as("melink", path, inner.to_string()).await
    }

    /// Calls `path` as `wlfz`.
    pub(crate) async fn call_as_wlfz(&self, path: &str, inner: &Value) -> TestResponse {
        self.call_as("wlfz", path, inner.to_string()).await
    }

    /// Posts `body` as plaintext, and decrypts the response if it is encrypted.
    pub(crate) async fn post(&self, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> TestResponse {
        self.decode_response(self.post_with_type(path, kind, body).await)
    }

    /// Requests a code for `usage` (1 register, 2 reset) through `app` and returns it.
    pub(crate) async fn request_code_for(&self, app: &str, phone: &str, usage: u8) -> String {
        let response =
            self.call_as(app, "/auth/captcha", json!({ "login_name": phone, "usage": usage }).to_string()).await;
        assert_eq!(response.text, r#"{"result":1}"#);
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

/// Pads `text` with PKCS#7 and encrypts it as `app`.
pub(crate) fn encrypt_text(app: &str, text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let pad = 16 - text.len() % 16;
    let mut bytes = text.to_vec();
    bytes.resize(text.len() + pad, u8::try_from(pad).unwrap());
    encrypt_blocks(app, &bytes)
}

/// Encrypts whole blocks as `app`.
pub(crate) fn encrypt_blocks(app: &str, blocks: &[u8]) -> String {
    let mut bytes = blocks.to_vec();
    let cipher = cbc::Encryptor::<Aes256>::new_from_slices(MEFP_SECRET.as_bytes(), app_secret(app).as_bytes()).unwrap();
    STANDARD.encode(cipher.encrypt_padded::<NoPadding>(&mut bytes, blocks.len()).unwrap())
}

/// Decrypts a response as `app`; `None` if it cannot be decrypted.
pub(crate) fn decrypt(app: &str, encrypted: &str) -> Option<String> {
    let mut bytes = STANDARD.decode(encrypted).ok()?;
    let cipher = cbc::Decryptor::<Aes256>::new_from_slices(MEFP_SECRET.as_bytes(), app_secret(app).as_bytes()).unwrap();
    // Any padding follows the closing brace of the object.
    let plaintext = cipher.decrypt_padded::<NoPadding>(&mut bytes).ok()?;
    let end = plaintext.iter().rposition(|byte| *byte == b'}')? + 1;
    String::from_utf8(plaintext[..end].to_vec()).ok()
}
