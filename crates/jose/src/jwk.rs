//! The public keys as a JWK Set (RFC 7517 5), for services that verify tokens themselves.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::SigningKey;
use crate::keys::PublicKey;

/// A JWK Set.
#[derive(Debug, Serialize)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

/// A public key (RFC 7517 4). Private members do not exist in this type.
#[derive(Debug, Serialize)]
struct Jwk {
    #[serde(flatten)]
    public_key: PublicKeyMembers,
    kid: String,
    #[serde(rename = "use")]
    key_use: &'static str,
    alg: &'static str,
}

/// The members of each key type, in base64url: big-endian without leading zeros for RSA (RFC 7518 6.3.1), 32 bytes for a
/// coordinate of P-256 (RFC 7518 6.2.1) and for Ed25519 (RFC 8037 2).
#[derive(Debug, Serialize)]
#[serde(tag = "kty")]
enum PublicKeyMembers {
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "EC")]
    P256 { crv: &'static str, x: String, y: String },
    #[serde(rename = "OKP")]
    Ed25519 { crv: &'static str, x: String },
}

impl JwkSet {
    /// The public keys of `keys`, in their order.
    pub fn from_keys(keys: impl IntoIterator<Item = Arc<SigningKey>>) -> Self {
        Self { keys: keys.into_iter().map(|key| Jwk::from(key.as_ref())).collect() }
    }
}

impl From<&SigningKey> for Jwk {
    fn from(key: &SigningKey) -> Self {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public_key = match key.public_key() {
            PublicKey::Rsa(n, e) => PublicKeyMembers::Rsa { n: encode(n), e: encode(e) },
            PublicKey::P256(x, y) => PublicKeyMembers::P256 { crv: "P-256", x: encode(x), y: encode(y) },
            PublicKey::Ed25519(x) => PublicKeyMembers::Ed25519 { crv: "Ed25519", x: encode(x) },
        };
        Self { public_key, kid: key.key_id().to_owned(), key_use: "sig", alg: key.algorithm().as_str() }
    }
}
