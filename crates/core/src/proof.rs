//! Password proofs: the password, its md5 digest, or a salted digest, by which a client proves that it knows the
//! password.

use std::fmt;

use strum::IntoStaticStr;

use crate::client_timestamp::ClientTimestamp;
use crate::password::{PasswordDigest, RawPassword};
use crate::random::{OsRandom, Random as _};
use crate::time::Timestamp;

/// A salted digest `md5(D + timestamp)` with its timestamp. The digest is never printed, because it allows guessing the
/// password offline (brute force).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaltedProof {
    /// The salted digest.
    pub digest: [u8; 16],
    /// The timestamp with which the digest was salted.
    pub timestamp: ClientTimestamp,
}

impl SaltedProof {
    /// The time at which the client claims to have made the proof; saturates far in the future.
    pub fn made_at(&self) -> Timestamp {
        Timestamp::from_secs(i64::try_from(self.timestamp.seconds()).unwrap_or(i64::MAX))
    }
}

impl fmt::Debug for SaltedProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Salted(…, {:?})", self.timestamp)
    }
}

/// A proof of the password, in the form that the dialect's clients send.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The password (portal, MeFP, JWT).
    Raw(RawPassword),
    /// `D`, the md5 of the password (TMS, in one reading of the document).
    Digest(PasswordDigest),
    /// `md5(D + timestamp)` (cloudbox; TMS, in the other reading of the document).
    Salted(SaltedProof),
    /// Either a salted proof or `D` (the default of TMS). The proof is checked as a salted proof first, because that
    /// check is cheap.
    SaltedOrDigest(SaltedProof),
}

/// The kind of a proof, for metrics and the audit log. [`Action::all`](crate::event::Action::all) lists actions with
/// the default kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ProofKind {
    /// The password.
    #[default]
    Raw,
    /// `D`.
    Digest,
    /// `md5(D + timestamp)`.
    Salted,
    /// `D` or `md5(D + timestamp)`. Only a successful verification shows which of the two the client sent.
    #[strum(serialize = "either")]
    SaltedOrDigest,
}

impl ProofKind {
    /// The name in metrics and the audit log.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Proof {
    /// The kind of this proof.
    pub fn kind(&self) -> ProofKind {
        match self {
            Self::Raw(_) => ProofKind::Raw,
            Self::Digest(_) => ProofKind::Digest,
            Self::Salted(_) => ProofKind::Salted,
            Self::SaltedOrDigest(_) => ProofKind::SaltedOrDigest,
        }
    }

    /// This proof read as a salted proof; `None` if it cannot be one. Salted proofs must be fresh and are accepted only
    /// once (replay protection).
    pub fn as_salted(&self) -> Option<SaltedProof> {
        match self {
            Self::Salted(salted) | Self::SaltedOrDigest(salted) => Some(*salted),
            Self::Raw(_) | Self::Digest(_) => None,
        }
    }

    /// Whether verifying this proof may cost a password hash, so that the rate limits must be checked first.
    pub fn may_need_password_hash(&self) -> bool {
        !matches!(self, Self::Salted(_))
    }
}

/// A digest that matches no password, for a request whose proof field is empty. The digest is random, so no stored or
/// imported digest equals it, and checking it costs as much as checking a wrong digest.
pub fn unmatchable_digest() -> [u8; 16] {
    OsRandom.bits128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_proof_kind_has_its_name_salted_form_and_hash_cost() {
        let raw = RawPassword::new("123456".to_owned());
        let salted = SaltedProof { digest: [7; 16], timestamp: 9.into() };
        for (proof, name, salted_seconds, needs_hash) in [
            (Proof::Raw(raw.clone()), "raw", None, true),
            (Proof::Digest(raw.digest()), "digest", None, true),
            (Proof::Salted(salted), "salted", Some(9), false),
            (Proof::SaltedOrDigest(salted), "either", Some(9), true),
        ] {
            assert_eq!(proof.kind().as_str(), name);
            assert_eq!(proof.as_salted().map(|salted| salted.timestamp.seconds()), salted_seconds, "{name}");
            assert_eq!(proof.may_need_password_hash(), needs_hash, "{name}");
        }
    }
}
