//! JWT issuing and JWT verification (RFC 7519): a token is issued for a session at login, and verified by signature,
//! algorithm, issuer and expiry. The state store decides whether the session is still valid.

use std::sync::Arc;

use jsonwebtoken::{Header, Validation};
use serde::{Deserialize, Serialize};
use stele_core::session::{Session, Token};
use stele_core::time::Timestamp;
use stele_core::{Error, Result};
use stele_keys::KeyConsumer as _;

use crate::keys::SigningKeys;

/// The longest token that is parsed, in bytes. Issued tokens have a few hundred.
const MAX_TOKEN_BYTES: usize = 4_096;

/// Issues and verifies JWTs.
pub struct TokenManager {
    keys: Arc<SigningKeys>,
    issuer: String,
    validation: Validation,
}

/// The claims of a token. All five are required, with these types: an `exp` that is a string or a fraction is rejected.
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    jti: String,
    iat: i64,
    exp: i64,
    iss: String,
}

/// The content of a token whose signature is valid and that has not expired.
#[derive(Debug)]
pub struct VerifiedToken {
    /// The session token (`jti`).
    pub session_token: Token,
    /// The user's id (`sub`).
    pub user_id: String,
}

impl TokenManager {
    /// Issues tokens of `issuer`, signed with `keys`, and accepts only those.
    pub fn new(keys: Arc<SigningKeys>, issuer: &str) -> Self {
        // Algorithm confusion: the algorithm comes from the keys, and the token's header must match it (docs/THREATS.md
        // 27).
        let mut validation = Validation::new(keys.algorithm.jose_algorithm());
        validation.leeway = 0;
        // The library would use the system clock; `verify` checks `exp` against the injected one.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.set_issuer(&[issuer]);
        Self { keys, issuer: issuer.to_owned(), validation }
    }

    /// Issues a token for a new session with the session token `token`.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no signing key or signing fails.
    pub fn issue(&self, session: &Session, token: &Token) -> Result<String> {
        let key =
            self.keys.current(session.created).ok_or_else(|| Error::internal("there is no active signing key"))?;
        let header = Header { kid: Some(key.key_id.clone()), ..Header::new(self.keys.algorithm.jose_algorithm()) };
        let claims = Claims {
            sub: session.user.to_string(),
            jti: token.expose().to_owned(),
            iat: session.created.as_secs(),
            exp: session.expires.as_secs(),
            iss: self.issuer.clone(),
        };
        jsonwebtoken::encode(&header, &claims, &key.encoding_key).map_err(Error::internal)
    }

    /// The registry name of the token's key if its `kid` is well-formed but not loaded, so that the caller can load it
    /// (key rotation on another instance).
    pub fn unknown_key_name(&self, token: &str) -> Option<String> {
        let id = (token.len() <= MAX_TOKEN_BYTES).then(|| jsonwebtoken::decode_header(token).ok()?.kid)??;
        let kind = self.keys.kind().name;
        let name = SigningKeys::registered_name(&id);
        let number: u32 = name.strip_prefix(kind)?.strip_prefix('-')?.parse().ok()?;
        (self.keys.find(&id).is_none() && name == format!("{kind}-{number}")).then_some(name)
    }

    /// Verifies a token; `None` if signature, header or claims are invalid, or if it has expired at `now`.
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<VerifiedToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        let key = self.keys.find(header.kid.as_deref()?)?;
        if header.typ.as_deref() != Some("JWT") || header.crit.is_some() {
            return None;
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding_key, &self.validation).ok()?.claims;
        let session_token = Token::parse(&claims.jti)?;
        (now.as_secs() < claims.exp).then_some(VerifiedToken { session_token, user_id: claims.sub })
    }
}

/// Whether `text` has the form of a JWT (three parts separated by dots) rather than of a reset token.
pub fn is_jwt(text: &str) -> bool {
    text.matches('.').count() == 2
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use stele_core::random::OsRandom;
    use stele_core::user::UserId;
    use stele_keys::RegisteredKey;

    use super::*;
    use crate::keys::Algorithm;

    const NOW: Timestamp = Timestamp::from_secs(1_767_254_400);

    static TOKENS: LazyLock<TokenManager> = LazyLock::new(|| tokens("stele"));

    fn tokens(issuer: &str) -> TokenManager {
        let keys = SigningKeys::empty(Algorithm::EdDsa);
        let pem = (keys.kind().generate)(&OsRandom);
        keys.set_keys(vec![RegisteredKey { number: 1, active_from: Timestamp::from_secs(0), key_material: pem }]);
        TokenManager::new(Arc::new(keys), issuer)
    }

    fn issue(tokens: &TokenManager) -> (String, Session) {
        let session = Session {
            user: UserId::from_bytes([7; 16]),
            dialect: "jwt".to_owned(),
            app: String::new(),
            created: NOW,
            expires: Timestamp::from_secs(NOW.as_secs() + 10),
            last_seen: NOW,
            epoch: 0,
        };
        (tokens.issue(&session, &Token::generate(&OsRandom)).unwrap(), session)
    }

    #[test]
    fn an_issued_token_verifies_until_it_expires() {
        let (token, session) = issue(&TOKENS);
        assert!(is_jwt(&token));
        assert_eq!(TOKENS.verify(&token, NOW).unwrap().user_id, session.user.to_string());
        assert!(TOKENS.verify(&token, Timestamp::from_micros(session.expires.as_micros() - 1)).is_some());
        assert!(TOKENS.verify(&token, session.expires).is_none());
        assert!(tokens("stele").verify(&token, NOW).is_none(), "signed by another key with the same id");
    }

    #[test]
    fn an_unknown_key_id_is_reported_if_well_formed() {
        let (token, _) = issue(&TOKENS);
        assert_eq!(TOKENS.unknown_key_name(&token), None);
        let token_with_kid = |id: &str| {
            let header = Header { kid: Some(id.to_owned()), ..Header::new(jsonwebtoken::Algorithm::EdDSA) };
            jsonwebtoken::encode(&header, &(), &TOKENS.keys.current(NOW).unwrap().encoding_key).unwrap()
        };
        assert_eq!(TOKENS.unknown_key_name(&token_with_kid("eddsa-2")).as_deref(), Some("jwt-eddsa-2"));
        for hostile in ["", "eddsa-02", "rs256-2", "eddsa-x", "../eddsa-2", "eddsa-99999999999"] {
            assert_eq!(TOKENS.unknown_key_name(&token_with_kid(hostile)), None, "{hostile}");
        }
        assert_eq!(TOKENS.unknown_key_name("no.token.this"), None);
    }

    #[test]
    fn overlong_tokens_are_rejected() {
        let (token, _) = issue(&tokens(&"x".repeat(MAX_TOKEN_BYTES)));
        assert!(TOKENS.verify(&token, NOW).is_none());
    }

    proptest! {
        #[test]
        fn forged_tokens_do_not_verify(text in "\\PC{0,80}", at in 0..200_usize, byte in "[A-Za-z0-9_.-]") {
            prop_assert!(TOKENS.verify(&text, NOW).is_none());
            let (token, _) = issue(&TOKENS);
            let mut changed = token.clone();
            changed.replace_range(at..=at, &byte);
            prop_assert!(changed == token || TOKENS.verify(&changed, NOW).is_none());
        }
    }
}
