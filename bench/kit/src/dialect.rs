//! Client for the five dialects: builds requests and parses responses. Written from `docs/PROTOCOLS.md`, independently
//! of the services, so that a service's mistake is not repeated here.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::{NoPadding, Pkcs7};
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use md5::{Digest as _, Md5};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{BenchError, Request, Response, Result};

/// Path of cloudbox's login.
pub const CLOUDBOX_LOGIN: &str = "/api/v1/cloudbox/smarttms/auth/authsalt";
/// Path of cloudbox's password change.
pub const CLOUDBOX_CHANGE_PASSWORD: &str = "/api/v1/cloudbox/auth/pwdreset";
/// Path of cloudbox's logout.
pub const CLOUDBOX_LOGOUT: &str = "/api/v1/cloudbox/smarttms/logout";
/// Path of TMS's login.
pub const TMS_LOGIN: &str = "/container/api/v1/cloudbox/tms/auth/authsalt";
/// Path of TMS's administrator login.
pub const TMS_ADMIN_LOGIN: &str = "/container/api/v1/cloudbox/tms/auth/adminauthsalt";
/// Path of TMS's password change.
pub const TMS_CHANGE_PASSWORD: &str = "/container/api/v1/cloudbox/tms/auth/pwdreset";
/// Path of the portal's login.
pub const PORTAL_LOGIN: &str = "/i/login";
/// Path of the portal's call that sends a code.
pub const PORTAL_SEND_CODE: &str = "/code/send";
/// Path of MeFP's login.
pub const MEFP_LOGIN: &str = "/auth/login";
/// Path of the JWT dialect's login.
pub const JWT_LOGIN: &str = "/api/v1/Auth/Login";
/// Path of the JWT dialect's call that sends a code.
pub const JWT_SEND_CODE: &str = "/api/v1/Auth/ForgetPassword";

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// The five dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DialectKind {
    /// JSON; the password as a salted md5 proof.
    Cloudbox,
    /// JSON; a salted proof or the plain md5 digest; requires a client token.
    Tms,
    /// Forms; the password in base64.
    Portal,
    /// JSON in AES-256-CBC envelopes.
    Mefp,
    /// Forms; a login returns a JWT.
    Jwt,
}

impl DialectKind {
    /// All dialects.
    pub const ALL: [Self; 5] = [Self::Cloudbox, Self::Tms, Self::Portal, Self::Mefp, Self::Jwt];

    /// The dialect's name.
    pub fn name(self) -> &'static str {
        ["cloudbox", "tms", "portal", "mefp", "jwt"][self as usize]
    }

    /// The program that serves the dialect.
    pub fn program(self) -> &'static str {
        ["svc-cloudbox", "svc-tms", "svc-portal", "svc-mefp", "svc-jwt"][self as usize]
    }

    /// The gateway's setting with the dialect's upstream URLs.
    pub fn upstream_setting(self) -> &'static str {
        [
            "STELE_UPSTREAM_CLOUDBOX",
            "STELE_UPSTREAM_TMS",
            "STELE_UPSTREAM_PORTAL",
            "STELE_UPSTREAM_MEFP",
            "STELE_UPSTREAM_JWT",
        ][self as usize]
    }

    /// Whether logins carry the salted proof `md5(D + timestamp)`, which is accepted once.
    pub fn is_salted(self) -> bool {
        matches!(self, Self::Cloudbox | Self::Tms)
    }
}

/// A MeFP app's keys.
#[derive(Clone, Debug)]
pub struct MefpApp {
    /// The app's name, sent as `app_from`.
    pub name: String,
    key: [u8; 32],
    iv: [u8; 16],
}

impl MefpApp {
    /// An app with the shared `mefp_secret` (32 bytes, the AES key) and its own `app_secret` (16 bytes, the IV).
    ///
    /// # Errors
    /// If a secret has another length.
    pub fn new(name: &str, mefp_secret: &str, app_secret: &str) -> Result<Self> {
        match (mefp_secret.as_bytes().try_into(), app_secret.as_bytes().try_into()) {
            (Ok(key), Ok(iv)) => Ok(Self { name: name.to_owned(), key, iv }),
            _ => Err(BenchError::new("mefp_secret must have 32 bytes, and an app's secret 16")),
        }
    }

    /// Encrypts `text` with PKCS#7 padding.
    pub fn encrypt(&self, text: &[u8]) -> Vec<u8> {
        let mut buffer = text.to_vec();
        buffer.resize(text.len() + 16, 0);
        let cipher = cbc::Encryptor::<Aes256>::new((&self.key).into(), (&self.iv).into());
        cipher.encrypt_padded::<Pkcs7>(&mut buffer, text.len()).map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// Encrypts whole blocks of 16 bytes without padding.
    pub fn encrypt_blocks(&self, blocks: &[u8]) -> Vec<u8> {
        let padded = self.encrypt(blocks);
        // The input ends at a block boundary, so PKCS#7 padding is exactly one block.
        padded[..padded.len().saturating_sub(16)].to_vec()
    }

    /// Decrypts whole blocks without removing padding; empty if the length is not a multiple of 16 bytes.
    pub fn decrypt_blocks(&self, encrypted: &[u8]) -> Vec<u8> {
        let mut buffer = encrypted.to_vec();
        let cipher = cbc::Decryptor::<Aes256>::new((&self.key).into(), (&self.iv).into());
        cipher.decrypt_padded::<NoPadding>(&mut buffer).map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// Decrypts and removes PKCS#7 padding; `None` if the length or the padding is invalid.
    pub fn decrypt(&self, encrypted: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = encrypted.to_vec();
        let cipher = cbc::Decryptor::<Aes256>::new((&self.key).into(), (&self.iv).into());
        cipher.decrypt_padded::<Pkcs7>(&mut buffer).ok().map(<[u8]>::to_vec)
    }

    /// A request with `encrypt` as the envelope's content, whether or not it is valid base64.
    pub fn envelope_request(&self, path: &str, encrypt: &str) -> Request {
        Request::post(path, JSON, json!({ "encrypt": encrypt, "app_from": self.name }).to_string())
    }

    /// A request with `message` encrypted in the envelope.
    pub fn encrypted_request(&self, path: &str, message: &Value) -> Request {
        self.envelope_request(path, &STANDARD.encode(self.encrypt(message.to_string().as_bytes())))
    }
}

/// A client with the credentials that the dialects require: a MeFP app's keys and a TMS client token.
#[derive(Clone, Debug)]
pub struct DialectClient {
    /// The MeFP app.
    pub app: MefpApp,
    /// The TMS client token.
    pub tms_token: String,
}

impl DialectClient {
    /// A login request of `dialect`. `timestamp` is that of a salted proof, in Unix seconds; other dialects have none.
    pub fn login_request(&self, dialect: DialectKind, identifier: &str, password: &str, timestamp: u64) -> Request {
        match dialect {
            DialectKind::Cloudbox => json_post(CLOUDBOX_LOGIN, &salted_login_body(identifier, password, timestamp)),
            DialectKind::Tms => json_post(TMS_LOGIN, &salted_login_body(identifier, password, timestamp))
                .with_header("authorization", &self.tms_token),
            DialectKind::Portal => {
                form_post(PORTAL_LOGIN, &[("username", identifier), ("password", &STANDARD.encode(password))])
            }
            DialectKind::Mefp => {
                self.app.encrypted_request(MEFP_LOGIN, &json!({ "login_name": identifier, "password": password }))
            }
            DialectKind::Jwt => form_post(JWT_LOGIN, &[("account", identifier), ("password", password)]),
        }
    }

    /// Parses a response body, after decrypting MeFP's envelope.
    pub fn parse_response(&self, dialect: DialectKind, response: &Response) -> DialectResponse {
        let mut json: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        if dialect == DialectKind::Mefp
            && let Some(encrypted) = json["encrypt"].as_str()
        {
            let decrypted = STANDARD.decode(encrypted).ok().and_then(|encrypted| self.app.decrypt(&encrypted));
            json = decrypted.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        }
        let code = match dialect {
            DialectKind::Cloudbox | DialectKind::Tms | DialectKind::Jwt => &json["code"],
            DialectKind::Portal => &json["status"]["status_code"],
            DialectKind::Mefp if json["result"] == 1 => &json["result"],
            DialectKind::Mefp => &json["errors"]["code"],
        };
        let code = code.as_str().map_or_else(|| code.to_string(), str::to_owned);
        let retry_after = response.header("retry-after").and_then(|value| value.parse().ok());
        DialectResponse { dialect, status: response.status, code, retry_after, json }
    }
}

/// A parsed response of a dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct DialectResponse {
    /// The dialect.
    pub dialect: DialectKind,
    /// The HTTP status.
    pub status: u16,
    /// The dialect's result code as text; `null` if there is none.
    pub code: String,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    /// The body; for MeFP, the decrypted message.
    pub json: Value,
}

impl DialectResponse {
    /// Whether the call succeeded.
    pub fn is_success(&self) -> bool {
        self.status == 200 && self.code == ["0000", "0000", "200", "1", "0"][self.dialect as usize]
    }

    /// Whether the password was checked and found wrong (用户名或密码错误, or the dialect's equivalent).
    pub fn is_wrong_password(&self) -> bool {
        let codes: &[&str] = match self.dialect {
            DialectKind::Cloudbox | DialectKind::Tms => &["1002"],
            DialectKind::Portal => &["3201", "3202"],
            DialectKind::Mefp => &["40003"],
            DialectKind::Jwt => return self.status == 200 && self.json["message"] == "用户名或密码错误",
        };
        self.status == 200 && codes.contains(&self.code.as_str())
    }

    /// Whether the login requires a challenge (a code or a captcha) that the request did not include.
    pub fn is_challenged(&self) -> bool {
        match self.dialect {
            DialectKind::Portal => self.status == 200 && self.code == "3208",
            DialectKind::Jwt => self.status == 200 && self.json["message"] == "请输入验证码",
            DialectKind::Cloudbox | DialectKind::Tms | DialectKind::Mefp => false,
        }
    }

    /// Whether a rate limit rejected the request.
    pub fn is_rate_limited(&self) -> bool {
        self.status == 429
    }

    /// Whether replay protection rejected the proof (cloudbox, TMS).
    pub fn is_replayed(&self) -> bool {
        self.dialect.is_salted() && self.code == "1004"
    }
}

/// `md5(text)` as 32 lowercase hex digits. For a password, this is its digest `D`.
pub fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The salted proof `md5(D + timestamp)`, where `D` is the password's digest.
pub fn salted_proof(password: &str, timestamp: u64) -> String {
    md5_hex(&format!("{}{timestamp}", md5_hex(password)))
}

/// The body of a salted login.
pub fn salted_login_body(identifier: &str, password: &str, timestamp: u64) -> Value {
    json!({ "username": identifier, "password": salted_proof(password, timestamp), "timestamp": timestamp })
}

/// A POST request with a JSON body.
pub fn json_post(path: &str, body: &Value) -> Request {
    Request::post(path, JSON, body.to_string())
}

/// A POST request with a URL-encoded form.
pub fn form_post(path: &str, fields: &[(&str, &str)]) -> Request {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    Request::post(path, FORM, fields.join("&"))
}

/// The system clock's Unix time in seconds.
pub fn unix_seconds() -> u64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `svc-cloudbox/tests/golden/login.http`.
    #[test]
    fn a_proof_matches_the_golden_transcript() {
        assert_eq!(salted_proof("123456", 1_767_254_400), "f1d750ac6033b0c79fc54c18c8ae0fb9");
    }

    #[test]
    fn an_envelope_decrypts_and_whole_blocks_are_not_padded() {
        let app = MefpApp::new("melink", "0123456789abcdefghijklmnopqrstuv", "0123456789abcdef").unwrap();
        assert_eq!(app.decrypt(&app.encrypt(b"{}")).as_deref(), Some(&b"{}"[..]));
        assert_eq!(app.encrypt(b"{}").len(), 16);
        assert_eq!(app.encrypt_blocks(&[7; 32]).len(), 32);
        assert_eq!(app.decrypt_blocks(&app.encrypt_blocks(&[7; 32])), [7; 32]);
    }

    #[test]
    fn secrets_of_another_length_are_rejected() {
        assert!(MefpApp::new("melink", "short", "0123456789abcdef").is_err());
    }
}
