//! Passwords, and their digest `D = lowercase hex md5(utf8(password))`, which the API documents define. Every password
//! proof proves the knowledge of `D`.

use std::fmt;

use md5::{Digest as _, Md5};
use subtle::{Choice, ConstantTimeEq as _};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::hex;
use crate::proof::SaltedProof;

/// The longest new password, in characters.
pub const MAX_PASSWORD_LENGTH: usize = 128;

/// A password as a person types it. Never printed, zeroized on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RawPassword(String);

impl RawPassword {
    /// Wraps the text of a password.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The password's text, for computing a hash of it, and for an old server that checks the password itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the password is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `D` of this password.
    pub fn digest(&self) -> PasswordDigest {
        PasswordDigest(Md5::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for RawPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawPassword(…)")
    }
}

/// `D`, the md5 of a password. It is equivalent to the password, so it is never printed, and stored only sealed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PasswordDigest([u8; 16]);

impl PasswordDigest {
    /// Parses 16 bytes in hex, as [`hex::decode`] reads them; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        hex::decode(text).map(Self)
    }

    /// The digest with these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// `D` as 32 lowercase hex digits: the form over which salted digests and verifiers are computed.
    pub fn hex(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(hex::encode16(&self.0))
    }

    /// The 16 bytes of the digest, for sealing.
    pub(crate) fn expose(&self) -> &[u8; 16] {
        &self.0
    }

    /// The salted digest `md5(D + timestamp)` (cloudbox document, "authsalt"), over the 32 lowercase hex digits of `D`
    /// and the timestamp's text.
    pub fn salted_hash(&self, timestamp: impl fmt::Display) -> [u8; 16] {
        salted_md5(&self.hex(), &timestamp.to_string())
    }

    /// Whether `proof` is this digest, in lower-case or upper-case hex digits, salted with one of the candidate texts
    /// of the proof's timestamp. Computes every combination (two for a plain integer, at most eight) and compares each
    /// in constant time (timing side channel).
    pub fn matches_proof(&self, proof: &SaltedProof) -> bool {
        let lower = self.hex();
        let upper = Zeroizing::new(lower.map(|digit| digit.to_ascii_uppercase()));
        let is_match = proof.timestamp.candidate_texts().fold(Choice::from(0), |is_match, timestamp| {
            let is_equal = |digits| salted_md5(digits, &timestamp).ct_eq(&proof.digest);
            is_match | is_equal(&lower) | is_equal(&upper)
        });
        is_match.into()
    }
}

fn salted_md5(digits: &[u8; 32], timestamp: &str) -> [u8; 16] {
    Md5::new().chain_update(digits).chain_update(timestamp).finalize().into()
}

impl fmt::Debug for PasswordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordDigest(…)")
    }
}

/// Why the length of a new password is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordLengthError {
    /// The password has fewer characters than the policy's minimum.
    TooShort,
    /// The password has more than [`MAX_PASSWORD_LENGTH`] characters.
    TooLong,
}

/// The digest of a new password that satisfies the rules of its source.
#[derive(Clone, Debug)]
pub struct NewPassword(PasswordDigest);

impl NewPassword {
    /// A password that a user chose, of `min_length` to [`MAX_PASSWORD_LENGTH`] characters.
    ///
    /// # Errors
    /// [`PasswordLengthError`] if it is too short or too long.
    pub fn from_user_choice(raw: &RawPassword, min_length: usize) -> Result<Self, PasswordLengthError> {
        match raw.0.chars().count() {
            n if n < min_length => Err(PasswordLengthError::TooShort),
            n if n > MAX_PASSWORD_LENGTH => Err(PasswordLengthError::TooLong),
            _ => Ok(Self(raw.digest())),
        }
    }

    /// A password that arrives as `D`, whose length is unknown.
    pub fn from_digest(digest: PasswordDigest) -> Self {
        Self(digest)
    }

    /// A password of any length that an administrator sets; `None` if it is empty.
    pub fn from_administrator(raw: &RawPassword) -> Option<Self> {
        (!raw.0.is_empty()).then(|| Self(raw.digest()))
    }

    /// `D` of the new password.
    pub fn as_digest(&self) -> &PasswordDigest {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client_timestamp::ClientTimestamp;

    /// The timestamp as sent, the candidate text that was hashed, and the salted digests over `D` in lower and in upper
    /// case.
    const VECTORS: [(&str, &str, &str, &str); 9] = [
        ("1795691504", "1795691504", "b9634818d4899447e0818218cdf16c1d", "92ea30a87e51e77c846294e581bcc74f"),
        (" 1795691504\n", "1795691504", "b9634818d4899447e0818218cdf16c1d", "92ea30a87e51e77c846294e581bcc74f"),
        (" 1795691504\n", " 1795691504\n", "b27e62b6efa85a85733eb05d6bc68eb0", "b7f432f9943410ac0afbf59ca65e4c79"),
        ("\"1795691504\"", "1795691504", "b9634818d4899447e0818218cdf16c1d", "92ea30a87e51e77c846294e581bcc74f"),
        ("1795691504.0", "1795691504.0", "52566f60a0b0e8234da583d2ea3ea2ed", "f434de43eefc3b990c42cd5d2bbe99c0"),
        ("1795691504.0", "1795691504", "b9634818d4899447e0818218cdf16c1d", "92ea30a87e51e77c846294e581bcc74f"),
        ("1.795691504E9", "1.795691504E9", "8a4262115bb82491d890b63425d7c964", "6766245cb30e3d23c1eb60f05946470e"),
        ("1.795691504E9", "1795691504", "b9634818d4899447e0818218cdf16c1d", "92ea30a87e51e77c846294e581bcc74f"),
        ("1795691504000", "1795691504000", "8732f3df4ac35da1fda21a1545bfc390", "d5c07184bafb249909d85edecf89411f"),
    ];

    proptest! {
        #[test]
        fn only_the_right_password_and_timestamp_match(password in "\\PC{1,40}", other in "\\PC{1,40}", at: u64, shift in 1u64..1000) {
            let digest = RawPassword::new(password.clone()).digest();
            let proof_at = |timestamp: u64| SaltedProof { digest: digest.salted_hash(at), timestamp: timestamp.into() };
            prop_assert!(digest.matches_proof(&proof_at(at)));
            prop_assert!(!digest.matches_proof(&proof_at(at.wrapping_add(shift))));
            if other != password {
                prop_assert!(!RawPassword::new(other).digest().matches_proof(&proof_at(at)));
            }
        }
    }

    /// Computed by Python's `hashlib`.
    #[test]
    fn digests_match_a_reference_and_parse_in_either_case() {
        let digest = PasswordDigest::from_hex("e10adc3949ba59abbe56e057f20f883e").unwrap();
        assert_eq!(crate::hex::encode(digest.expose()), "e10adc3949ba59abbe56e057f20f883e");
        assert_eq!(digest.expose(), RawPassword::new("123456".to_owned()).digest().expose());
        assert_eq!(PasswordDigest::from_hex("E10ADC3949BA59ABBE56E057F20F883E").unwrap().expose(), digest.expose());
        assert_eq!(crate::hex::encode(&digest.salted_hash(1_476_180_000)), "9ac0e9147880ae265644b4ea374d1ab3");
        for text in [
            "",
            "10adc3949ba59abbe56e057f20f883e",
            "e10adc3949ba59abbe56e057f20f883e0",
            "e10adc3949ba59abbe56e057f20f883g",
            " 10adc3949ba59abbe56e057f20f883e",
        ] {
            assert!(PasswordDigest::from_hex(text).is_none(), "{text:?}");
        }
    }

    /// The digests in [`VECTORS`] were computed by Python's `hashlib`, over `D` of the password 123456.
    #[test]
    fn a_proof_matches_either_digest_case_with_the_timestamp_text() {
        let digest = PasswordDigest::from_hex("e10adc3949ba59abbe56e057f20f883e").unwrap();
        for (sent, text, lower, upper) in VECTORS {
            let is_proof = |sent: &str, md5: &str| {
                let timestamp = ClientTimestamp::parse(sent).unwrap();
                digest.matches_proof(&SaltedProof { digest: hex::decode(md5).unwrap(), timestamp })
            };
            assert!(is_proof(sent, lower) && is_proof(sent, upper), "{sent:?} over {text:?}");
            assert_eq!(crate::hex::encode(&digest.salted_hash(text)), lower, "{text:?}");
            // A proof over another text does not match, even if it denotes the same instant.
            assert!(
                !is_proof("1795691505", lower) && !is_proof("1795691504000", lower) || text == "1795691504000",
                "{text:?}"
            );
        }
    }

    #[test]
    fn password_length_is_counted_in_characters_and_bounded_for_users_only() {
        let raw_password = |text: &str| RawPassword::new(text.to_owned());
        assert_eq!(
            NewPassword::from_user_choice(&raw_password("12345"), 6).unwrap_err(),
            PasswordLengthError::TooShort
        );
        assert!(NewPassword::from_user_choice(&raw_password("密码密码密码"), 6).is_ok());
        assert!(NewPassword::from_user_choice(&raw_password(&"密".repeat(128)), 6).is_ok());
        assert_eq!(
            NewPassword::from_user_choice(&raw_password(&"密".repeat(129)), 6).unwrap_err(),
            PasswordLengthError::TooLong
        );
        assert!(NewPassword::from_administrator(&raw_password("")).is_none());
        assert!(NewPassword::from_administrator(&raw_password("1")).is_some());
    }

    #[test]
    fn debug_output_never_contains_the_password() {
        let raw = RawPassword::new("hunter2".into());
        let text = format!("{raw:?} {:?} {:?}", raw.digest(), NewPassword::from_digest(raw.digest()));
        assert!(!text.contains("hunter2") && !text.contains("2ab96390"), "{text}");
    }
}
