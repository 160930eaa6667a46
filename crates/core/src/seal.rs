//! Sealing (envelope encryption): AES-256-GCM under keys that are not in the database, bound to the row by additional
//! data.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use crate::random::Random;
use crate::time::Timestamp;

/// A key's number; a newer key has a higher number. The active key with the highest number seals, and every loaded key
/// opens (key rotation).
pub type KeyId = u32;

/// A sealed secret as it is stored. Only the key's number is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// The key under which the secret was sealed.
    pub key_id: KeyId,
    /// 12 bytes of nonce, then the ciphertext and its 16-byte tag.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedSecret(seal-{}, …)", self.key_id)
    }
}

/// Why a sealed secret could not be opened. Each is a fault of the installation, never of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The key is not loaded in this process.
    #[error("the sealing key seal-{0} is missing here; copy its file from another instance")]
    MissingKey(KeyId),
    /// Decryption failed: the key is not the one that sealed the secret, or the row was changed or moved.
    #[error("the sealing key seal-{0} cannot decrypt the rows sealed under it; restore the right key from a backup")]
    WrongKey(KeyId),
}

/// A registered sealing key.
pub struct SealingKey {
    /// The key's number.
    pub id: KeyId,
    /// From when on the key seals. Before that time, the key only opens, so that every process has loaded it before any
    /// process seals with it.
    pub seals_from: Timestamp,
    /// The key material; `None` to keep the loaded key of this number.
    pub key: Option<Zeroizing<[u8; 32]>>,
}

/// The sealing keys. They can be replaced while requests are served.
pub struct Sealer {
    key_set: RwLock<Arc<KeySet>>,
}

#[derive(Clone)]
struct KeySet {
    keys: BTreeMap<KeyId, (Timestamp, Aes256Gcm)>,
    digest_sealing: DigestSealing,
    dummy: SealedSecret,
}

/// Whether users' digests may be sealed, which salted logins need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestSealing {
    /// Salted logins are enabled, so digests may be sealed.
    Enabled,
    /// Salted logins are disabled, so no digest may be sealed.
    Disabled,
}

const DUMMY_CONTEXT: &[u8] = b"decoy";
const UNIX_EPOCH: Timestamp = Timestamp::from_secs(0);

impl Sealer {
    /// A sealer whose `keys` are all active from the beginning; `None` if there is no key. Digest sealing is enabled.
    pub fn new(keys: impl IntoIterator<Item = (KeyId, Zeroizing<[u8; 32]>)>) -> Option<Self> {
        Self::from_keys(
            keys.into_iter().map(|(id, key)| SealingKey { id, seals_from: UNIX_EPOCH, key: Some(key) }),
            DigestSealing::Enabled,
        )
    }

    /// A sealer whose `keys` each have a start time; `None` if there is no key with key material.
    pub fn from_keys(keys: impl IntoIterator<Item = SealingKey>, digest_sealing: DigestSealing) -> Option<Self> {
        Some(Self { key_set: RwLock::new(Arc::new(KeySet::new(keys, digest_sealing, None)?)) })
    }

    /// Replaces all keys and the state of digest sealing (key rotation). Does nothing if none of `keys` has key
    /// material or is loaded already.
    pub fn replace_keys(&self, keys: impl IntoIterator<Item = SealingKey>, digest_sealing: DigestSealing) {
        let previous = self.key_set();
        if let Some(key_set) = KeySet::new(keys, digest_sealing, Some(&previous)) {
            *self.key_set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key_set);
        }
    }

    /// Opens a dummy secret: the work of [`Sealer::open`] for a user or app that does not exist (user enumeration
    /// through a timing side channel).
    pub fn open_dummy(&self) -> Zeroizing<Vec<u8>> {
        let key_set = self.key_set();
        key_set.open(DUMMY_CONTEXT, &key_set.dummy).unwrap_or_default()
    }

    /// The number of the key that seals at `now`.
    pub fn current_key_id(&self, now: Timestamp) -> KeyId {
        self.key_set().current_key_id(now)
    }

    /// Whether the key `id` is loaded in this process.
    pub fn has_key(&self, id: KeyId) -> bool {
        self.key_set().keys.contains_key(&id)
    }

    /// Whether users' digests may be sealed, as far as this process knows.
    pub fn seals_digests(&self) -> bool {
        self.key_set().digest_sealing == DigestSealing::Enabled
    }

    /// Seals `secret`, bound to `context` (which names the row) and to the key's number.
    pub fn seal(&self, now: Timestamp, context: &[u8], secret: &[u8], random: &dyn Random) -> SealedSecret {
        let key_set = self.key_set();
        let key_id = key_set.current_key_id(now);
        let mut nonce = [0; 12];
        random.fill(&mut nonce);
        let message = Payload { msg: secret, aad: &additional_data(key_id, context) };
        let mut bytes = nonce.to_vec();
        // AES-GCM fails only for messages of 64 GiB and more.
        bytes.extend(key_set.keys[&key_id].1.encrypt(&Nonce::from(nonce), message).unwrap_or_default());
        SealedSecret { key_id, bytes }
    }

    /// Opens a secret that [`Sealer::seal`] sealed for the same `context`.
    ///
    /// # Errors
    /// [`OpenError`] if the key is missing or wrong, or if the bytes were changed or moved from another row.
    pub fn open(&self, context: &[u8], sealed: &SealedSecret) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.key_set().open(context, sealed)
    }

    fn key_set(&self) -> Arc<KeySet> {
        self.key_set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl KeySet {
    fn new(
        keys: impl IntoIterator<Item = SealingKey>,
        digest_sealing: DigestSealing,
        previous: Option<&Self>,
    ) -> Option<Self> {
        let find_loaded = |id| previous.and_then(|key_set| Some(key_set.keys.get(&id)?.1.clone()));
        let keys: BTreeMap<_, _> = keys
            .into_iter()
            .filter_map(|SealingKey { id, seals_from, key }| {
                // The cipher zeroizes its key on drop; `key` is the only other copy.
                let cipher = key.and_then(|key| Aes256Gcm::new_from_slice(&*key).ok()).or_else(|| find_loaded(id))?;
                Some((id, (seals_from, cipher)))
            })
            .collect();
        let (&id, (_, cipher)) = keys.last_key_value()?;
        // Always the same message, so the constant nonce reveals nothing.
        let mut bytes = vec![0; 12];
        let message = Payload { msg: &[0; 16], aad: &additional_data(id, DUMMY_CONTEXT) };
        bytes.extend(cipher.encrypt(&Nonce::from([0; 12]), message).unwrap_or_default());
        Some(Self { keys, digest_sealing, dummy: SealedSecret { key_id: id, bytes } })
    }

    /// The newest active key; the oldest key if none is active yet.
    fn current_key_id(&self, now: Timestamp) -> KeyId {
        let mut newest_first = self.keys.iter().rev();
        let active = newest_first.find(|(_, (seals_from, _))| *seals_from <= now).or(self.keys.first_key_value());
        active.map_or(self.dummy.key_id, |(&id, _)| id)
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

    fn new_sealer(keys: &[(KeyId, u8)]) -> Sealer {
        Sealer::new(keys.iter().map(|&(id, byte)| (id, Zeroizing::new([byte; 32])))).unwrap()
    }

    #[test]
    fn a_sealed_secret_opens_only_unchanged_with_its_key_and_row() {
        let old = new_sealer(&[(1, 7)]);
        let sealed = old.seal(UNIX_EPOCH, b"row", b"secret", &OsRandom);
        assert_eq!(old.open(b"row", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(old.open(b"other", &sealed), Err(OpenError::WrongKey(1)));
        assert_eq!(new_sealer(&[(1, 8)]).open(b"row", &sealed), Err(OpenError::WrongKey(1)));
        assert_eq!(new_sealer(&[(2, 7)]).open(b"row", &sealed), Err(OpenError::MissingKey(1)));
        let rotated = new_sealer(&[(1, 7), (2, 9)]);
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
    fn the_dummy_opens_to_the_length_of_a_digest() {
        let sealer = new_sealer(&[(1, 7), (2, 9)]);
        assert_eq!(sealer.open_dummy().as_slice(), [0; 16]);
        sealer.replace_keys(
            [SealingKey { id: 3, seals_from: UNIX_EPOCH, key: Some(Zeroizing::new([1; 32])) }],
            DigestSealing::Enabled,
        );
        assert_eq!(sealer.open_dummy().as_slice(), [0; 16]);
    }

    #[test]
    fn a_new_key_opens_immediately_and_seals_from_its_start_time() {
        let (before, after) = (Timestamp::from_secs(99), Timestamp::from_secs(100));
        let sealing_key = |id, from, byte: Option<u8>| SealingKey {
            id,
            seals_from: Timestamp::from_secs(from),
            key: byte.map(|byte| Zeroizing::new([byte; 32])),
        };
        let sealer = new_sealer(&[(1, 7)]);
        let old = sealer.seal(after, b"row", b"secret", &OsRandom);
        sealer.replace_keys(
            [sealing_key(1, 0, None), sealing_key(2, 100, Some(9)), sealing_key(3, 0, None)],
            DigestSealing::Disabled,
        );
        assert!(sealer.has_key(2) && !sealer.has_key(3) && !sealer.seals_digests());
        assert_eq!((sealer.current_key_id(before), sealer.current_key_id(after)), (1, 2));
        let new = new_sealer(&[(2, 9)]).seal(after, b"row", b"secret", &OsRandom);
        for sealed in [&old, &new] {
            assert_eq!(sealer.open(b"row", sealed).unwrap().as_slice(), b"secret");
        }
        sealer.replace_keys([sealing_key(2, 100, None)], DigestSealing::Enabled);
        assert_eq!(sealer.open(b"row", &old), Err(OpenError::MissingKey(1)));
        assert_eq!(sealer.current_key_id(before), 2, "it is the only key");
        assert!(sealer.seals_digests());
        sealer.replace_keys([], DigestSealing::Enabled);
        assert!(sealer.open(b"row", &new).is_ok(), "a sealer never becomes empty");
    }
}
