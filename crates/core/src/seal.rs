//! Sealing: AES-256-GCM under keys that are never in the database, bound to the row by additional data.

use std::collections::BTreeMap;
use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use zeroize::Zeroizing;

use crate::random::Random;

/// A key's number. Higher numbers are newer; the highest seals, all open.
pub type KeyId = u32;

/// What is stored: the key's number, then nonce, ciphertext and tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The key it was sealed under.
    pub key_id: KeyId,
    /// 12 bytes of nonce, then the ciphertext and its 16-byte tag.
    pub bytes: Vec<u8>,
}

/// Why something sealed could not be opened. Always a fault on our side, never a wrong password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The key is not in the key ring.
    #[error("sealing key {0} is missing")]
    MissingKey(KeyId),
    /// The key is not the one it was sealed under, or the row was changed or moved.
    #[error("sealing key {0} does not open what was sealed under it")]
    WrongKey(KeyId),
}

/// The sealing keys.
pub struct Sealer {
    keys: BTreeMap<KeyId, Aes256Gcm>,
    current: KeyId,
    decoy: Sealed,
}

const DECOY: &[u8] = b"decoy";

impl Sealer {
    /// A key ring of `keys`; `None` if there is none.
    pub fn new(keys: impl IntoIterator<Item = (KeyId, Zeroizing<[u8; 32]>)>) -> Option<Self> {
        let keys: BTreeMap<_, _> =
            keys.into_iter().map(|(id, key)| (id, Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)))).collect();
        let current = *keys.keys().next_back()?;
        // Always the same message under the same nonce, so the nonce tells nothing.
        let mut bytes = vec![0; 12];
        let message = Payload { msg: &[0; 16], aad: &additional_data(current, DECOY) };
        bytes.extend(keys[&current].encrypt(&Nonce::from([0; 12]), message).unwrap_or_default());
        Some(Self { keys, current, decoy: Sealed { key_id: current, bytes } })
    }

    /// Opens something that is of no use: the work of [`Sealer::open`] where there is nothing to open.
    pub fn open_decoy(&self) -> Zeroizing<Vec<u8>> {
        self.open(DECOY, &self.decoy).unwrap_or_default()
    }

    /// The number of the key that seals.
    pub fn current(&self) -> KeyId {
        self.current
    }

    /// Seals `secret`, bound to `context` (what row it is for) and to the key's number.
    pub fn seal(&self, context: &[u8], secret: &[u8], random: &dyn Random) -> Sealed {
        let mut nonce = [0; 12];
        random.fill(&mut nonce);
        let aad = additional_data(self.current, context);
        let mut bytes = nonce.to_vec();
        let sealed = self.keys[&self.current].encrypt(&Nonce::from(nonce), Payload { msg: secret, aad: &aad });
        // AES-GCM fails only for messages of 64 GiB and more.
        bytes.extend(sealed.unwrap_or_default());
        Sealed { key_id: self.current, bytes }
    }

    /// Opens what [`Sealer::seal`] made for the same `context`.
    ///
    /// # Errors
    /// [`OpenError`] if the key is missing or wrong, or the bytes were changed or moved from another row.
    pub fn open(&self, context: &[u8], sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let key = self.keys.get(&sealed.key_id).ok_or(OpenError::MissingKey(sealed.key_id))?;
        let wrong = OpenError::WrongKey(sealed.key_id);
        let (nonce, body) = sealed.bytes.split_first_chunk::<12>().ok_or(wrong)?;
        let aad = additional_data(sealed.key_id, context);
        key.decrypt(&Nonce::from(*nonce), Payload { msg: body, aad: &aad }).map(Zeroizing::new).map_err(|_| wrong)
    }
}

fn additional_data(key_id: KeyId, context: &[u8]) -> Vec<u8> {
    [&key_id.to_be_bytes()[..], context].concat()
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("keys", &self.keys.keys()).finish()
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
    fn opens_only_with_its_key_in_its_row() {
        let old = sealer(&[(1, 7)]);
        let sealed = old.seal(b"row", b"secret", &OsRandom);
        assert_eq!(old.open(b"row", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(old.open(b"other", &sealed), Err(OpenError::WrongKey(1)));
        assert_eq!(sealer(&[(1, 8)]).open(b"row", &sealed), Err(OpenError::WrongKey(1)));
        assert_eq!(sealer(&[(2, 7)]).open(b"row", &sealed), Err(OpenError::MissingKey(1)));
        let rotated = sealer(&[(1, 7), (2, 9)]);
        assert_eq!(rotated.open(b"row", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(rotated.seal(b"row", b"secret", &OsRandom).key_id, 2);
        for i in 0..sealed.bytes.len() {
            let mut flipped = sealed.clone();
            flipped.bytes[i] ^= 1;
            assert!(old.open(b"row", &flipped).is_err());
            assert!(old.open(b"row", &Sealed { key_id: 1, bytes: sealed.bytes[..i].to_vec() }).is_err());
        }
    }
}
