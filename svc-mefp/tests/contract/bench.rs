//! The service with two apps, and what an app server does: seal, post, open.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::{NoPadding, Pkcs7};
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use serde_json::{Value, json};
use stele_testkit::{Lab, Running, http};
use svc_mefp::SERVICE;

/// `mefp_secret`.
pub(crate) const KEY: &str = "0123456789abcdefghijklmnopqrstuv";
/// The one plain answer to an envelope that cannot be opened.
pub(crate) const SHUT: &str = r#"{"result":0,"errors":{"code":40000,"message":"请求无法解密"}}"#;
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

/// The service, its laboratory, and a client. `melink` may hand users over to `wlfz`, and `wlfz` to nobody.
pub(crate) struct Bench {
    pub(crate) lab: Lab,
    pub(crate) service: Running,
    client: reqwest::Client,
}

/// What came back: status, `Retry-After`, and the body, decrypted if it was encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) encrypted: bool,
    pub(crate) text: String,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The error's number; 0 if there was none.
    pub(crate) fn code(&self) -> u64 {
        let body = self.json();
        if body["result"] == 1 { 0 } else { body["errors"]["code"].as_u64().unwrap() }
    }

    /// Status and error's number.
    pub(crate) fn both(&self) -> (u16, u64) {
        (self.status, self.code())
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let settings: Vec<_> = [("STELE_MEFP_SECRET", KEY)].iter().chain(settings).copied().collect();
        let lab = Lab::with(&settings).await;
        lab.app("melink", &secret("melink"), &["wlfz", "later"]).await;
        lab.app("wlfz", &secret("wlfz"), &[]).await;
        let service = lab.start(SERVICE).await;
        Self { lab, service, client: http() }
    }

    /// Calls as `app`, with `inner` sealed, and opens the answer.
    pub(crate) async fn call(&self, app: &str, path: &str, inner: &str) -> Told {
        let body = json!({ "encrypt": seal(app, inner), "app_from": app }).to_string();
        self.post(app, path, "application/json", body).await
    }

    /// Calls as `melink`.
    pub(crate) async fn melink(&self, path: &str, inner: &Value) -> Told {
        self.call("melink", path, &inner.to_string()).await
    }

    /// Calls as `wlfz`.
    pub(crate) async fn wlfz(&self, path: &str, inner: &Value) -> Told {
        self.call("wlfz", path, &inner.to_string()).await
    }

    /// Posts `body` as it is, and opens the answer as `app` if it is encrypted.
    pub(crate) async fn post(&self, app: &str, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> Told {
        let request = self.client.post(self.service.url(path)).header("content-type", kind).body(body);
        told(app, request.send().await.unwrap()).await
    }

    /// Asks by another method.
    pub(crate) async fn ask(&self, method: reqwest::Method, path: &str) -> Told {
        told("melink", self.client.request(method, self.service.url(path)).send().await.unwrap()).await
    }

    /// Sends a code for `usage` through `app`, and gives it.
    pub(crate) async fn code(&self, app: &str, phone: &str, usage: u8) -> String {
        let told = self.call(app, "/auth/captcha", &json!({ "login_name": phone, "usage": usage }).to_string()).await;
        assert_eq!(told.text, r#"{"result":1}"#);
        self.lab.code_for(phone)
    }

    /// Logs in through `app`.
    pub(crate) async fn login(&self, app: &str, phone: &str, password: &str) -> Told {
        self.call(app, "/auth/login", &json!({ "login_name": phone, "password": password }).to_string()).await
    }
}

async fn told(app: &str, answer: reqwest::Response) -> Told {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/json; charset=utf-8");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let retry_after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
    let text = answer.text().await.unwrap();
    let outer: Value = serde_json::from_str(&text).unwrap();
    match outer.get("encrypt") {
        Some(sealed) => {
            assert_eq!(outer.as_object().unwrap().len(), 1);
            Told { status, retry_after, encrypted: true, text: unseal(app, sealed.as_str().unwrap()).unwrap() }
        }
        None => Told { status, retry_after, encrypted: false, text },
    }
}

/// An app's secret: its name, repeated to 16 bytes.
pub(crate) fn secret(app: &str) -> String {
    app.chars().cycle().take(16).collect()
}

/// `text` with PKCS#7, encrypted as `app` does.
pub(crate) fn seal(app: &str, text: &str) -> String {
    let pad = 16 - text.len() % 16;
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(text.len() + pad, u8::try_from(pad).unwrap());
    seal_blocks(app, &bytes)
}

/// Whole blocks, encrypted as `app` does.
pub(crate) fn seal_blocks(app: &str, blocks: &[u8]) -> String {
    let mut bytes = blocks.to_vec();
    let cipher = cbc::Encryptor::<Aes256>::new_from_slices(KEY.as_bytes(), secret(app).as_bytes()).unwrap();
    STANDARD.encode(cipher.encrypt_padded::<NoPadding>(&mut bytes, blocks.len()).unwrap())
}

/// What `app` reads of an answer, if it can.
pub(crate) fn unseal(app: &str, sealed: &str) -> Option<String> {
    let mut bytes = STANDARD.decode(sealed).ok()?;
    let cipher = cbc::Decryptor::<Aes256>::new_from_slices(KEY.as_bytes(), secret(app).as_bytes()).unwrap();
    String::from_utf8(cipher.decrypt_padded::<Pkcs7>(&mut bytes).ok()?.to_vec()).ok()
}
