//! Client of an old MeFP server (MeFP document, 登录). Requests and answers are encrypted with AES-256-CBC; the document has
//! no session to end, and its answer names no user.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::{NoPadding, Pkcs7};
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use cbc::{Decryptor, Encryptor};
use serde_json::{Map, Value};
use stele_core::old_server::{OldProfile, OldProof, OldQuestion};
use zeroize::Zeroizing;

use crate::exchange::{OldDialect, OutboundRequest, Reply, Response, text};

const LOGIN_PATH: &str = "auth/login";
/// Length of `mefp_secret` in bytes: the key.
pub(crate) const KEY_LENGTH: usize = 32;
/// Length of `app_secret` in bytes: the initialisation vector.
pub(crate) const IV_LENGTH: usize = 16;
const BLOCK_LENGTH: usize = 16;

/// An old MeFP server, as one of its apps calls it.
pub(crate) struct OldMefp {
    /// `app_from`.
    pub(crate) app: String,
    /// `mefp_secret`.
    pub(crate) key: Zeroizing<[u8; KEY_LENGTH]>,
    /// `app_secret`.
    pub(crate) iv: Zeroizing<[u8; IV_LENGTH]>,
}

impl OldMefp {
    fn encrypt(&self, text: &str) -> String {
        // Room for the padding of PKCS#7: 1 to 16 bytes.
        let mut buffer = Zeroizing::new(vec![0; text.len() + BLOCK_LENGTH]);
        buffer[..text.len()].copy_from_slice(text.as_bytes());
        let encryptor = Encryptor::<Aes256>::new((&*self.key).into(), (&*self.iv).into());
        // The room suffices, so padding cannot fail.
        let encrypted = encryptor.encrypt_padded::<Pkcs7>(&mut buffer, text.len()).unwrap_or_default();
        STANDARD.encode(encrypted)
    }

    /// The JSON object at the start of the plaintext. How the server pads is not documented, so what follows the object is
    /// ignored: a forged answer needs the key, and with it any padding can be made.
    fn decrypt(&self, encoded: &str) -> Option<Map<String, Value>> {
        let mut buffer = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
        if buffer.is_empty() || !buffer.len().is_multiple_of(BLOCK_LENGTH) {
            return None;
        }
        let decryptor = Decryptor::<Aes256>::new((&*self.key).into(), (&*self.iv).into());
        let plaintext = decryptor.decrypt_padded::<NoPadding>(&mut buffer).ok()?;
        let text = plaintext.strip_prefix(b"\xef\xbb\xbf").unwrap_or(plaintext);
        serde_json::Deserializer::from_slice(text).into_iter().next()?.ok()
    }
}

impl OldDialect for OldMefp {
    fn login_request(&self, question: &OldQuestion) -> Option<OutboundRequest> {
        let OldProof::Raw(password) = &question.proof else { return None };
        let (login_name, password) = (Value::from(question.login_name.as_str()), json_string(password.expose()));
        let text = Zeroizing::new(format!(r#"{{"login_name":{login_name},"password":{}}}"#, password.as_str()));
        let body = serde_json::json!({ "encrypt": self.encrypt(&text), "app_from": self.app });
        Some(OutboundRequest::json(LOGIN_PATH, &body.to_string()))
    }

    fn read_login(&self, _: &OldQuestion, response: &Response) -> Reply {
        let malformed =
            || Reply::Malformed(format!("status {} without the document's envelope", response.status.as_u16()));
        let Some(outer) = response.json() else { return malformed() };
        let (answer, is_encrypted) = match text(&outer, "encrypt").map(|encoded| self.decrypt(&encoded)) {
            Some(Some(answer)) => (answer, true),
            Some(None) => return Reply::Malformed("its answer cannot be decrypted; check both secrets".to_owned()),
            // The document does not say that errors are encrypted.
            None => (outer, false),
        };
        let code = match answer.get("errors") {
            Some(Value::Object(errors)) => text(errors, "code"),
            _ => None,
        };
        match (text(&answer, "result").as_deref(), code.as_deref()) {
            // Only an encrypted yes is from the server that knows the secrets.
            (Some("1"), _) if is_encrypted && response.status.is_success() => {
                Reply::Yes { profile: Box::new(OldProfile::default()), logout: None }
            }
            (Some("0"), Some("40003" | "40004" | "40005" | "40007")) => Reply::No,
            (Some("0"), Some("40002")) => Reply::Challenge,
            (Some("0"), Some(code)) if code.len() <= 6 && code.bytes().all(|b| b.is_ascii_digit()) => {
                Reply::Refused(format!("it refuses the login with code {code}"))
            }
            _ => malformed(),
        }
    }
}

/// A JSON string, erased on drop.
fn json_string(text: &str) -> Zeroizing<String> {
    Zeroizing::new(serde_json::to_string(text).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::tests::response;
    use stele_core::password::RawPassword;

    fn server() -> OldMefp {
        OldMefp {
            app: "melink".to_owned(),
            key: Zeroizing::new(*b"0123456789abcdef0123456789abcdef"),
            iv: Zeroizing::new(*b"fedcba9876543210"),
        }
    }

    fn question(password: &str) -> OldQuestion {
        let proof = OldProof::Raw(RawPassword::new(password.to_owned()));
        OldQuestion { login_name: "13612345678".to_owned(), proof }
    }

    fn read(body: &str) -> &'static str {
        match server().read_login(&question("x"), &response(200, body)) {
            Reply::Yes { .. } => "yes",
            Reply::No => "no",
            Reply::Challenge => "challenge",
            Reply::Refused(_) => "refused",
            Reply::Malformed(_) => "malformed",
        }
    }

    fn envelope(text: &str) -> String {
        serde_json::json!({ "encrypt": server().encrypt(text) }).to_string()
    }

    /// `printf %s TEXT | openssl enc -aes-256-cbc -K … -iv … | base64 -w0`
    #[test]
    fn the_envelope_is_that_of_openssl() {
        let request = server().login_request(&question("123456")).unwrap();
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        let expected = "7EwrmZ4ytts+qzkcOSm36BaHJrXiDGFhONp2HMJaVIBzPqIeyPrqFIpfk3cxpOpd6MYBkY8JJ1cx0Wb8zOsP9g==";
        assert_eq!(body, format!(r#"{{"encrypt":"{expected}","app_from":"melink"}}"#));
        let decrypted = Value::Object(server().decrypt(expected).unwrap());
        assert_eq!(decrypted.to_string(), r#"{"login_name":"13612345678","password":"123456"}"#);
        let quoted = server().login_request(&question("\"密\\\n")).unwrap();
        let body: Value = serde_json::from_slice(&quoted.body).unwrap();
        let decrypted = server().decrypt(body["encrypt"].as_str().unwrap()).unwrap();
        assert_eq!(decrypted["password"], "\"密\\\n");
    }

    #[test]
    fn only_an_encrypted_yes_counts() {
        assert_eq!(read(&envelope(r#"{"result":1}"#)), "yes");
        // Zeros and spaces as padding.
        assert_eq!(read(&envelope("{\"result\":1}\0\0\0\0")), "yes");
        assert_eq!(read(r#"{"result":1}"#), "malformed");
        assert_eq!(read(r#"{"encrypt":"AAAA"}"#), "malformed");
        assert_eq!(read(r#"{"encrypt":"AAAAAAAAAAAAAAAAAAAAAA=="}"#), "malformed");
        assert_eq!(read(&envelope("[]")), "malformed");
        assert_eq!(read("{}"), "malformed");
    }

    #[test]
    fn errors_are_read_encrypted_and_plain() {
        for (code, expected) in [
            (40_003, "no"),
            (40_004, "no"),
            (40_005, "no"),
            (40_007, "no"),
            (40_002, "challenge"),
            (40_000, "refused"),
            (42_900, "refused"),
        ] {
            let body = format!(r#"{{"result":0,"errors":{{"code":{code},"message":"x"}}}}"#);
            assert_eq!((read(&body), read(&envelope(&body))), (expected, expected), "{code}");
        }
        assert_eq!(read(r#"{"result":0,"errors":{}}"#), "malformed");
    }
}
