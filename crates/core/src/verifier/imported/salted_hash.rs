//! One round of md5, SHA-1 or SHA-256, with or without salt. Specs, with the salt in hex:
//! - `$md5ps$SALT`, `$sha1ps$SALT`, `$sha256ps$SALT`: of the password followed by the salt, which may be empty for SHA
//! - `$md5sp$SALT`, `$sha1sp$SALT`, `$sha256sp$SALT`: of the salt followed by the password
//! - `$md5ds$SALT`: of the hex digits of `D` followed by the salt, which may be empty. It can be computed from `D`.
//!
//! The output is the hex digits of the hash.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{ImportedHash, InvalidHash, WeakHash};
use crate::hex;
use crate::password::PasswordDigest;
use crate::verifier::PresentedSecret;

/// The longest salt, in bytes.
const MAX_SALT_BYTES: usize = 256;

/// The name of each kind, its algorithm, and what is hashed.
const KINDS: [(&str, Algorithm, Layout); 7] = [
    ("md5ps", Algorithm::Md5, Layout::PasswordSalt),
    ("md5sp", Algorithm::Md5, Layout::SaltPassword),
    ("md5ds", Algorithm::Md5, Layout::DigestSalt),
    ("sha1ps", Algorithm::Sha1, Layout::PasswordSalt),
    ("sha1sp", Algorithm::Sha1, Layout::SaltPassword),
    ("sha256ps", Algorithm::Sha256, Layout::PasswordSalt),
    ("sha256sp", Algorithm::Sha256, Layout::SaltPassword),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha1,
    Sha256,
}

impl Algorithm {
    fn output_bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn hash(self, first: &[u8], second: &[u8]) -> String {
        fn digest<D: Digest>(first: &[u8], second: &[u8]) -> String {
            hex::encode(&D::new().chain_update(first).chain_update(second).finalize())
        }
        match self {
            Self::Md5 => digest::<Md5>(first, second),
            Self::Sha1 => digest::<Sha1>(first, second),
            Self::Sha256 => digest::<Sha256>(first, second),
        }
    }
}

/// What is hashed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    PasswordSalt,
    SaltPassword,
    /// The hex digits of `D`, then the salt.
    DigestSalt,
}

/// A parsed spec.
pub(in crate::verifier) struct SaltedSpec {
    kind: &'static str,
    algorithm: Algorithm,
    layout: Layout,
    salt: Vec<u8>,
}

/// Whether `text` starts as a hash or a spec of this family.
pub(super) fn recognizes(text: &str) -> bool {
    kind_of(text).is_some()
}

fn kind_of(text: &str) -> Option<(&'static (&'static str, Algorithm, Layout), &str)> {
    let (name, rest) = text.strip_prefix('$')?.split_once('$')?;
    Some((KINDS.iter().find(|(kind, ..)| *kind == name)?, rest))
}

/// Parses `$KIND$SALT$HASH`, with salt and hash in hex, in either letter case.
pub(super) fn import(text: &str) -> Result<ImportedHash, InvalidHash> {
    match import_with_any_salt(text)? {
        (spec, ImportedHash::Digest(_)) if spec.salt.is_empty() => Err(InvalidHash::EmptySalt),
        (_, imported) => Ok(imported),
    }
}

/// Parses a hash as [`import`] does. An md5 of the password with an empty salt is `D`.
pub(super) fn import_with_any_salt(text: &str) -> Result<(SaltedSpec, ImportedHash), InvalidHash> {
    let (spec, hash) = text.rsplit_once('$').ok_or(InvalidHash::DamagedSalted)?;
    let spec = SaltedSpec::parse(spec).ok_or(InvalidHash::DamagedSalted)?;
    let hash = hex::decode_bytes(hash).filter(|hash| hash.len() == spec.algorithm.output_bytes());
    let hash = Zeroizing::new(hash.ok_or(InvalidHash::DamagedSalted)?);
    let imported = match <[u8; 16]>::try_from(hash.as_slice()) {
        Ok(digest) if spec.salt.is_empty() && spec.layout != Layout::DigestSalt => {
            ImportedHash::Digest(PasswordDigest::from_bytes(digest))
        }
        _ => {
            ImportedHash::Weak(WeakHash::new(format!("${}${}", spec.kind, hex::encode(&spec.salt)), hex::encode(&hash)))
        }
    };
    Ok((spec, imported))
}

impl SaltedSpec {
    pub(super) fn parse(spec: &str) -> Option<Self> {
        let (&(kind, algorithm, layout), salt) = kind_of(spec)?;
        let salt = hex::decode_bytes(salt).filter(|salt| salt.len() <= MAX_SALT_BYTES)?;
        Some(Self { kind, algorithm, layout, salt })
    }

    /// Whether the hash can be computed from `D`.
    pub(super) fn accepts_digest(&self) -> bool {
        self.layout == Layout::DigestSalt
    }

    pub(super) fn compute(&self, secret: &PresentedSecret) -> Option<Zeroizing<Vec<u8>>> {
        let output = match (self.layout, secret) {
            (Layout::DigestSalt, secret) => self.algorithm.hash(secret.digest().hex().as_slice(), &self.salt),
            (Layout::PasswordSalt, PresentedSecret::Raw(raw)) => {
                self.algorithm.hash(raw.expose().as_bytes(), &self.salt)
            }
            (Layout::SaltPassword, PresentedSecret::Raw(raw)) => {
                self.algorithm.hash(&self.salt, raw.expose().as_bytes())
            }
            (_, PresentedSecret::Digest(_)) => return None,
        };
        Some(Zeroizing::new(output.into_bytes()))
    }
}
