//! Keyed hashes (HMAC-SHA-256 with a pepper), for codes and captchas, whose short texts could be guessed from a hash
//! without a key; and SHA-256 for values that need no key.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// A keyed hash.
pub type MacTag = [u8; 32];

/// The key of the keyed hashes (pepper). Never printed, zeroized on drop.
pub struct MacKey(Zeroizing<[u8; 32]>);

impl ZeroizeOnDrop for MacKey {}

impl MacKey {
    /// Wraps the 32 bytes of a key.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// The keyed hash of `parts`. Each part is preceded by its length, so that different lists of parts never have the
    /// same input.
    pub fn tag(&self, parts: &[&[u8]]) -> MacTag {
        // HMAC pads a key that is shorter than the block with zeros (RFC 2104 §2).
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(&*self.0);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&(*block).into());
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(…)")
    }
}

/// The SHA-256 hash of `bytes`. Tokens need no key: they have 128 random bits, which cannot be guessed.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    /// Computed by Python's `hmac` and `hashlib`.
    #[test]
    fn hmac_and_sha256_match_a_reference_implementation() {
        let key = MacKey::new(Zeroizing::new([0xab; 32]));
        assert_eq!(
            hex::encode(&key.tag(&[b"ab", b"c"])),
            "a8a9ad40d41075c6840c77dd0de7eef072675cf5012d37eb2b97fa998eb407f5"
        );
        assert_eq!(hex::encode(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn different_part_lists_have_different_tags() {
        let key = MacKey::new(Zeroizing::new([0xab; 32]));
        let lists: [&[&[u8]]; 7] =
            [&[], &[b""], &[b"", b""], &[b"abc"], &[b"ab", b"c"], &[b"a", b"bc"], &[b"abc", b""]];
        let distinct: std::collections::BTreeSet<_> = lists.iter().map(|parts| key.tag(parts)).collect();
        assert_eq!(distinct.len(), lists.len());
    }
}
