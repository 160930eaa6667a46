//! Signed tokens (JWS in compact form, RFC 7515; JWT, RFC 7519), shared by the services that issue or verify them.
//!
//! - [`keys`]: signing keys of one algorithm, from the key ring; key files
//! - [`key_set`]: the keys of several algorithms, found by `kid`
//! - [`jwk`]: the public keys as a JWK Set (RFC 7517)
//! - [`signer`], [`verifier`]: signing and verification of tokens
//! - [`login_token`]: the tokens that the JWT dialect issues at login

pub mod jwk;
mod jws;
pub mod key_set;
pub mod keys;
pub mod login_token;
pub mod signer;
pub mod verifier;

pub use jwk::JwkSet;
pub use jws::MAX_TOKEN_BYTES;
pub use key_set::KeySet;
pub use keys::{SigningKey, SigningKeys, key_kind};
pub use login_token::LoginTokens;
pub use signer::Signer;
pub use verifier::{Expected, ExpectedAudience, Verifier};
