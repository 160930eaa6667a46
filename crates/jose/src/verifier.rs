//! Verifies tokens that [`crate::Signer`] issued: signature, type, issuer, audience and lifetime.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use stele_core::time::Timestamp;
use stele_core::{Error, Result, UseCases};

use crate::KeySet;
use crate::jws::UnverifiedToken;

/// Verifies tokens with a set of keys. The algorithm is that of the key that `kid` names, never the token's choice
/// (RFC 8725 3.1, docs/THREATS.md 27).
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: KeySet,
}

/// What a token must be (RFC 8725 3.8, 3.9, 3.11).
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The type in the header, compared exactly.
    pub typ: &'a str,
    /// The issuer, compared exactly.
    pub issuer: &'a str,
    /// The audience.
    pub audience: ExpectedAudience<'a>,
}

/// The audience that a token must have.
#[derive(Clone, Copy, Debug)]
pub enum ExpectedAudience<'a> {
    /// `aud` is this text, or an array that contains it (RFC 7519 4.1.3).
    Contains(&'a str),
    /// The caller decides by the claims.
    Any,
    /// The token has no `aud`.
    Absent,
}

/// The claims that are checked for every token.
#[derive(Deserialize)]
struct CheckedClaims {
    iss: String,
    /// In whole seconds, as the signer writes it: a text or a fraction is rejected.
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    aud: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

impl Verifier {
    /// Verifies with the keys of `keys`.
    pub fn new(keys: KeySet) -> Self {
        Self { keys }
    }

    /// As [`Verifier::verify`]. If the token names a key that is not loaded, looks for newly registered keys first, at
    /// most once a second in all (docs/THREATS.md 27).
    ///
    /// # Errors
    /// [`Error::NotAuthenticated`] if the token is not valid; [`Error::Internal`] if its key is registered, but missing
    /// on this instance.
    pub async fn verify_or_refresh<C: DeserializeOwned>(
        &self,
        use_cases: &UseCases,
        token: &str,
        expected: &Expected<'_>,
    ) -> Result<C> {
        if let Some(key_name) = self.keys.unknown_key_name(token) {
            use_cases.load_key(&key_name).await?;
        }
        self.verify(token, expected, use_cases.now()).ok_or(Error::NotAuthenticated)
    }

    /// The claims of a token. `None` if it is malformed or too long, its key is unknown, its header is not that of an
    /// issued token, its signature is wrong, it is not what is `expected`, it is not valid at `now`, or its claims are
    /// not a `C`.
    pub fn verify<C: DeserializeOwned>(&self, token: &str, expected: &Expected<'_>, now: Timestamp) -> Option<C> {
        let token = UnverifiedToken::parse(token)?;
        if token.header.typ != expected.typ {
            return None;
        }
        let payload = token.verify(self.keys.find(&token.header.kid)?.as_ref())?;
        let claims: CheckedClaims = serde_json::from_slice(&payload).ok()?;
        let is_for_audience = match expected.audience {
            ExpectedAudience::Contains(audience) => claims.aud.is_some_and(|aud| aud.contains(audience)),
            ExpectedAudience::Any => true,
            ExpectedAudience::Absent => claims.aud.is_none(),
        };
        let now = now.as_secs();
        let is_live = now < claims.exp && claims.nbf.is_none_or(|nbf| nbf <= now);
        let is_expected = claims.iss == expected.issuer && is_for_audience && is_live;
        is_expected.then(|| serde_json::from_slice(&payload).ok())?
    }
}
