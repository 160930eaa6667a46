//! Imported hashes that wait for argon2id, which is computed in the background. Until then the hash itself is stored
//! sealed, never in the clear, and logins are verified against it.

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::imported::InnerHash;
use super::{HashMemory, ImportedHash, PresentedSecret, WeakHash};
use crate::password::PasswordDigest;

/// Prefix of the verifier of a hash that waits, with the spec of how to compute it.
const PENDING_PREFIX: &str = "{pending}";

/// An imported hash that waits for argon2id. Never printed.
pub struct PendingHash {
    verifier: String,
    secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for PendingHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingHash(…)")
    }
}

/// Whether `stored` is the verifier of a hash that waits for argon2id.
pub fn is_pending(stored: &str) -> bool {
    stored.starts_with(PENDING_PREFIX)
}

/// Whether the sealed secret beside `stored` is `D`, against which salted proofs are verified.
pub fn has_sealed_digest(stored: &str) -> bool {
    stored.strip_prefix(PENDING_PREFIX).is_none_or(str::is_empty)
}

impl PendingHash {
    /// The hash to store; the verifier itself if it needs no argon2id.
    ///
    /// # Errors
    /// The verifier of a hash that is as strong as ours.
    pub fn new(hash: ImportedHash) -> Result<Self, String> {
        match hash {
            ImportedHash::Strong(verifier) => Err(verifier),
            ImportedHash::Digest(digest) => {
                Ok(Self { verifier: PENDING_PREFIX.to_owned(), secret: Zeroizing::new(digest.expose().to_vec()) })
            }
            ImportedHash::Weak(weak) => {
                let verifier = format!("{PENDING_PREFIX}{}", weak.inner_spec());
                Ok(Self { verifier, secret: Zeroizing::new(weak.output().to_vec()) })
            }
        }
    }

    /// The hash with the verifier `stored` and the unsealed `secret`; `None` if these are not of a hash that waits.
    pub fn from_stored(stored: &str, secret: Zeroizing<Vec<u8>>) -> Option<Self> {
        let spec = stored.strip_prefix(PENDING_PREFIX)?;
        (!spec.is_empty() || secret.len() == 16).then(|| Self { verifier: stored.to_owned(), secret })
    }

    /// The verifier to store.
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    /// The bytes to seal.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// The hash, to compute argon2id over it.
    pub fn into_imported(self) -> ImportedHash {
        match self.digest() {
            Some(digest) => ImportedHash::Digest(digest),
            None => ImportedHash::Weak(WeakHash::new(self.spec().to_owned(), &self.secret[..])),
        }
    }

    /// Whether `presented` matches. A digest matches only `D`, and hashes that are computed from it.
    pub(crate) fn verify(&self, presented: &PresentedSecret, memory: &mut HashMemory) -> bool {
        match (self.digest(), presented) {
            (Some(digest), _) => digest.expose().ct_eq(presented.digest().expose()).into(),
            (None, presented) => InnerHash::parse(self.spec())
                .and_then(|inner| inner.compute(presented, memory))
                .is_some_and(|output| output.ct_eq(&self.secret).into()),
        }
    }

    /// The argon2 work of [`PendingHash::verify`], in the unit of [`super::Argon2Cost::total_kib_written`], and its
    /// memory in KiB.
    pub(crate) fn verification_cost(&self, presented: &PresentedSecret) -> (u64, u32) {
        let cost = match presented {
            PresentedSecret::Digest(_) => None,
            PresentedSecret::Raw(_) => InnerHash::parse(self.spec()).and_then(|inner| inner.argon2_cost()),
        };
        cost.map_or((0, 0), |cost| (cost.total_kib_written(), cost.memory_kib))
    }

    fn spec(&self) -> &str {
        &self.verifier[PENDING_PREFIX.len()..]
    }

    fn digest(&self) -> Option<PasswordDigest> {
        let bytes = self.spec().is_empty().then(|| self.secret.as_slice().try_into().ok())?;
        bytes.map(PasswordDigest::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::RawPassword;
    use crate::verifier::{Argon2Cost, is_current, parse_imported, verify, wrap};

    const LOW_COST: Argon2Cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };

    fn raw(password: &str) -> PresentedSecret {
        PresentedSecret::Raw(RawPassword::new(password.to_owned()))
    }

    /// The vectors are hashes of `correct horse` by other implementations.
    #[test]
    fn a_pending_hash_verifies_before_and_after_it_is_wrapped() {
        let vectors = include_str!("../../tests/vectors/imported.txt");
        let plain_md5 = "3cb4e732631f47e6eb961f34554b7cde";
        let mut seen = 0;
        for line in vectors.lines().filter(|line| !line.starts_with('#')).chain([plain_md5]) {
            let Ok(pending) = PendingHash::new(parse_imported(line).unwrap()) else { continue };
            seen += 1;
            let stored = pending.verifier().to_owned();
            assert!(is_pending(&stored) && !is_current(&stored, LOW_COST), "{stored}");
            assert!(
                !stored.contains(plain_md5) && !line.ends_with(&stored[PENDING_PREFIX.len()..]) || line == plain_md5
            );
            let secret = Zeroizing::new(pending.secret().to_vec());
            let read = PendingHash::from_stored(&stored, secret).unwrap();
            let memory = &mut HashMemory::default();
            assert!(read.verify(&raw("correct horse"), memory) && !read.verify(&raw("wrong"), memory), "{line}");
            let digest = PresentedSecret::Digest(RawPassword::new("correct horse".to_owned()).digest());
            assert_eq!(read.verify(&digest, memory), line == plain_md5, "{line}");
            assert_eq!(has_sealed_digest(&stored), line == plain_md5, "{line}");
            // Without its sealed secret the stored verifier matches nothing.
            assert!(!verify(&stored, &raw("correct horse"), memory), "{line}");
            if let ImportedHash::Weak(weak) = read.into_imported() {
                let wrapped = wrap(&weak, &[1; 16], LOW_COST, memory).unwrap();
                assert!(verify(&wrapped, &raw("correct horse"), memory) && !verify(&wrapped, &raw("wrong"), memory));
            }
        }
        assert!(seen >= 5, "{seen}");
    }

    #[test]
    fn a_damaged_pending_hash_is_rejected_and_no_password_matches_nothing() {
        let secret = || Zeroizing::new(vec![7; 15]);
        assert!(PendingHash::from_stored("{pending}", secret()).is_none());
        assert!(PendingHash::from_stored("{none}", secret()).is_none());
        let damaged = PendingHash::from_stored("{pending}$unknown$", secret()).unwrap();
        let memory = &mut HashMemory::default();
        assert!(!damaged.verify(&raw("x"), memory));
        assert!(!verify(crate::verifier::NO_PASSWORD, &raw(""), memory));
        assert!(!is_pending(crate::verifier::NO_PASSWORD));
    }
}
