//! The five dialects' requests, and what they are answered. Written from the API documents (`docs/PROTOCOLS.md`), not
//! from the services.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::{NoPadding, Pkcs7};
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use md5::{Digest as _, Md5};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{BenchError, Request, Response, Result};

/// cloudbox's login.
pub const CLOUDBOX_LOGIN: &str = "/api/v1/cloudbox/smarttms/auth/authsalt";
/// cloudbox's change of a password.
pub const CLOUDBOX_CHANGE_PASSWORD: &str = "/api/v1/cloudbox/auth/pwdreset";
/// cloudbox's logout.
pub const CLOUDBOX_LOGOUT: &str = "/api/v1/cloudbox/smarttms/logout";
/// TMS's login.
pub const TMS_LOGIN: &str = "/container/api/v1/cloudbox/tms/auth/authsalt";
/// TMS's login for administrators.
pub const TMS_ADMIN_LOGIN: &str = "/container/api/v1/cloudbox/tms/auth/adminauthsalt";
/// TMS's change of a password.
pub const TMS_CHANGE_PASSWORD: &str = "/container/api/v1/cloudbox/tms/auth/pwdreset";
/// The portal's login.
pub const PORTAL_LOGIN: &str = "/i/login";
/// The portal's sending of codes.
pub const PORTAL_SEND_CODE: &str = "/code/send";
/// MeFP's login.
pub const MEFP_LOGIN: &str = "/auth/login";
/// The JWT dialect's login.
pub const JWT_LOGIN: &str = "/api/v1/Auth/Login";
/// The JWT dialect's sending of codes.
pub const JWT_SEND_CODE: &str = "/api/v1/Auth/ForgetPassword";

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// The five dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DialectKind {
    /// Salted md5, JSON.
    Cloudbox,
    /// The same, and the md5 itself; with a token.
    Tms,
    /// base64 in forms.
    Portal,
    /// AES-256-CBC envelopes.
    Mefp,
    /// Forms, answered by a JWT.
    Jwt,
}

impl DialectKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Cloudbox, Self::Tms, Self::Portal, Self::Mefp, Self::Jwt];

    /// Its name.
    pub fn name(self) -> &'static str {
        ["cloudbox", "tms", "portal", "mefp", "jwt"][self as usize]
    }

    /// The program that serves it.
    pub fn program(self) -> &'static str {
        ["svc-cloudbox", "svc-tms", "svc-portal", "svc-mefp", "svc-jwt"][self as usize]
    }

    /// The gateway's setting that says where it is served.
    pub fn upstream_setting(self) -> &'static str {
        [
            "STELE_UPSTREAM_CLOUDBOX",
            "STELE_UPSTREAM_TMS",
            "STELE_UPSTREAM_PORTAL",
            "STELE_UPSTREAM_MEFP",
            "STELE_UPSTREAM_JWT",
        ][self as usize]
    }

    /// Whether its login proves the password by `md5(D + timestamp)`, which is good once.
    pub fn is_salted(self) -> bool {
        matches!(self, Self::Cloudbox | Self::Tms)
    }
}

/// A MeFP app's keys.
#[derive(Clone, Debug)]
pub struct MefpApp {
    /// Its name.
    pub name: String,
    key: [u8; 32],
    iv: [u8; 16],
}

impl MefpApp {
    /// An app with `mefp_secret` and its own secret.
    ///
    /// # Errors
    /// If they are not 32 and 16 bytes.
    pub fn new(name: &str, mefp_secret: &str, app_secret: &str) -> Result<Self> {
        match (mefp_secret.as_bytes().try_into(), app_secret.as_bytes().try_into()) {
            (Ok(key), Ok(vector)) => Ok(Self { name: name.to_owned(), key, iv: vector }),
            _ => Err(BenchError::new("mefp_secret has 32 bytes, and an app's secret 16")),
        }
    }

    /// Encrypts, padded as PKCS#7 has it.
    pub fn encrypt(&self, text: &[u8]) -> Vec<u8> {
        let mut buffer = text.to_vec();
        buffer.resize(text.len() + 16, 0);
        let cipher = cbc::Encryptor::<Aes256>::new((&self.key).into(), (&self.iv).into());
        cipher.encrypt_padded::<Pkcs7>(&mut buffer, text.len()).map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// Encrypts what has whole blocks already, without padding it.
    pub fn encrypt_blocks(&self, blocks: &[u8]) -> Vec<u8> {
        let padded = self.encrypt(blocks);
        // A padding of its own is a block of its own.
        padded[..padded.len().saturating_sub(16)].to_vec()
    }

    /// Decrypts whole blocks and takes no padding off.
    pub fn decrypt_blocks(&self, sealed: &[u8]) -> Vec<u8> {
        let mut buffer = sealed.to_vec();
        let cipher = cbc::Decryptor::<Aes256>::new((&self.key).into(), (&self.iv).into());
        cipher.decrypt_padded::<NoPadding>(&mut buffer).map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// Decrypts; `None` if it is not padded as PKCS#7 has it.
    pub fn decrypt(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = sealed.to_vec();
        let cipher = cbc::Decryptor::<Aes256>::new((&self.key).into(), (&self.iv).into());
        cipher.decrypt_padded::<Pkcs7>(&mut buffer).ok().map(<[u8]>::to_vec)
    }

    /// A request whose envelope holds these bytes of base64, or of anything.
    pub fn envelope(&self, path: &str, encrypt: &str) -> Request {
        Request::post(path, JSON, json!({ "encrypt": encrypt, "app_from": self.name }).to_string())
    }

    /// A call with this inner message.
    pub fn call(&self, path: &str, message: &Value) -> Request {
        self.envelope(path, &STANDARD.encode(self.encrypt(message.to_string().as_bytes())))
    }
}

/// Whoever calls: with an app's keys and a TMS client token.
#[derive(Clone, Debug)]
pub struct DialectClient {
    /// The MeFP app.
    pub app: MefpApp,
    /// The TMS client token.
    pub tms_token: String,
}

impl DialectClient {
    /// A login by the dialect's own call. `at` is the timestamp of a salted proof, in seconds.
    pub fn login(&self, dialect: DialectKind, identifier: &str, password: &str, at: u64) -> Request {
        match dialect {
            DialectKind::Cloudbox => json_post(CLOUDBOX_LOGIN, &salted_login_body(identifier, password, at)),
            DialectKind::Tms => json_post(TMS_LOGIN, &salted_login_body(identifier, password, at))
                .with_header("authorization", &self.tms_token),
            DialectKind::Portal => {
                form_post(PORTAL_LOGIN, &[("username", identifier), ("password", &STANDARD.encode(password))])
            }
            DialectKind::Mefp => self.app.call(MEFP_LOGIN, &json!({ "login_name": identifier, "password": password })),
            DialectKind::Jwt => form_post(JWT_LOGIN, &[("account", identifier), ("password", password)]),
        }
    }

    /// What an answer says, with its envelope opened.
    pub fn parse_response(&self, dialect: DialectKind, answer: &Response) -> DialectResponse {
        let mut json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if dialect == DialectKind::Mefp
            && let Some(sealed) = json["encrypt"].as_str()
        {
            let opened = STANDARD.decode(sealed).ok().and_then(|sealed| self.app.decrypt(&sealed));
            json = opened.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        }
        let code = match dialect {
            DialectKind::Cloudbox | DialectKind::Tms | DialectKind::Jwt => &json["code"],
            DialectKind::Portal => &json["status"]["status_code"],
            DialectKind::Mefp if json["result"] == 1 => &json["result"],
            DialectKind::Mefp => &json["errors"]["code"],
        };
        let code = code.as_str().map_or_else(|| code.to_string(), str::to_owned);
        let retry_after = answer.header("retry-after").and_then(|value| value.parse().ok());
        DialectResponse { dialect, status: answer.status, code, retry_after, json }
    }
}

/// What was answered, in the dialect's terms.
#[derive(Clone, Debug, PartialEq)]
pub struct DialectResponse {
    /// In which dialect.
    pub dialect: DialectKind,
    /// HTTP's status.
    pub status: u16,
    /// The dialect's own code, as text; `null` if there is none.
    pub code: String,
    /// For how many seconds to wait.
    pub retry_after: Option<u64>,
    /// The whole of it; MeFP's is opened.
    pub json: Value,
}

impl DialectResponse {
    /// It says that all went well.
    pub fn is_success(&self) -> bool {
        self.status == 200 && self.code == ["0000", "0000", "200", "1", "0"][self.dialect as usize]
    }

    /// It says 用户名或密码错误, or what the dialect has for it: the guess was looked at.
    pub fn is_wrong_password(&self) -> bool {
        let codes: &[&str] = match self.dialect {
            DialectKind::Cloudbox | DialectKind::Tms => &["1002"],
            DialectKind::Portal => &["3201", "3202"],
            DialectKind::Mefp => &["40003"],
            DialectKind::Jwt => return self.status == 200 && self.json["message"] == "用户名或密码错误",
        };
        self.status == 200 && codes.contains(&self.code.as_str())
    }

    /// It asks for a code or a captcha first, which the login did not bring.
    pub fn is_challenged(&self) -> bool {
        match self.dialect {
            DialectKind::Portal => self.status == 200 && self.code == "3208",
            DialectKind::Jwt => self.status == 200 && self.json["message"] == "请输入验证码",
            DialectKind::Cloudbox | DialectKind::Tms | DialectKind::Mefp => false,
        }
    }

    /// It says to wait.
    pub fn is_rate_limited(&self) -> bool {
        self.status == 429
    }

    /// It says that the proof was used before (cloudbox, TMS).
    pub fn is_replayed(&self) -> bool {
        self.dialect.is_salted() && self.code == "1004"
    }
}

/// `md5(utf8(text))`: 32 lowercase hex digits. For a password: `D`.
pub fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `md5(D + timestamp)`.
pub fn salted_proof(password: &str, at: u64) -> String {
    md5_hex(&format!("{}{at}", md5_hex(password)))
}

/// The body of a salted login.
pub fn salted_login_body(identifier: &str, password: &str, at: u64) -> Value {
    json!({ "username": identifier, "password": salted_proof(password, at), "timestamp": at })
}

/// A POST of JSON.
pub fn json_post(path: &str, body: &Value) -> Request {
    Request::post(path, JSON, body.to_string())
}

/// A POST of a form.
pub fn form_post(path: &str, fields: &[(&str, &str)]) -> Request {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    Request::post(path, FORM, fields.join("&"))
}

/// Seconds since 1970 by the machine's clock.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
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
        assert!(MefpApp::new("melink", "short", "0123456789abcdef").is_err());
    }
}
