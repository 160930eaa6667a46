//! Login tokens: the JWTs that the JWT dialect issues for a session at login. The state store decides whether the session
//! is still valid.

use serde::{Deserialize, Serialize};
use stele_core::oauth::SigningAlgorithm;
use stele_core::session::{Session, Token};
use stele_core::time::Timestamp;
use stele_core::{Error, Result, UseCases};

use crate::{Expected, ExpectedAudience, KeySet, Signer, Verifier};

/// The type in the header of login tokens (RFC 7519 5.1). Access tokens have `at+jwt`, so neither passes for the other.
const LOGIN_TOKEN_TYPE: &str = "JWT";

/// The name of the dialect whose sessions login tokens belong to.
const DIALECT: &str = "jwt";

/// Issues and verifies login tokens.
#[derive(Clone, Debug)]
pub struct LoginTokens {
    signer: Signer,
    verifier: Verifier,
    algorithm: SigningAlgorithm,
    issuer: String,
}

/// The claims of a login token. All five are required, with these types.
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
    /// When the token expires (`exp`). Its session may be valid for longer, because use extends it.
    pub expires: Timestamp,
}

impl LoginTokens {
    /// Issues tokens of `issuer`, signed with the keys of `algorithm` in `keys`, and accepts only those.
    pub fn new(keys: &KeySet, algorithm: SigningAlgorithm, issuer: &str) -> Self {
        let keys = keys.only(algorithm);
        let (signer, verifier) = (Signer::new(keys.clone()), Verifier::new(keys));
        Self { signer, verifier, algorithm, issuer: issuer.to_owned() }
    }

    /// Issues a token for a new session with the session token `token`.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no signing key or signing fails.
    pub fn issue(&self, session: &Session, token: &Token) -> Result<String> {
        let claims = Claims {
            sub: session.user.to_string(),
            jti: token.expose().to_owned(),
            iat: session.created.as_secs(),
            exp: session.expires.as_secs(),
            iss: self.issuer.clone(),
        };
        self.signer.sign(self.algorithm, LOGIN_TOKEN_TYPE, &claims, session.created)
    }

    /// Verifies a token; `None` if signature, header or claims are invalid, or if it has expired at `now`.
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<VerifiedToken> {
        self.verifier.verify(token, &self.expected(), now).and_then(Claims::into_verified)
    }

    /// As [`LoginTokens::verify`] at the present time. If the token names a key that is not loaded, looks for newly
    /// registered keys first (key rotation on another instance).
    ///
    /// # Errors
    /// As [`Verifier::verify_or_refresh`].
    pub async fn verify_or_refresh(&self, use_cases: &UseCases, token: &str) -> Result<VerifiedToken> {
        let claims: Claims = self.verifier.verify_or_refresh(use_cases, token, &self.expected()).await?;
        claims.into_verified().ok_or(Error::NotAuthenticated)
    }

    /// Verifies a token and its session, which must be live and of the token's user. Returns both.
    ///
    /// # Errors
    /// [`Error::NotAuthenticated`] if either is not valid; `Unavailable`, `Internal`.
    pub async fn authenticate(&self, use_cases: &UseCases, token: &str) -> Result<(Session, Token)> {
        let verified = self.verify_or_refresh(use_cases, token).await?;
        let (session, _) = use_cases.authenticate(DIALECT, &verified.session_token).await?;
        if session.user.to_string() == verified.user_id {
            Ok((session, verified.session_token))
        } else {
            Err(Error::NotAuthenticated)
        }
    }

    fn expected(&self) -> Expected<'_> {
        Expected { typ: LOGIN_TOKEN_TYPE, issuer: &self.issuer, audience: ExpectedAudience::Absent }
    }
}

impl Claims {
    fn into_verified(self) -> Option<VerifiedToken> {
        let session_token = Token::parse(&self.jti)?;
        Some(VerifiedToken { session_token, user_id: self.sub, expires: Timestamp::from_secs(self.exp) })
    }
}

/// Whether `text` has the form of a JWT (three parts separated by dots) rather than of a session or reset token.
pub fn is_jwt(text: &str) -> bool {
    text.matches('.').count() == 2
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use stele_core::random::OsRandom;
    use stele_core::user::UserId;
    use stele_keys::{KeyConsumer as _, RegisteredKey};

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_767_254_400);

    static KEYS: LazyLock<KeySet> = LazyLock::new(generate_keys);

    fn generate_keys() -> KeySet {
        let set = KeySet::empty(&[SigningAlgorithm::EdDsa, SigningAlgorithm::Es256]);
        for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256] {
            let keys = set.keys_of(algorithm).unwrap();
            let key_material = (keys.kind().generate)(&OsRandom);
            keys.set_keys(vec![RegisteredKey { number: 1, active_from: Timestamp::from_secs(0), key_material }]);
        }
        set
    }

    fn tokens(algorithm: SigningAlgorithm, issuer: &str) -> LoginTokens {
        LoginTokens::new(&KEYS, algorithm, issuer)
    }

    fn session() -> Session {
        Session {
            user: UserId::from_bytes([7; 16]),
            dialect: "jwt".to_owned(),
            app: String::new(),
            created: NOW,
            expires: Timestamp::from_secs(NOW.as_secs() + 10),
            last_seen: NOW,
            epoch: 0,
        }
    }

    #[test]
    fn an_issued_token_verifies_until_it_expires() {
        let (tokens, session) = (tokens(SigningAlgorithm::EdDsa, "stele"), session());
        let session_token = Token::generate(&OsRandom);
        let token = tokens.issue(&session, &session_token).unwrap();
        assert!(is_jwt(&token));
        let verified = tokens.verify(&token, NOW).unwrap();
        assert_eq!((verified.user_id, verified.session_token.key()), (session.user.to_string(), session_token.key()));
        assert!(tokens.verify(&token, Timestamp::from_micros(session.expires.as_micros() - 1)).is_some());
        assert!(tokens.verify(&token, session.expires).is_none());
        let others = LoginTokens::new(&generate_keys(), SigningAlgorithm::EdDsa, "stele");
        assert!(others.verify(&token, NOW).is_none(), "signed by another key with the same id");
    }

    #[test]
    fn tokens_of_another_algorithm_issuer_or_type_are_rejected() {
        let eddsa = tokens(SigningAlgorithm::EdDsa, "stele");
        let issue = |tokens: &LoginTokens| tokens.issue(&session(), &Token::generate(&OsRandom)).unwrap();
        assert!(eddsa.verify(&issue(&tokens(SigningAlgorithm::Es256, "stele")), NOW).is_none());
        assert!(eddsa.verify(&issue(&tokens(SigningAlgorithm::EdDsa, "other")), NOW).is_none());
        let claims = serde_json::json!({
            "sub": session().user.to_string(), "jti": Token::generate(&OsRandom).expose(), "iat": 0, "iss": "stele",
            "exp": NOW.as_secs() + 10,
        });
        let sign =
            |typ, claims: &serde_json::Value| eddsa.signer.sign(SigningAlgorithm::EdDsa, typ, claims, NOW).unwrap();
        assert!(eddsa.verify(&sign("JWT", &claims), NOW).is_some());
        assert!(eddsa.verify(&sign("at+jwt", &claims), NOW).is_none(), "an access token");
        let mut with_audience = claims;
        with_audience["aud"] = "orders".into();
        assert!(eddsa.verify(&sign("JWT", &with_audience), NOW).is_none());
    }

    #[test]
    fn without_a_key_no_token_is_issued() {
        let tokens = LoginTokens::new(&KEYS, SigningAlgorithm::Rs256, "stele");
        assert!(tokens.issue(&session(), &Token::generate(&OsRandom)).is_err());
    }
}
