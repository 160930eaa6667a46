//! JWT signing keys and key rotation: `jwt-eddsa-N.pem` or `jwt-rs256-N.pem` in the key folder, PKCS#8 in PEM. All
//! registered keys verify; the one with the highest number whose start time has passed signs. To rotate, add a key, and
//! retire the old one a session lifetime later.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use stele_core::mac::sha256;
use stele_core::time::Timestamp;
use stele_keys::{KeyConsumer, KeyFingerprint, KeyKind, RegisteredKey};
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

use crate::JWT_ALG;

/// The signature algorithm of tokens (`STELE_JWT_ALG`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// The name in key ids and file names.
    fn key_id_prefix(self) -> &'static str {
        match self {
            Self::EdDsa => "eddsa",
            Self::Rs256 => "rs256",
        }
    }

    /// The name in token headers (RFC 7518).
    pub fn jose_algorithm(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "EdDSA" => Ok(Self::EdDsa),
            "RS256" => Ok(Self::Rs256),
            _ => Err(format!("`{text}` is not a known algorithm; set EdDSA or RS256")),
        }
    }
}

/// The algorithm of `STELE_JWT_ALG`.
///
/// # Errors
/// If the setting is neither EdDSA nor RS256.
pub fn configured_algorithm(settings: &Settings) -> Result<Algorithm, ConfigError> {
    settings.get(&JWT_ALG)
}

/// The key kind of an algorithm: name, generation and fingerprint.
pub fn key_kind(algorithm: Algorithm) -> KeyKind {
    let extension = "pem";
    match algorithm {
        Algorithm::EdDsa => KeyKind {
            name: "jwt-eddsa",
            extension,
            generate: |_| generate_pem(Algorithm::EdDsa),
            fingerprint: |pem| fingerprint(pem, Algorithm::EdDsa),
        },
        Algorithm::Rs256 => KeyKind {
            name: "jwt-rs256",
            extension,
            generate: |_| generate_pem(Algorithm::Rs256),
            fingerprint: |pem| fingerprint(pem, Algorithm::Rs256),
        },
    }
}

/// The key kind of the configured algorithm.
///
/// # Errors
/// As [`configured_algorithm`].
pub fn signing_key_kind(settings: &Settings) -> Result<Option<KeyKind>, ConfigError> {
    Ok(Some(key_kind(configured_algorithm(settings)?)))
}

/// A key pair.
pub struct SigningKey {
    /// The `kid` in token headers, for example `eddsa-1`.
    pub key_id: String,
    /// The private key.
    pub encoding_key: EncodingKey,
    /// The public key.
    pub decoding_key: DecodingKey,
    number: u32,
    signs_from: Timestamp,
}

/// The registered key pairs of one algorithm.
pub struct SigningKeys {
    /// The algorithm. It belongs to the keys and is never taken from a token.
    pub algorithm: Algorithm,
    /// Newest first.
    keys: RwLock<Vec<Arc<SigningKey>>>,
}

impl SigningKeys {
    /// No keys yet, for `algorithm`.
    pub fn empty(algorithm: Algorithm) -> Self {
        Self { algorithm, keys: RwLock::default() }
    }

    /// The registered key with this id. The id comes from a token: it is only compared, and never used as a file name.
    pub fn find(&self, id: &str) -> Option<Arc<SigningKey>> {
        self.snapshot().into_iter().find(|key| key.key_id == id)
    }

    /// The key that signs at `now`: the newest whose start time has passed, else the oldest.
    pub fn current(&self, now: Timestamp) -> Option<Arc<SigningKey>> {
        let keys = self.snapshot();
        keys.iter().find(|key| key.signs_from <= now).or(keys.last()).cloned()
    }

    /// The name of the key with id `id` in the key registry, for example `jwt-eddsa-1`.
    pub fn registered_name(id: &str) -> String {
        format!("jwt-{id}")
    }

    fn snapshot(&self) -> Vec<Arc<SigningKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl KeyConsumer for SigningKeys {
    fn kind(&self) -> KeyKind {
        key_kind(self.algorithm)
    }

    fn has_key(&self, number: u32) -> bool {
        self.snapshot().iter().any(|key| key.number == number)
    }

    fn set_keys(&self, keys: Vec<RegisteredKey>) {
        let loaded_keys = self.snapshot();
        let load = |RegisteredKey { number, active_from, key_material }: RegisteredKey| {
            let (encoding_key, decoding_key) = match key_material {
                Some(pem) => parse_pem(&pem, self.algorithm)?,
                None => {
                    let loaded = loaded_keys.iter().find(|key| key.number == number)?;
                    (loaded.encoding_key.clone(), loaded.decoding_key.clone())
                }
            };
            let key_id = format!("{}-{number}", self.algorithm.key_id_prefix());
            Some(Arc::new(SigningKey { key_id, encoding_key, decoding_key, number, signs_from: active_from }))
        };
        let mut keys: Vec<_> = keys.into_iter().filter_map(load).collect();
        keys.sort_unstable_by_key(|key| std::cmp::Reverse(key.number));
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

/// The fingerprint of a key: the SHA-256 hash of its public key.
fn fingerprint(pem: &str, algorithm: Algorithm) -> Option<KeyFingerprint> {
    Some(sha256(parse_pem(pem, algorithm)?.1.try_get_as_bytes().ok()?))
}

fn parse_pem(pem: &str, algorithm: Algorithm) -> Option<(EncodingKey, DecodingKey)> {
    match algorithm {
        Algorithm::EdDsa => {
            let encoding_key = EncodingKey::from_ed_pem(pem.as_bytes()).ok()?;
            let pair = Ed25519KeyPair::from_pkcs8(encoding_key.as_bytes()).ok()?;
            Some((encoding_key, DecodingKey::from_ed_der(pair.public_key().as_ref())))
        }
        Algorithm::Rs256 => {
            let encoding_key = EncodingKey::from_rsa_pem(pem.as_bytes()).ok()?;
            let pair = RsaKeyPair::from_der(encoding_key.as_bytes()).ok()?;
            Some((encoding_key, DecodingKey::from_rsa_der(pair.public_key().as_ref())))
        }
    }
}

/// Generates a key pair, as PKCS#8 in PEM.
fn generate_pem(algorithm: Algorithm) -> Option<Zeroizing<String>> {
    let der: Pkcs8V1Der<'_> = match algorithm {
        Algorithm::EdDsa => Ed25519KeyPair::generate().ok()?.as_der().ok()?,
        Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa3072).ok()?.as_der().ok()?,
    };
    let base64 = Zeroizing::new(STANDARD.encode(der.as_ref()));
    let mut pem = Zeroizing::new(String::with_capacity(base64.len() + base64.len() / 64 + 64));
    *pem += "-----BEGIN PRIVATE KEY-----\n";
    // Base64 is ASCII, so every index is a character boundary.
    for start in (0..base64.len()).step_by(64) {
        *pem += &base64[start..base64.len().min(start + 64)];
        *pem += "\n";
    }
    *pem += "-----END PRIVATE KEY-----\n";
    Some(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(algorithm: &str) -> Settings {
        Settings::default().with_values([("STELE_JWT_ALG", algorithm.to_owned())])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn registered_key(number: u32, active_from: i64, key_material: Option<Zeroizing<String>>) -> RegisteredKey {
        RegisteredKey { number, active_from: at(active_from), key_material }
    }

    #[test]
    fn the_newest_active_key_signs_and_all_keys_verify() {
        let generate_key = || generate_pem(Algorithm::EdDsa);
        let keys = SigningKeys::empty(Algorithm::EdDsa);
        assert!(keys.current(at(0)).is_none());
        keys.set_keys(vec![
            registered_key(2, 0, generate_key()),
            registered_key(10, 100, generate_key()),
            registered_key(1, 0, generate_key()),
        ]);
        assert_eq!(keys.current(at(99)).unwrap().key_id, "eddsa-2");
        assert_eq!(keys.current(at(100)).unwrap().key_id, "eddsa-10");
        assert!(["eddsa-1", "eddsa-2", "eddsa-10"].iter().all(|id| keys.find(id).is_some()));
        for hostile in ["", "eddsa-3", "eddsa-01", "EDDSA-1", "../keys/jwt-eddsa-1.pem", "eddsa-1\0"] {
            assert!(keys.find(hostile).is_none(), "{hostile}");
        }
        let public_key = |key: Arc<SigningKey>| key.decoding_key.try_get_as_bytes().unwrap().to_vec();
        let before = public_key(keys.find("eddsa-10").unwrap());
        keys.set_keys(vec![registered_key(10, 100, None), registered_key(11, 0, None)]);
        assert_eq!(public_key(keys.find("eddsa-10").unwrap()), before);
        assert!(keys.find("eddsa-1").is_none() && keys.find("eddsa-11").is_none());
    }

    #[test]
    fn a_key_of_another_algorithm_has_no_fingerprint() {
        let eddsa = generate_pem(Algorithm::EdDsa).unwrap();
        let rsa = generate_pem(Algorithm::Rs256).unwrap();
        let damaged = eddsa.replacen("MC", "", 1);
        let fingerprint = |algorithm, pem: &str| (key_kind(algorithm).fingerprint)(pem);
        for invalid in ["", "garbage", &eddsa[..60], &damaged, &rsa] {
            assert_eq!(fingerprint(Algorithm::EdDsa, invalid), None);
        }
        assert!(fingerprint(Algorithm::EdDsa, &eddsa).is_some() && fingerprint(Algorithm::Rs256, &rsa).is_some());
        assert_eq!(fingerprint(Algorithm::Rs256, &eddsa), None);
        assert_ne!(
            fingerprint(Algorithm::EdDsa, &eddsa),
            fingerprint(Algorithm::EdDsa, &generate_pem(Algorithm::EdDsa).unwrap())
        );
    }

    #[test]
    fn an_unknown_algorithm_is_rejected() {
        for invalid in ["none", "HS256", "eddsa"] {
            let error = configured_algorithm(&settings(invalid)).unwrap_err().to_string();
            assert!(error.contains("STELE_JWT_ALG") && error.contains(invalid), "{error}");
        }
    }
}
