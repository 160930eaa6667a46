//! Signing keys of one algorithm and their rotation: `jwt-eddsa-N.pem`, `jwt-rs256-N.pem` or `jwt-es256-N.pem` in the key
//! folder, PKCS#8 in PEM. All registered keys verify; the one with the highest number whose start time has passed signs.
//! To rotate, add a key, and retire the old one when the last token that it signed has expired.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::EncodingKey;
use stele_core::mac::sha256;
use stele_core::oauth::SigningAlgorithm;
use stele_core::time::Timestamp;
use stele_core::{Error, Result};
use stele_keys::{KeyConsumer, KeyFingerprint, KeyKind, RegisteredKey};
use zeroize::Zeroizing;

/// The prefix of the names of signing keys in the key registry: the key `jwt-eddsa-1` has the `kid` `eddsa-1`.
const REGISTERED_PREFIX: &str = "jwt-";

/// The key kind of an algorithm: name, generation and fingerprint.
pub const fn key_kind(algorithm: SigningAlgorithm) -> KeyKind {
    let extension = "pem";
    match algorithm {
        SigningAlgorithm::EdDsa => KeyKind {
            name: "jwt-eddsa",
            extension,
            generate: |_| generate_pem(SigningAlgorithm::EdDsa),
            fingerprint: |pem| fingerprint(pem, SigningAlgorithm::EdDsa),
        },
        SigningAlgorithm::Rs256 => KeyKind {
            name: "jwt-rs256",
            extension,
            generate: |_| generate_pem(SigningAlgorithm::Rs256),
            fingerprint: |pem| fingerprint(pem, SigningAlgorithm::Rs256),
        },
        SigningAlgorithm::Es256 => KeyKind {
            name: "jwt-es256",
            extension,
            generate: |_| generate_pem(SigningAlgorithm::Es256),
            fingerprint: |pem| fingerprint(pem, SigningAlgorithm::Es256),
        },
    }
}

/// A key pair, parsed once: parsing an RSA key checks its components, which takes longer than a signature by Ed25519.
enum KeyPair {
    EdDsa(Ed25519KeyPair),
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
}

impl KeyPair {
    /// Parses a PEM file of the algorithm; `None` if it is damaged, of another algorithm, or an RSA key below 2048 bits
    /// (RFC 7518 3.3).
    fn from_pem(pem: &str, algorithm: SigningAlgorithm) -> Option<Self> {
        let pem = pem.as_bytes();
        match algorithm {
            SigningAlgorithm::EdDsa => {
                let key = EncodingKey::from_ed_pem(pem).ok()?;
                Ed25519KeyPair::from_pkcs8(key.as_bytes()).ok().map(Self::EdDsa)
            }
            SigningAlgorithm::Rs256 => {
                let key = EncodingKey::from_rsa_pem(pem).ok()?;
                RsaKeyPair::from_der(key.as_bytes()).ok().map(Self::Rs256)
            }
            SigningAlgorithm::Es256 => {
                let key = EncodingKey::from_ec_pem(pem).ok()?;
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_bytes());
                pair.ok().map(Self::Es256)
            }
        }
    }

    fn algorithm(&self) -> SigningAlgorithm {
        match self {
            Self::EdDsa(_) => SigningAlgorithm::EdDsa,
            Self::Rs256(_) => SigningAlgorithm::Rs256,
            Self::Es256(_) => SigningAlgorithm::Es256,
        }
    }

    /// The public key: 32 bytes for Ed25519 (RFC 8032), an `RSAPublicKey` in DER (RFC 8017), an uncompressed point of
    /// P-256 (SEC 1, 2.3.3).
    fn public_key_bytes(&self) -> &[u8] {
        match self {
            Self::EdDsa(pair) => pair.public_key().as_ref(),
            Self::Rs256(pair) => pair.public_key().as_ref(),
            Self::Es256(pair) => pair.public_key().as_ref(),
        }
    }

    fn parse_public_key(&self) -> Option<ParsedPublicKey> {
        let bytes = self.public_key_bytes();
        match self.algorithm() {
            SigningAlgorithm::EdDsa => ParsedPublicKey::new(&ED25519, bytes),
            SigningAlgorithm::Rs256 => ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, bytes),
            SigningAlgorithm::Es256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes),
        }
        .ok()
    }
}

/// The public key in the form of its JWK members.
pub(crate) enum PublicKey<'a> {
    /// The 32 bytes of an Ed25519 key.
    Ed25519(&'a [u8]),
    /// Modulus and exponent, big-endian without leading zeros.
    Rsa(&'a [u8], &'a [u8]),
    /// The coordinates of a point of P-256, 32 bytes each.
    P256(&'a [u8], &'a [u8]),
}

/// A key pair and its parsed public key.
struct KeyMaterial {
    pair: KeyPair,
    public_key: ParsedPublicKey,
}

/// A signing key.
pub struct SigningKey {
    material: Arc<KeyMaterial>,
    key_id: String,
    number: u32,
    signs_from: Timestamp,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The `kid` in token headers, for example `eddsa-1`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The algorithm. It belongs to the key and is never taken from a token (RFC 8725 3.1).
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.material.pair.algorithm()
    }

    /// The public key: 32 bytes for Ed25519, an `RSAPublicKey` in DER, an uncompressed point of P-256.
    pub fn public_key_bytes(&self) -> &[u8] {
        self.material.pair.public_key_bytes()
    }

    /// Signs `message` (RFC 7518 3.3 and 3.4, RFC 8037 3.1).
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.material.pair {
            KeyPair::EdDsa(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()),
            KeyPair::Es256(pair) => pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            KeyPair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map(|()| signature)
            }
        }
        .map_err(Error::internal)
    }

    /// Whether `signature` is a signature of `message` by this key and its algorithm.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.material.public_key.verify_sig(message, signature).is_ok()
    }

    pub(crate) fn public_key(&self) -> PublicKey<'_> {
        match &self.material.pair {
            KeyPair::EdDsa(pair) => PublicKey::Ed25519(pair.public_key().as_ref()),
            KeyPair::Rs256(pair) => {
                let key = pair.public_key();
                PublicKey::Rsa(
                    key.modulus().big_endian_without_leading_zero(),
                    key.exponent().big_endian_without_leading_zero(),
                )
            }
            KeyPair::Es256(pair) => {
                // 0x04 and both coordinates, 32 bytes each.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                PublicKey::P256(x, y)
            }
        }
    }
}

/// The registered keys of one algorithm.
#[derive(Debug)]
pub struct SigningKeys {
    algorithm: SigningAlgorithm,
    /// Newest first.
    keys: RwLock<Vec<Arc<SigningKey>>>,
}

impl SigningKeys {
    /// No keys yet, for `algorithm`.
    pub fn empty(algorithm: SigningAlgorithm) -> Self {
        Self { algorithm, keys: RwLock::default() }
    }

    /// The algorithm of these keys.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The registered key with this id. The id comes from a token: it is only compared, and never used as a file name.
    pub fn find(&self, id: &str) -> Option<Arc<SigningKey>> {
        self.read(|keys| keys.iter().find(|key| key.key_id == id).cloned())
    }

    /// The key that signs at `now`: the newest whose start time has passed, else the oldest.
    pub fn current(&self, now: Timestamp) -> Option<Arc<SigningKey>> {
        self.read(|keys| keys.iter().find(|key| key.signs_from <= now).or(keys.last()).cloned())
    }

    /// The registered keys, newest first, with those that do not sign yet or any more.
    pub fn all(&self) -> Vec<Arc<SigningKey>> {
        self.read(Clone::clone)
    }

    /// The name in the key registry of the key with the id `id`, for example `jwt-eddsa-1`, if the id is well-formed: the
    /// prefix of the algorithm and a decimal number.
    pub fn registered_name(&self, id: &str) -> Option<String> {
        let name = format!("{REGISTERED_PREFIX}{id}");
        stele_core::ports::parse_key_number(&name, self.kind().name).map(|_| name)
    }

    fn read<T>(&self, read: impl FnOnce(&Vec<Arc<SigningKey>>) -> T) -> T {
        read(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl KeyConsumer for SigningKeys {
    fn kind(&self) -> KeyKind {
        key_kind(self.algorithm)
    }

    fn has_key(&self, number: u32) -> bool {
        self.read(|keys| keys.iter().any(|key| key.number == number))
    }

    fn set_keys(&self, keys: Vec<RegisteredKey>) {
        let loaded_keys = self.all();
        let load = |RegisteredKey { number, active_from, key_material }: RegisteredKey| {
            let material = match key_material {
                Some(pem) => Arc::new(parse_pem(&pem, self.algorithm)?),
                None => Arc::clone(&loaded_keys.iter().find(|key| key.number == number)?.material),
            };
            let name = self.kind().key_name(number);
            let key_id = name.strip_prefix(REGISTERED_PREFIX).unwrap_or(&name).to_owned();
            Some(Arc::new(SigningKey { material, key_id, number, signs_from: active_from }))
        };
        let mut keys: Vec<_> = keys.into_iter().filter_map(load).collect();
        keys.sort_unstable_by_key(|key| std::cmp::Reverse(key.number));
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

/// The fingerprint of a key: the SHA-256 hash of its public key.
fn fingerprint(pem: &str, algorithm: SigningAlgorithm) -> Option<KeyFingerprint> {
    Some(sha256(parse_pem(pem, algorithm)?.pair.public_key_bytes()))
}

fn parse_pem(pem: &str, algorithm: SigningAlgorithm) -> Option<KeyMaterial> {
    let pair = KeyPair::from_pem(pem, algorithm)?;
    let public_key = pair.parse_public_key()?;
    Some(KeyMaterial { pair, public_key })
}

/// Generates a key pair, as PKCS#8 in PEM.
fn generate_pem(algorithm: SigningAlgorithm) -> Option<Zeroizing<String>> {
    let der: Pkcs8V1Der<'_> = match algorithm {
        SigningAlgorithm::EdDsa => Ed25519KeyPair::generate().ok()?.as_der().ok()?,
        SigningAlgorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa3072).ok()?.as_der().ok()?,
        SigningAlgorithm::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
            return Some(to_pem(pair.to_pkcs8v1().ok()?.as_ref()));
        }
    };
    Some(to_pem(der.as_ref()))
}

fn to_pem(der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    let mut pem = Zeroizing::new(String::with_capacity(base64.len() + base64.len() / 64 + 64));
    *pem += "-----BEGIN PRIVATE KEY-----\n";
    // Base64 is ASCII, so every index is a character boundary.
    for start in (0..base64.len()).step_by(64) {
        *pem += &base64[start..base64.len().min(start + 64)];
        *pem += "\n";
    }
    *pem += "-----END PRIVATE KEY-----\n";
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn registered_key(number: u32, active_from: i64, key_material: Option<Zeroizing<String>>) -> RegisteredKey {
        RegisteredKey { number, active_from: at(active_from), key_material }
    }

    #[test]
    fn the_newest_active_key_signs_and_all_keys_verify() {
        let generate_key = || generate_pem(SigningAlgorithm::EdDsa);
        let keys = SigningKeys::empty(SigningAlgorithm::EdDsa);
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
        let public_key = |key: Arc<SigningKey>| key.public_key_bytes().to_vec();
        let before = public_key(keys.find("eddsa-10").unwrap());
        keys.set_keys(vec![registered_key(10, 100, None), registered_key(11, 0, None)]);
        assert_eq!(public_key(keys.find("eddsa-10").unwrap()), before);
        assert!(keys.find("eddsa-1").is_none() && keys.find("eddsa-11").is_none());
    }

    #[test]
    fn a_key_of_another_algorithm_or_a_weak_or_damaged_one_has_no_fingerprint() {
        let algorithms: Vec<_> = SigningAlgorithm::all().collect();
        let pems: Vec<_> = algorithms.iter().map(|algorithm| generate_pem(*algorithm).unwrap()).collect();
        // RSA with 1024 bits (RFC 7518 3.3), and P-384.
        let weak = [include_str!("../tests/vectors/rsa-1024.pem"), include_str!("../tests/vectors/p-384.pem")];
        for (algorithm, pem) in algorithms.iter().zip(&pems) {
            let fingerprint = key_kind(*algorithm).fingerprint;
            assert!(fingerprint(pem).is_some_and(|print| fingerprint(pem) == Some(print)));
            assert_ne!(fingerprint(pem), fingerprint(&generate_pem(*algorithm).unwrap()));
            let other = pems.iter().filter(|other| *other != pem).map(|pem| pem.as_str());
            let truncated = &pem[..60];
            for invalid in other.chain(weak).chain(["", "garbage", truncated, &pem.replacen("M", "", 1)]) {
                assert_eq!(fingerprint(invalid), None, "{algorithm:?} {invalid}");
            }
        }
    }

    #[test]
    fn a_key_is_printed_without_its_secret() {
        let keys = SigningKeys::empty(SigningAlgorithm::EdDsa);
        keys.set_keys(vec![registered_key(1, 0, generate_pem(SigningAlgorithm::EdDsa))]);
        assert!(format!("{keys:?}").contains("SigningKey { key_id: \"eddsa-1\", .. }"), "{keys:?}");
    }
}
