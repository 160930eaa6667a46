//! Signs tokens.

use serde::Serialize;
use stele_core::oauth::SigningAlgorithm;
use stele_core::time::Timestamp;
use stele_core::{Error, Result};

use crate::{KeySet, jws};

/// Signs tokens with the current key of an algorithm.
#[derive(Clone, Debug)]
pub struct Signer {
    keys: KeySet,
}

impl Signer {
    /// Signs with the keys of `keys`.
    pub fn new(keys: KeySet) -> Self {
        Self { keys }
    }

    /// A token with the header `typ`, `alg` and `kid`, signed by the key of `algorithm` that is active at `now`. `typ`
    /// is the token's type, which keeps tokens of different uses apart (RFC 8725 3.11): `JWT`, `at+jwt`, …
    ///
    /// # Errors
    /// [`Error::Internal`] if the algorithm has no key, signing fails, or the token is longer than
    /// [`crate::MAX_TOKEN_BYTES`].
    pub fn sign(
        &self,
        algorithm: SigningAlgorithm,
        typ: &str,
        claims: &impl Serialize,
        now: Timestamp,
    ) -> Result<String> {
        let key = self.keys.current(algorithm, now);
        let key = key.ok_or_else(|| Error::internal(format!("there is no {} signing key", algorithm.as_str())))?;
        jws::sign(&key, typ, claims)
    }
}
