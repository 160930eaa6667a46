//! The signing keys of several algorithms, found by `kid`, which is unique over all of them.

use std::sync::Arc;

use stele_core::oauth::SigningAlgorithm;
use stele_core::time::Timestamp;
use stele_keys::KeyRing;
use stele_service::ConfigError;

use crate::jws::UnverifiedToken;
use crate::{JwkSet, SigningKey, SigningKeys};

/// The registered keys of some algorithms. Clones share the keys.
#[derive(Clone, Debug)]
pub struct KeySet {
    kinds: Vec<Arc<SigningKeys>>,
}

impl KeySet {
    /// No keys yet, for these algorithms.
    pub fn empty(algorithms: &[SigningAlgorithm]) -> Self {
        Self { kinds: algorithms.iter().map(|algorithm| Arc::new(SigningKeys::empty(*algorithm))).collect() }
    }

    /// The registered keys of these algorithms, kept up to date by `ring`.
    ///
    /// # Errors
    /// One line that names the key's file and the remedy, if an active key cannot be read or an algorithm has no
    /// registered key.
    pub fn register(algorithms: &[SigningAlgorithm], ring: &KeyRing) -> Result<Self, ConfigError> {
        let key_set = Self::empty(algorithms);
        for keys in &key_set.kinds {
            ring.register_consumer(keys.clone())?;
        }
        Ok(key_set)
    }

    /// The same keys, of one algorithm only; without keys if the set does not have the algorithm.
    #[must_use]
    pub fn only(&self, algorithm: SigningAlgorithm) -> Self {
        Self { kinds: self.kinds.iter().filter(|keys| keys.algorithm() == algorithm).cloned().collect() }
    }

    /// The keys of one algorithm.
    pub fn keys_of(&self, algorithm: SigningAlgorithm) -> Option<&Arc<SigningKeys>> {
        self.kinds.iter().find(|keys| keys.algorithm() == algorithm)
    }

    /// The key with this `kid`.
    pub fn find(&self, key_id: &str) -> Option<Arc<SigningKey>> {
        self.kinds.iter().find_map(|keys| keys.find(key_id))
    }

    /// The key that signs by `algorithm` at `now`.
    pub fn current(&self, algorithm: SigningAlgorithm, now: Timestamp) -> Option<Arc<SigningKey>> {
        self.keys_of(algorithm)?.current(now)
    }

    /// The name in the key registry of the key that `token` names, if the token is well-formed, `alg` and `kid` belong
    /// to one algorithm of this set, and the key is not loaded: it may have been registered a moment ago (key rotation).
    pub fn unknown_key_name(&self, token: &str) -> Option<String> {
        let header = UnverifiedToken::parse(token)?.header;
        let keys = self.kinds.iter().find(|keys| keys.algorithm().as_str() == header.alg)?;
        let name = keys.registered_name(&header.kid)?;
        keys.find(&header.kid).is_none().then_some(name)
    }

    /// The public keys: every registered one, so that a key is published before it signs and until it is retired.
    pub fn to_jwk_set(&self) -> JwkSet {
        JwkSet::from_keys(self.kinds.iter().flat_map(|keys| keys.all()))
    }
}
