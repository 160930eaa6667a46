//! The tokens: signed proof that a session was opened, which dies with the session.

use std::sync::Arc;

use jsonwebtoken::{Header, Validation};
use serde::{Deserialize, Serialize};
use stele_core::session::{Session, Token};
use stele_core::time::Timestamp;
use stele_core::{Error, Result};
use stele_keys::Holder as _;

use crate::keys::Keys;

/// The longest token that is looked at, in bytes. Ours have a few hundred.
const LONGEST: usize = 4_096;

/// Signs and verifies tokens.
pub struct Tokens {
    keys: Arc<Keys>,
    issuer: String,
    validation: Validation,
}

/// What a token says. Reading it demands all five, as these types: an `exp` that is a text or a fraction is none.
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    jti: String,
    iat: i64,
    exp: i64,
    iss: String,
}

/// What a token that we signed and that has not expired names. Whether the session lives, the store knows.
#[derive(Debug)]
pub struct Bearer {
    /// The session's token.
    pub session: Token,
    /// The user's id, as text.
    pub user: String,
}

impl Tokens {
    /// Signs with `keys`, as `issuer`.
    pub fn new(keys: Arc<Keys>, issuer: &str) -> Self {
        // The algorithm is the keys'; what a token's header says must only agree with it (`docs/THREATS.md` 27).
        let mut validation = Validation::new(keys.algorithm.jose());
        validation.leeway = 0;
        // The library would ask the machine's clock; `verify` asks ours.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.set_issuer(&[issuer]);
        Self { keys, issuer: issuer.to_owned(), validation }
    }

    /// A token for a session that has just been opened under `token`.
    ///
    /// # Errors
    /// A fault of ours, if the key does not sign.
    pub fn issue(&self, session: &Session, token: &Token) -> Result<String> {
        let key = self.keys.newest(session.created).ok_or_else(|| Error::internal("no signing key is in service"))?;
        let header = Header { kid: Some(key.id.clone()), ..Header::new(self.keys.algorithm.jose()) };
        let claims = Claims {
            sub: session.user.to_string(),
            jti: token.expose().to_owned(),
            iat: session.created.as_secs(),
            exp: session.expires.as_secs(),
            iss: self.issuer.clone(),
        };
        jsonwebtoken::encode(&header, &claims, &key.signing).map_err(Error::internal)
    }

    /// The name of the key that a token says it is signed with, if that could be one of ours and is not known here.
    pub fn unheard_of(&self, token: &str) -> Option<String> {
        let id = (token.len() <= LONGEST).then(|| jsonwebtoken::decode_header(token).ok()?.kid)??;
        let family = self.keys.family().name;
        let name = Keys::name(&id);
        let number: u32 = name.strip_prefix(family)?.strip_prefix('-')?.parse().ok()?;
        (self.keys.find(&id).is_none() && name == format!("{family}-{number}")).then_some(name)
    }

    /// Reads a token; `None` unless we signed it and it has not expired at `now`.
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<Bearer> {
        if token.len() > LONGEST {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        let key = self.keys.find(header.kid.as_deref()?)?;
        if header.typ.as_deref() != Some("JWT") || header.crit.is_some() {
            return None;
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &key.verifying, &self.validation).ok()?.claims;
        let session = Token::parse(&claims.jti)?;
        (now.as_secs() < claims.exp).then_some(Bearer { session, user: claims.sub })
    }
}

/// Whether this is a JWT rather than a reset token: three parts with dots between them.
pub fn is_jwt(text: &str) -> bool {
    text.matches('.').count() == 2
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use stele_core::random::OsRandom;
    use stele_core::user::UserId;

    use super::*;
    use crate::keys::Algorithm;

    const NOW: Timestamp = Timestamp::from_secs(1_767_254_400);

    static TOKENS: LazyLock<Tokens> = LazyLock::new(|| tokens("stele"));

    fn tokens(issuer: &str) -> Tokens {
        let keys = Keys::none(Algorithm::EdDsa);
        let pem = (keys.family().make)(&OsRandom);
        keys.hold(vec![(1, Timestamp::from_secs(0), pem)]);
        Tokens::new(Arc::new(keys), issuer)
    }

    fn issue(tokens: &Tokens) -> (String, Session) {
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
    fn what_is_issued_is_read_back_until_it_expires() {
        let (token, session) = issue(&TOKENS);
        assert!(is_jwt(&token));
        assert_eq!(TOKENS.verify(&token, NOW).unwrap().user, session.user.to_string());
        assert!(TOKENS.verify(&token, Timestamp::from_micros(session.expires.as_micros() - 1)).is_some());
        assert!(TOKENS.verify(&token, session.expires).is_none());
        assert!(tokens("stele").verify(&token, NOW).is_none(), "another key of the same name");
    }

    #[test]
    fn a_key_that_is_not_known_is_named_if_it_could_be_ours() {
        let (token, _) = issue(&TOKENS);
        assert_eq!(TOKENS.unheard_of(&token), None);
        let other = |id: &str| {
            let header = Header { kid: Some(id.to_owned()), ..Header::new(jsonwebtoken::Algorithm::EdDSA) };
            jsonwebtoken::encode(&header, &(), &TOKENS.keys.newest(NOW).unwrap().signing).unwrap()
        };
        assert_eq!(TOKENS.unheard_of(&other("eddsa-2")).as_deref(), Some("jwt-eddsa-2"));
        for hostile in ["", "eddsa-02", "rs256-2", "eddsa-x", "../eddsa-2", "eddsa-99999999999"] {
            assert_eq!(TOKENS.unheard_of(&other(hostile)), None, "{hostile}");
        }
        assert_eq!(TOKENS.unheard_of("no.token.this"), None);
    }

    #[test]
    fn long_tokens_are_not_looked_at() {
        let (token, _) = issue(&tokens(&"x".repeat(LONGEST)));
        assert!(TOKENS.verify(&token, NOW).is_none());
    }

    proptest! {
        #[test]
        fn nothing_else_verifies(text in "\\PC{0,80}", at in 0..200_usize, byte in "[A-Za-z0-9_.-]") {
            prop_assert!(TOKENS.verify(&text, NOW).is_none());
            let (token, _) = issue(&TOKENS);
            let mut changed = token.clone();
            changed.replace_range(at..=at, &byte);
            prop_assert!(changed == token || TOKENS.verify(&changed, NOW).is_none());
        }
    }
}
