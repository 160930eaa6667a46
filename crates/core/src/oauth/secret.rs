//! The secrets with which clients and resource servers authenticate (RFC 6749 2.3.1).
//!
//! A secret has 256 random bits, so its SHA-256 hash needs neither salt nor a slow hash. The text is shown once.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::mac::sha256;
use crate::random::Random;
use crate::time::Timestamp;

/// A secret as its owner presents it. Never stored, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// Generates a secret: 256 random bits as 43 characters of base64url.
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(&mut *bytes);
        Self(URL_SAFE_NO_PAD.encode(*bytes))
    }

    /// The secret of a request: any text. Only a text that [`ClientSecret::generate`] returned can match.
    pub fn from_request(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret's text, for its owner only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash that is stored.
    pub fn hash(&self) -> SecretHash {
        SecretHash(sha256(self.0.as_bytes()))
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

/// The SHA-256 hash of a secret. Never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// A secret that a newer one has replaced and that is valid for some time more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiringSecret {
    /// The hash.
    pub hash: SecretHash,
    /// When the secret was made.
    pub created_at: Timestamp,
    /// From when on the secret is no longer valid.
    pub expires_at: Timestamp,
}

/// The secrets of a client or resource server: at most two are valid, the second while the secret is being rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// The hash of the newest secret, which does not expire.
    pub current: SecretHash,
    /// When the newest secret was made.
    pub created_at: Timestamp,
    /// The secret before it, perhaps expired.
    pub previous: Option<ExpiringSecret>,
}

impl Secrets {
    /// The secrets of a new client or resource server.
    pub fn new(secret: &ClientSecret, now: Timestamp) -> Self {
        Self { current: secret.hash(), created_at: now, previous: None }
    }

    /// The secrets with `new` as the newest one, and the one so far valid for `overlap` from `now`. The one before it
    /// is dropped: see [`Secrets::live_previous`].
    #[must_use]
    pub fn rotated(&self, new: &ClientSecret, now: Timestamp, overlap: Duration) -> Self {
        let expires_at = now.saturating_add(overlap);
        let previous = ExpiringSecret { hash: self.current, created_at: self.created_at, expires_at };
        Self { previous: Some(previous).filter(|previous| previous.expires_at > now), ..Self::new(new, now) }
    }

    /// The secrets with `new` instead of the newest one, which ends at once, and the one before valid for `overlap`
    /// from `now` if it is valid now.
    #[must_use]
    pub fn with_newest_replaced(&self, new: &ClientSecret, now: Timestamp, overlap: Duration) -> Self {
        let expires_at = now.saturating_add(overlap);
        let previous = self.live_previous(now).map(|previous| ExpiringSecret { expires_at, ..previous.clone() });
        Self { previous: previous.filter(|previous| previous.expires_at > now), ..Self::new(new, now) }
    }

    /// The secret before the newest one if it is valid at `now`.
    pub fn live_previous(&self, now: Timestamp) -> Option<&ExpiringSecret> {
        self.previous.as_ref().filter(|previous| now < previous.expires_at)
    }

    /// Whether `presented` is a secret of `owner` that is valid at `now`. Without an owner the work is the same, and
    /// the answer is no. The comparison takes the same time for every secret and every owner.
    pub fn verify(owner: Option<&Self>, presented: &ClientSecret, now: Timestamp) -> bool {
        let hash = presented.hash();
        let matches = |stored: Option<&SecretHash>| {
            let is_stored = Choice::from(u8::from(stored.is_some()));
            is_stored & hash.0.ct_eq(&stored.map_or([0; 32], |stored| stored.0))
        };
        let previous = owner.and_then(|secrets| secrets.live_previous(now)).map(|previous| &previous.hash);
        bool::from(matches(owner.map(|secrets| &secrets.current)) | matches(previous))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;
    use crate::random::OsRandom;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn verifies(secrets: &Secrets, secret: &ClientSecret, now: Timestamp) -> bool {
        Secrets::verify(Some(secrets), secret, now)
    }

    #[test]
    fn a_generated_secret_has_256_bits_in_43_characters() {
        let secrets: Vec<_> = (0..64).map(|_| ClientSecret::generate(&OsRandom)).collect();
        let distinct: std::collections::BTreeSet<_> = secrets.iter().map(ClientSecret::expose).collect();
        assert_eq!(distinct.len(), 64);
        for secret in distinct {
            assert_eq!(URL_SAFE_NO_PAD.decode(secret).unwrap().len(), 32);
            assert_eq!(secret.len(), 43);
        }
        // Computed by Python's `hashlib`.
        let hash = ClientSecret::from_request("abc").hash();
        assert_eq!(hex::encode(&hash.0), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let debug = format!("{:?} {:?}", ClientSecret::from_request("abc"), hash);
        assert_eq!(debug, "ClientSecret(…) SecretHash(…)");
    }

    #[test]
    fn two_secrets_are_valid_until_the_overlap_ends() {
        let [first, second, third] = [1, 2, 3].map(|_| ClientSecret::generate(&OsRandom));
        let secrets = Secrets::new(&first, NOW);
        assert!(verifies(&secrets, &first, NOW) && !verifies(&secrets, &second, NOW));
        let secrets = secrets.rotated(&second, NOW, DAY);
        let last = NOW.saturating_add(DAY).saturating_sub(Duration::from_micros(1));
        assert!(verifies(&secrets, &first, last) && verifies(&secrets, &second, last));
        let end = NOW.saturating_add(DAY);
        assert!(!verifies(&secrets, &first, end) && verifies(&secrets, &second, end));
        let secrets = secrets.rotated(&third, end, DAY);
        assert!(
            !verifies(&secrets, &first, end) && verifies(&secrets, &second, end) && verifies(&secrets, &third, end)
        );
    }

    #[test]
    fn without_overlap_older_secrets_end_at_once() {
        let [first, second, third] = [1, 2, 3].map(|_| ClientSecret::generate(&OsRandom));
        let secrets = Secrets::new(&first, NOW).rotated(&second, NOW, DAY).rotated(&third, NOW, Duration::ZERO);
        assert_eq!(secrets.previous, None);
        assert!(
            !verifies(&secrets, &first, NOW) && !verifies(&secrets, &second, NOW) && verifies(&secrets, &third, NOW)
        );
    }

    #[test]
    fn replacing_the_newest_secret_keeps_the_one_in_use() {
        let [in_use, lost, new] = [1, 2, 3].map(|_| ClientSecret::generate(&OsRandom));
        let secrets = Secrets::new(&in_use, NOW).rotated(&lost, NOW, DAY);
        let later = NOW.saturating_add(DAY / 2);
        let replaced = secrets.with_newest_replaced(&new, later, DAY);
        let last = later.saturating_add(DAY).saturating_sub(Duration::from_micros(1));
        assert!(verifies(&replaced, &in_use, last) && !verifies(&replaced, &lost, later));
        assert!(verifies(&replaced, &new, last));
        // A secret that has expired does not come back.
        let expired = secrets.with_newest_replaced(&new, NOW.saturating_add(DAY), DAY);
        assert_eq!(expired.previous, None);
    }

    #[test]
    fn nothing_matches_without_an_owner() {
        for text in ["", "\0", "x"] {
            assert!(!Secrets::verify(None, &ClientSecret::from_request(text), NOW));
        }
        let secrets = Secrets::new(&ClientSecret::generate(&OsRandom), NOW);
        assert!(!verifies(&secrets, &ClientSecret::from_request(""), NOW));
    }
}
