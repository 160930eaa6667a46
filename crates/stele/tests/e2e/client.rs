//! A client of the five dialects, written from their API documents.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use md5::{Digest as _, Md5};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::support::{Installation, Server};

/// The five dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialectKind {
    Cloudbox,
    Tms,
    Portal,
    Mefp,
    Jwt,
}

impl DialectKind {
    pub(crate) const ALL: [Self; 5] = [Self::Cloudbox, Self::Tms, Self::Portal, Self::Mefp, Self::Jwt];
}

pub(crate) const CLOUDBOX_LOGIN: &str = "/api/v1/cloudbox/smarttms/auth/authsalt";
pub(crate) const CLOUDBOX_LOGOUT: &str = "/api/v1/cloudbox/smarttms/logout";
pub(crate) const CLOUDBOX_CHANGE_PASSWORD: &str = "/api/v1/cloudbox/auth/pwdreset";
pub(crate) const TMS_LOGIN: &str = "/container/api/v1/cloudbox/tms/auth/authsalt";
pub(crate) const TMS_CHANGE_PASSWORD: &str = "/container/api/v1/cloudbox/tms/auth/pwdreset";

/// A user with every kind of identifier: name, phone and e-mail address.
#[derive(Clone, Debug)]
pub(crate) struct TestUser {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) phone: String,
    pub(crate) email: String,
}

impl TestUser {
    /// Adds a user to this installation.
    pub(crate) fn add(installation: &Installation, name: &str, phone: &str, email: &str, password: &str) -> Self {
        let id = installation.add_user(name, password, &["--phone", phone, "--email", email]);
        Self { id, name: name.to_owned(), phone: phone.to_owned(), email: email.to_owned() }
    }
}

/// A response. MeFP's envelope is already decrypted.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) json: Value,
}

impl Response {
    /// The dialect's result code, as text.
    pub(crate) fn code(&self) -> String {
        let json = &self.json;
        let candidates = [&json["code"], &json["status"]["status_code"], &json["errors"]["code"], &json["result"]];
        let to_text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        candidates.into_iter().find(|value| !value.is_null()).map(to_text).unwrap_or_default()
    }

    /// Whether the response reports success, in any dialect.
    pub(crate) fn is_success(&self) -> bool {
        self.status == 200
            && matches!(self.code().as_str(), "0000" | "200" | "1" | "0")
            && self.json["errors"].is_null()
            && self.json["result"] != 0
    }

    /// The session token, one-time token or JWT in the body; panics if the body has none.
    pub(crate) fn token(&self) -> String {
        [&self.json["data"]["user_token"], &self.json["token"]].into_iter().find_map(Value::as_str).unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn assert_success(self) -> Self {
        assert!(self.is_success(), "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn assert_is(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
        self
    }
}

/// A MeFP app with its secrets.
#[derive(Clone, Debug)]
pub(crate) struct MefpApp {
    pub(crate) name: String,
    pub(crate) shared_secret: String,
    pub(crate) app_secret: String,
}

impl MefpApp {
    pub(crate) fn new(name: &str, (shared_secret, app_secret): (String, String)) -> Self {
        Self { name: name.to_owned(), shared_secret, app_secret }
    }

    pub(crate) fn encrypt(&self, text: &str) -> String {
        let mut buffer = text.as_bytes().to_vec();
        buffer.resize(text.len() + 16, 0);
        let cipher =
            cbc::Encryptor::<aes::Aes256>::new_from_slices(self.shared_secret.as_bytes(), self.app_secret.as_bytes())
                .unwrap();
        STANDARD.encode(cipher.encrypt_padded::<Pkcs7>(&mut buffer, text.len()).unwrap())
    }

    pub(crate) fn decrypt(&self, encrypted: &str) -> String {
        let mut buffer = STANDARD.decode(encrypted).unwrap();
        let cipher =
            cbc::Decryptor::<aes::Aes256>::new_from_slices(self.shared_secret.as_bytes(), self.app_secret.as_bytes())
                .unwrap();
        String::from_utf8(cipher.decrypt_padded::<Pkcs7>(&mut buffer).unwrap().to_vec()).unwrap()
    }
}

/// Sends requests to one server.
#[derive(Clone)]
pub(crate) struct DialectClient {
    http: reqwest::Client,
    url: String,
    /// The MeFP app that the client belongs to.
    pub(crate) app: MefpApp,
    /// The TMS client token that the client sends.
    pub(crate) client_token: String,
    /// Headers sent with every request.
    pub(crate) default_headers: Vec<(&'static str, String)>,
}

impl DialectClient {
    pub(crate) fn new(server: &Server, app: MefpApp, client_token: &str) -> Self {
        let http = reqwest::Client::new();
        Self { http, url: server.url.clone(), app, client_token: client_token.to_owned(), default_headers: Vec::new() }
    }

    /// A client without a MeFP app and without a client token.
    pub(crate) fn without_credentials(server: &Server) -> Self {
        Self::new(server, MefpApp::new("none", Default::default()), "")
    }

    /// A client of `server` with a MeFP app and a TMS client token that are added to its installation.
    pub(crate) fn register(installation: &Installation, server: &Server) -> Self {
        let app = MefpApp::new("melink", installation.add_app("melink", "melink"));
        let client_token = installation.run(&["token", "add", "kiosk"]).last_stdout_word();
        Self::new(server, app, &client_token)
    }

    /// A copy of this client whose requests report `address` as the client address, as a proxy does.
    pub(crate) fn with_address(&self, address: &str) -> Self {
        Self { default_headers: vec![("x-forwarded-for", address.to_owned())], ..self.clone() }
    }

    /// A copy of this client with this `User-Agent`.
    pub(crate) fn with_user_agent(&self, user_agent: &str) -> Self {
        Self { default_headers: vec![("user-agent", user_agent.to_owned())], ..self.clone() }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: String) -> Response {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> reqwest::Result<Response> {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        for (name, value) in
            self.default_headers.iter().map(|(name, value)| (*name, value.as_str())).chain(headers.iter().copied())
        {
            request = request.header(name, value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // Responses of dialects may contain tokens or user data, so none may be cached.
        let is_dialect_call =
            ["/api/", "/container/", "/i/", "/code/", "/auth/"].iter().any(|prefix| path.starts_with(prefix));
        let is_cacheable = headers.get("cache-control").is_none_or(|value| value != "no-store");
        assert!(!is_dialect_call || !is_cacheable, "{path}: {status} may be cached: {headers:?}");
        let text = response.text().await?;
        let json = serde_json::from_str(&text).unwrap_or_default();
        Ok(Response { status, headers, body: text, json })
    }

    /// Posts a JSON body.
    pub(crate) async fn post_json(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.send(Method::POST, path, &headers, body.to_string()).await
    }

    /// Posts an urlencoded body.
    pub(crate) async fn post_form(&self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Response {
        self.try_post_form(path, headers, fields).await.unwrap()
    }

    pub(crate) async fn try_post_form(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> reqwest::Result<Response> {
        let headers = [&[("content-type", "application/x-www-form-urlencoded")], headers].concat();
        self.try_send(Method::POST, path, &headers, encode_urlencoded(fields)).await
    }

    /// Posts `message` in an encrypted MeFP envelope, and decrypts the response.
    pub(crate) async fn call_mefp(&self, path: &str, message: &Value) -> Response {
        self.try_call_mefp(path, message).await.unwrap()
    }

    pub(crate) async fn try_call_mefp(&self, path: &str, message: &Value) -> reqwest::Result<Response> {
        let envelope = json!({ "encrypt": self.app.encrypt(&message.to_string()), "app_from": self.app.name });
        let headers = [("content-type", "application/json")];
        let mut response = self.try_send(Method::POST, path, &headers, envelope.to_string()).await?;
        if let Some(encrypted) = response.json["encrypt"].as_str() {
            response.body = self.app.decrypt(encrypted);
            response.json = serde_json::from_str(&response.body).unwrap();
        }
        Ok(response)
    }

    /// Logs in through the dialect's login call, with an identifier that the dialect accepts.
    pub(crate) async fn login(&self, dialect: DialectKind, person: &TestUser, password: &str) -> Response {
        let identifier = match dialect {
            DialectKind::Cloudbox | DialectKind::Tms => &person.name,
            DialectKind::Portal | DialectKind::Jwt => &person.email,
            DialectKind::Mefp => &person.phone,
        };
        self.login_as(dialect, identifier, password).await
    }

    pub(crate) async fn login_as(&self, dialect: DialectKind, identifier: &str, password: &str) -> Response {
        match dialect {
            DialectKind::Cloudbox => {
                self.post_json(CLOUDBOX_LOGIN, &[], &salted_login_body(identifier, password)).await
            }
            DialectKind::Tms => {
                self.post_json(
                    TMS_LOGIN,
                    &[("authorization", &self.client_token)],
                    &salted_login_body(identifier, password),
                )
                .await
            }
            DialectKind::Portal => {
                self.post_form("/i/login", &[], &[("username", identifier), ("password", &STANDARD.encode(password))])
                    .await
            }
            DialectKind::Mefp => {
                self.call_mefp("/auth/login", &json!({ "login_name": identifier, "password": password })).await
            }
            DialectKind::Jwt => {
                self.post_form("/api/v1/Auth/Login", &[], &[("account", identifier), ("password", password)]).await
            }
        }
    }

    /// Whether a session token is valid; `None` if the dialect has no call to find out. The check may end the session.
    pub(crate) async fn is_session_alive(&self, dialect: DialectKind, token: &str) -> Option<bool> {
        let response = match dialect {
            DialectKind::Cloudbox => self.post_json(CLOUDBOX_LOGOUT, &[("authorization", token)], &json!({})).await,
            // Rejected because of the token or, if that is valid, because of the password.
            DialectKind::Tms => {
                let body = salted_login_body(&format!("unknown-{}", fresh_timestamp()), "wrong");
                self.post_json(TMS_LOGIN, &[("authorization", token)], &body).await
            }
            DialectKind::Jwt => self.send(Method::GET, "/api/v1/Auth/Logout", &[("token", token)], String::new()).await,
            DialectKind::Portal | DialectKind::Mefp => return None,
        };
        Some(response.status != 401)
    }
}

/// The fields as `name=value&…`, percent-encoded.
pub(crate) fn encode_urlencoded(fields: &[(&str, &str)]) -> String {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>().join("&")
}

pub(crate) fn encode_base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// The md5 of `text` as 32 lowercase hex digits.
pub(crate) fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A timestamp that the last 279 calls did not return: up to 279 s in the future, which is within the allowed skew and
/// not older than a new state store.
pub(crate) fn fresh_timestamp() -> u64 {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    #[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    now + COUNTER.fetch_add(1, Ordering::Relaxed) % 280
}

/// `md5(md5(password) + timestamp)`.
pub(crate) fn salted_proof(password: &str, timestamp: u64) -> String {
    md5_hex(&format!("{}{timestamp}", md5_hex(password)))
}

/// The body of a salted login.
pub(crate) fn salted_login_body(username: &str, password: &str) -> Value {
    let timestamp = fresh_timestamp();
    json!({ "username": username, "password": salted_proof(password, timestamp), "timestamp": timestamp })
}

/// The body of cloudbox's and TMS's `pwdreset`.
pub(crate) fn password_change_body(id: &str, old: &str, new: &str) -> Value {
    let timestamp = fresh_timestamp();
    let (orig_password, new_password) = (salted_proof(old, timestamp), md5_hex(new));
    json!({ "user_id": id, "orig_password": orig_password, "new_password": new_password, "timestamp": timestamp })
}
