//! Password proofs: what a client sends to prove that it knows the password.

use std::fmt;

use strum::IntoStaticStr;

use crate::client_timestamp::ClientTimestamp;
use crate::password::{PasswordDigest, RawPassword};
use crate::random::{OsRandom, Random as _};
use crate::time::Timestamp;

/// `md5(D + timestamp)` and its timestamp. The digest allows guessing the password offline, so it is never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaltedProof {
    /// The md5.
    pub digest: [u8; 16],
    /// The timestamp it was salted with.
    pub timestamp: ClientTimestamp,
}

impl SaltedProof {
    /// When the client says that it made the proof; saturates far in the future.
    pub fn made_at(&self) -> Timestamp {
        Timestamp::from_secs(i64::try_from(self.timestamp.seconds()).unwrap_or(i64::MAX))
    }
}

impl fmt::Debug for SaltedProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Salted(…, {:?})", self.timestamp)
    }
}

/// A proof of the password, in the form that the dialect sends.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The password (portal, MeFP, JWT).
    Raw(RawPassword),
    /// `D`, the md5 of the password (TMS, one reading of its document).
    Digest(PasswordDigest),
    /// `md5(D + timestamp)` (cloudbox; TMS, the other reading).
    Salted(SaltedProof),
    /// Either a salted proof or `D` (TMS's default). The salted reading is checked first, as that is cheap.
    SaltedOrDigest(SaltedProof),
}

/// The kind of a proof, for metrics and the audit log. The default is what [`Action::all`](crate::event::Action::all)
/// lists.
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
    /// `D` or `md5(D + timestamp)`; which of them is known only after it was verified.
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

    /// The salted reading of this proof, if it has one. Salted proofs must be fresh and may be accepted only once.
    pub fn as_salted(&self) -> Option<SaltedProof> {
        match self {
            Self::Salted(salted) | Self::SaltedOrDigest(salted) => Some(*salted),
            Self::Raw(_) | Self::Digest(_) => None,
        }
    }

    /// Whether verifying it may cost a password hash, so that the rate limits must be checked first.
    pub fn may_need_password_hash(&self) -> bool {
        !matches!(self, Self::Salted(_))
    }
}

/// A digest that matches no password, for an empty field. Random, so that no stored or imported digest equals it;
/// checking it costs as much as checking a wrong one.
pub fn unmatchable_digest() -> [u8; 16] {
    OsRandom.bits128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salted_forms_and_hash_costs_are_reported_per_proof_kind() {
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
