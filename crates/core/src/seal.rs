//! Sealing: AES-256-GCM under keys that are never in the database, bound to the row by additional data.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use crate::random::Random;
use crate::time::Timestamp;

/// A key's number. Higher numbers are newer; the highest whose time has come seals, all open.
pub type KeyId = u32;

/// What is stored: the key's number, then nonce, ciphertext and tag. Of these, the number alone is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// The key it was sealed under.
    pub key_id: KeyId,
    /// 12 bytes of nonce, then the ciphertext and its 16-byte tag.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(seal-{}, …)", self.key_id)
    }
}

/// Why something sealed could not be opened. Always a fault on our side, never a wrong password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The key is not in the key ring.
    #[error("the sealing key seal-{0} is missing here")]
    MissingKey(KeyId),
    /// The key is not the one it was sealed under, or the row was changed or moved.
    #[error("the sealing key seal-{0} does not open what was sealed under it")]
    WrongKey(KeyId),
}

/// A sealing key in service.
pub struct SealingKey {
    /// Its number.
    pub id: KeyId,
    /// From when on it seals: before, it only opens, so that every process knows it before one uses it.
    pub seals_from: Timestamp,
    /// The key, where it is not known yet; without it, a key of this number that is known is kept.
    pub key: Option<Zeroizing<[u8; 32]>>,
}

/// The sealing keys. What is in service may change while requests are served.
pub struct Sealer {
    key_set: RwLock<Arc<KeySet>>,
}

#[derive(Clone)]
struct KeySet {
    keys: BTreeMap<KeyId, (Timestamp, Aes256Gcm)>,
    digest_sealing: DigestSealing,
    dummy: SealedSecret,
}

/// Whether users' digests may be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestSealing {
    /// They may: salted logins need them.
    Allowed,
    /// They may not: salted logins are ended.
    Ended,
}

const DUMMY_CONTEXT: &[u8] = b"decoy";
const UNIX_EPOCH: Timestamp = Timestamp::from_secs(0);

impl Sealer {
    /// A key ring of `keys` that all seal from the first; `None` if there is none.
    pub fn new(keys: impl IntoIterator<Item = (KeyId, Zeroizing<[u8; 32]>)>) -> Option<Self> {
        Self::with_key_schedule(
            keys.into_iter().map(|(id, key)| SealingKey { id, seals_from: UNIX_EPOCH, key: Some(key) }),
            DigestSealing::Allowed,
        )
    }

    /// A key ring of `keys`; `None` if there is none.
    pub fn with_key_schedule(keys: impl IntoIterator<Item = SealingKey>, digests: DigestSealing) -> Option<Self> {
        Some(Self { key_set: RwLock::new(Arc::new(KeySet::new(keys, digests, None)?)) })
    }

    /// Puts other keys in service, for all who seal or open from now on. Without any, nothing changes.
    pub fn replace_keys(&self, keys: impl IntoIterator<Item = SealingKey>, digests: DigestSealing) {
        let before = self.key_set();
        if let Some(ring) = KeySet::new(keys, digests, Some(&before)) {
            *self.key_set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        }
    }

    /// Opens something that is of no use: the work of [`Sealer::open`] where there is nothing to open.
    pub fn open_dummy(&self) -> Zeroizing<Vec<u8>> {
        let ring = self.key_set();
        ring.open(DUMMY_CONTEXT, &ring.dummy).unwrap_or_default()
    }

    /// The number of the key that seals at `now`.
    pub fn current_key_id(&self, now: Timestamp) -> KeyId {
        self.key_set().current_key_id(now)
    }

    /// Whether the key is here.
    pub fn has_key(&self, id: KeyId) -> bool {
        self.key_set().keys.contains_key(&id)
    }

    /// Whether users' digests may be sealed, as far as this process has heard.
    pub fn seals_digests(&self) -> bool {
        self.key_set().digest_sealing == DigestSealing::Allowed
    }

    /// Seals `secret`, bound to `context` (what row it is for) and to the key's number.
    pub fn seal(&self, now: Timestamp, context: &[u8], secret: &[u8], random: &dyn Random) -> SealedSecret {
        let ring = self.key_set();
        let key_id = ring.current_key_id(now);
        let mut nonce = [0; 12];
        random.fill(&mut nonce);
        let message = Payload { msg: secret, aad: &additional_data(key_id, context) };
        let mut bytes = nonce.to_vec();
        // AES-GCM fails only for messages of 64 GiB and more.
        bytes.extend(ring.keys[&key_id].1.encrypt(&Nonce::from(nonce), message).unwrap_or_default());
        SealedSecret { key_id, bytes }
    }

    /// Opens what [`Sealer::seal`] made for the same `context`.
    ///
    /// # Errors
    /// [`OpenError`] if the key is missing or wrong, or the bytes were changed or moved from another row.
    pub fn open(&self, context: &[u8], sealed: &SealedSecret) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.key_set().open(context, sealed)
    }

    fn key_set(&self) -> Arc<KeySet> {
        self.key_set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl KeySet {
    fn new(keys: impl IntoIterator<Item = SealingKey>, digests: DigestSealing, before: Option<&Self>) -> Option<Self> {
        let known = |id| before.and_then(|ring| Some(ring.keys.get(&id)?.1.clone()));
        let keys: BTreeMap<_, _> = keys
            .into_iter()
            .filter_map(|SealingKey { id, seals_from, key }| {
                // The cipher wipes its key when it is dropped; there is no other copy than `key`.
                let cipher = key.and_then(|key| Aes256Gcm::new_from_slice(&*key).ok()).or_else(|| known(id))?;
                Some((id, (seals_from, cipher)))
            })
            .collect();
        let (&id, (_, cipher)) = keys.last_key_value()?;
        // Always the same message under the same nonce, so the nonce tells nothing.
        let mut bytes = vec![0; 12];
        let message = Payload { msg: &[0; 16], aad: &additional_data(id, DUMMY_CONTEXT) };
        bytes.extend(cipher.encrypt(&Nonce::from([0; 12]), message).unwrap_or_default());
        Some(Self { keys, digest_sealing: digests, dummy: SealedSecret { key_id: id, bytes } })
    }

    /// The newest key whose time has come; if none's has, the oldest.
    fn current_key_id(&self, now: Timestamp) -> KeyId {
        let mut newest_first = self.keys.iter().rev();
        let ready = newest_first.find(|(_, (seals_from, _))| *seals_from <= now).or(self.keys.first_key_value());
        ready.map_or(self.dummy.key_id, |(&id, _)| id)
    }

    fn open(&self, context: &[u8], sealed: &SealedSecret) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (_, cipher) = self.keys.get(&sealed.key_id).ok_or(OpenError::MissingKey(sealed.key_id))?;
        let wrong = OpenError::WrongKey(sealed.key_id);
        let (nonce, body) = sealed.bytes.split_first_chunk::<12>().ok_or(wrong)?;
        let aad = additional_data(sealed.key_id, context);
        cipher.decrypt(&Nonce::from(*nonce), Payload { msg: body, aad: &aad }).map(Zeroizing::new).map_err(|_| wrong)
    }
}

fn additional_data(key_id: KeyId, context: &[u8]) -> Vec<u8> {
    [&key_id.to_be_bytes()[..], context].concat()
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("keys", &self.key_set().keys.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    fn sealer(keys: &[(KeyId, u8)]) -> Sealer {
        Sealer::new(keys.iter().map(|&(id, byte)| (id, Zeroizing::new([byte; 32])))).unwrap()
    }

    #[test]
    fn a_sealed_secret_opens_only_with_its_key_and_row() {
        let old = sealer(&[(1, 7)]);
        let sealed = old.seal(UNIX_EPOCH, b"row", b"secret", &OsRandom);
        assert_eq!(old.open(b"row", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(old.open(b"other", &sealed), Err(OpenError::WrongKey(1)));
        assert_eq!(sealer(&[(1, 8)]).open(b"row", &sealed), Err(OpenError::WrongKey(1)));
        assert_eq!(sealer(&[(2, 7)]).open(b"row", &sealed), Err(OpenError::MissingKey(1)));
        let rotated = sealer(&[(1, 7), (2, 9)]);
        assert_eq!(rotated.open(b"row", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(rotated.seal(UNIX_EPOCH, b"row", b"secret", &OsRandom).key_id, 2);
        for i in 0..sealed.bytes.len() {
            let mut flipped = sealed.clone();
            flipped.bytes[i] ^= 1;
            assert!(old.open(b"row", &flipped).is_err());
            assert!(old.open(b"row", &SealedSecret { key_id: 1, bytes: sealed.bytes[..i].to_vec() }).is_err());
        }
    }

    #[test]
    fn opening_the_dummy_costs_the_same_as_a_digest() {
        let ring = sealer(&[(1, 7), (2, 9)]);
        assert_eq!(ring.open_dummy().as_slice(), [0; 16]);
        ring.replace_keys(
            [SealingKey { id: 3, seals_from: UNIX_EPOCH, key: Some(Zeroizing::new([1; 32])) }],
            DigestSealing::Allowed,
        );
        assert_eq!(ring.open_dummy().as_slice(), [0; 16]);
    }

    #[test]
    fn a_new_key_opens_immediately_and_seals_from_its_start_time() {
        let (before, after) = (Timestamp::from_secs(99), Timestamp::from_secs(100));
        let of = |id, from, byte: Option<u8>| SealingKey {
            id,
            seals_from: Timestamp::from_secs(from),
            key: byte.map(|byte| Zeroizing::new([byte; 32])),
        };
        let ring = sealer(&[(1, 7)]);
        let old = ring.seal(after, b"row", b"secret", &OsRandom);
        ring.replace_keys([of(1, 0, None), of(2, 100, Some(9)), of(3, 0, None)], DigestSealing::Ended);
        assert!(ring.has_key(2) && !ring.has_key(3) && !ring.seals_digests());
        assert_eq!((ring.current_key_id(before), ring.current_key_id(after)), (1, 2));
        let new = sealer(&[(2, 9)]).seal(after, b"row", b"secret", &OsRandom);
        for sealed in [&old, &new] {
            assert_eq!(ring.open(b"row", sealed).unwrap().as_slice(), b"secret");
        }
        ring.replace_keys([of(2, 100, None)], DigestSealing::Allowed);
        assert_eq!(ring.open(b"row", &old), Err(OpenError::MissingKey(1)));
        assert_eq!(ring.current_key_id(before), 2, "there is no other");
        assert!(ring.seals_digests());
        ring.replace_keys([], DigestSealing::Allowed);
        assert!(ring.open(b"row", &new).is_ok(), "a ring is never empty");
    }
}
