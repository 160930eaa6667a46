//! JSON Web Tokens with HMAC-SHA-256 and a key of the server.

use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock;

/// Seconds.
const LIFETIME: i64 = 12 * 3600;

/// The key of one server's tokens; by default a random one.
#[derive(Clone, Debug)]
pub struct TokenKey([u8; 32]);

impl Default for TokenKey {
    fn default() -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        key[16..].copy_from_slice(Uuid::new_v4().as_bytes());
        Self(key)
    }
}

impl TokenKey {
    pub(crate) fn sign(&self, account: &str, id: &str) -> String {
        let now = clock::now().unix_timestamp();
        let claims = json!({ "sub": account, "jti": id, "iat": now, "exp": now + LIFETIME });
        encode(&Header::default(), &claims, &EncodingKey::from_secret(&self.0)).unwrap()
    }

    /// The `jti` of a token with the right signature that has not expired.
    pub(crate) fn verify(&self, token: &str) -> Option<String> {
        let claims = decode::<Value>(token, &DecodingKey::from_secret(&self.0), &Validation::default()).ok()?.claims;
        claims["jti"].as_str().map(str::to_owned)
    }
}
