//! Imported password hashes from other systems. They are parsed, classified by strength, and computed for verification;
//! each family has a module.
//!
//! A hash cheaper than [`Argon2Cost::OWASP_MINIMUMS`] is never stored as it is: argon2id is computed over it
//! ([`super::wrap`]) and stored with a spec of how to compute the inner hash. The modules document their specs, and the
//! output of the inner hash over which argon2id is computed.

mod argon2_phc;
mod bcrypt_hash;
mod pbkdf2_hash;
mod phpass;
mod salted_hash;
mod wordpress;

use zeroize::Zeroizing;

use self::argon2_phc::Argon2Spec;
use self::bcrypt_hash::{BcryptInput, BcryptSpec};
use self::pbkdf2_hash::{Pbkdf2Spec, Prf};
use self::phpass::PhpassSpec;
use self::salted_hash::SaltedSpec;
use super::{Argon2Cost, HashMemory, PendingHash, PresentedSecret, UNWRAPPED_PREFIX};
use crate::password::{PasswordDigest, RawPassword};

/// Why a hash cannot be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    /// The text has none of the forms that can be imported.
    #[error(
        "not a hash that can be imported: argon2 (PHC), bcrypt, phpass, a hash of WordPress, Django or ASP.NET Identity, \
         $KIND$SALT$HASH with salt and hash in hex (KIND: md5ps, md5sp, md5ds, sha1ps, sha1sp, sha256ps, sha256sp), or \
         the 32 hex digits of an md5 without salt"
    )]
    UnknownForm,
    /// A salted md5 has an empty salt, so it is the plain md5 of the password.
    #[error(
        "the salt is empty, so this is the plain md5 of the password; give its 32 hex digits alone, without $md5ps$ or \
         $md5sp$"
    )]
    EmptySalt,
    /// An argon2 hash is damaged.
    #[error("this argon2 hash cannot be read; give the complete PHC string")]
    DamagedArgon2,
    /// A bcrypt hash is damaged.
    #[error("this bcrypt hash cannot be read; give the complete string of 60 characters")]
    DamagedBcrypt,
    /// A PBKDF2 hash is damaged.
    #[error("this PBKDF2 hash cannot be read; give the complete text as Django or ASP.NET Identity stores it")]
    DamagedPbkdf2,
    /// A phpass hash is damaged.
    #[error("this phpass hash cannot be read; give the complete string of 34 characters")]
    DamagedPhpass,
    /// A salted md5, SHA-1 or SHA-256 is damaged.
    #[error(
        "this salted hash cannot be read; give $KIND$SALT$HASH with the salt, at most 256 bytes, and the hash in hex"
    )]
    DamagedSalted,
    /// A bcrypt hash is of a kind that is not verified correctly.
    #[error("this kind of bcrypt hash cannot be imported; give a hash that starts with $2a$, $2b$ or $2y$")]
    UnknownBcrypt,
    /// Verifying the hash could exhaust the machine (denial of service).
    #[error(
        "this hash asks for more memory or time than is allowed (argon2: 256 MiB, 16 passes and 16 lanes; bcrypt: cost 14; \
         PBKDF2: 2,000,000 iterations; phpass: 2^17 rounds); set a new password for the user instead"
    )]
    TooCostly,
}

/// The form of a hash's text, by which the system that made it can be recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashForm {
    /// 32 hex digits.
    Md5,
    /// `$KIND$SALT$HASH`, in Stele's own notation.
    Salted,
    /// argon2 as a PHC string.
    Argon2,
    /// bcrypt, also with Spring Security's `{bcrypt}`.
    Bcrypt,
    /// phpass as phpBB stores it, `$H$…`.
    Phpass,
    /// WordPress: phpass `$P$…`, or from 6.8 `$wp$2y$…`.
    WordPress,
    /// Django: the name of an algorithm, and its values after `$`.
    Django,
    /// ASP.NET Identity: base64.
    Identity,
}

/// What Django has before the values of each algorithm.
const DJANGO_PREFIXES: [&str; 7] =
    ["pbkdf2_sha256$", "pbkdf2_sha1$", "bcrypt_sha256$", "bcrypt$", "argon2$", "md5$", "sha1$"];

impl HashForm {
    /// The form of `text`; `None` if it has no known one. The hash may be damaged.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let starts_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix));
        Some(match text {
            _ if PasswordDigest::from_hex(text).is_some() => Self::Md5,
            _ if starts_with(&["$argon2"]) => Self::Argon2,
            _ if starts_with(&["$2", "{bcrypt}"]) => Self::Bcrypt,
            _ if starts_with(&["$P$", "$wp$2"]) => Self::WordPress,
            _ if starts_with(&["$H$"]) => Self::Phpass,
            _ if starts_with(&DJANGO_PREFIXES) => Self::Django,
            _ if salted_hash::recognizes(text) => Self::Salted,
            _ if pbkdf2_hash::is_identity(text) => Self::Identity,
            _ => return None,
        })
    }
}

/// A hash from another system, classified by the form in which it may be stored. Never printed.
#[derive(Clone)]
pub enum ImportedHash {
    /// `D` itself, the md5 of a password without salt. It is equivalent to the password.
    Digest(PasswordDigest),
    /// argon2id of at least one of [`Argon2Cost::OWASP_MINIMUMS`], in the form of a stored verifier.
    Strong(String),
    /// Any other hash, which must be wrapped in argon2id.
    Weak(WeakHash),
}

/// A hash from which passwords can be guessed more cheaply than from argon2id (brute force). Never printed.
#[derive(Clone)]
pub struct WeakHash {
    inner_spec: String,
    output: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for ImportedHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ImportedHash(…)")
    }
}

impl std::fmt::Debug for WeakHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakHash(…)")
    }
}

impl ImportedHash {
    /// What the hash says, for a keyed hash of it: how it is computed, and its bytes.
    pub(crate) fn content(&self) -> (&str, Zeroizing<Vec<u8>>) {
        match self {
            Self::Digest(digest) => ("", Zeroizing::new(digest.expose().to_vec())),
            Self::Strong(verifier) => ("strong", Zeroizing::new(verifier.clone().into_bytes())),
            Self::Weak(weak) => (&weak.inner_spec, weak.output.clone()),
        }
    }

    /// Whether this is the md5 of the empty password, which no login accepts.
    pub fn is_of_empty_password(&self) -> bool {
        let empty = RawPassword::new(String::new()).digest();
        matches!(self, Self::Digest(digest) if digest.expose() == empty.expose())
    }
}

impl WeakHash {
    pub(super) fn new(inner_spec: String, output: impl Into<Vec<u8>>) -> Self {
        Self { inner_spec, output: Zeroizing::new(output.into()) }
    }

    /// The spec of how to compute the hash from a password: see the modules of the families.
    pub(super) fn inner_spec(&self) -> &str {
        &self.inner_spec
    }

    /// The output of the hash, over which argon2id is computed.
    pub(super) fn output(&self) -> &[u8] {
        &self.output
    }
}

/// Parses an imported hash.
///
/// # Errors
/// [`InvalidHash`] if the form is unknown or damaged, the salt is empty, or the hash is too costly to verify.
pub fn parse_imported(text: &str) -> Result<ImportedHash, InvalidHash> {
    let text = text.trim();
    match HashForm::of(text).ok_or(InvalidHash::UnknownForm)? {
        HashForm::Md5 => PasswordDigest::from_hex(text).map(ImportedHash::Digest).ok_or(InvalidHash::UnknownForm),
        HashForm::Argon2 => argon2_phc::import(text),
        HashForm::Bcrypt => bcrypt_hash::import(BcryptInput::Password, text.strip_prefix("{bcrypt}").unwrap_or(text)),
        HashForm::WordPress => match text.strip_prefix("$wp") {
            Some(bcrypt) => bcrypt_hash::import(BcryptInput::WordPress, bcrypt),
            None => phpass::import(text),
        },
        HashForm::Phpass => phpass::import(text),
        HashForm::Django => import_django(text),
        HashForm::Salted => salted_hash::import(text),
        HashForm::Identity => pbkdf2_hash::import_identity(text),
    }
}

fn import_django(text: &str) -> Result<ImportedHash, InvalidHash> {
    let (algorithm, rest) = text.split_once('$').ok_or(InvalidHash::UnknownForm)?;
    let salted = |kind: &str| {
        let (salt, hash) = rest.split_once('$').ok_or(InvalidHash::DamagedSalted)?;
        let text = Zeroizing::new(format!("${kind}${}${hash}", crate::hex::encode(salt.as_bytes())));
        salted_hash::import_with_any_salt(&text).map(|(_, imported)| imported)
    };
    match algorithm {
        "pbkdf2_sha256" => pbkdf2_hash::import_django(Prf::Sha256, rest),
        "pbkdf2_sha1" => pbkdf2_hash::import_django(Prf::Sha1, rest),
        "bcrypt_sha256" => bcrypt_hash::import(BcryptInput::Sha256, rest),
        "bcrypt" => bcrypt_hash::import(BcryptInput::Password, rest),
        // Django leaves out the `$` before the name.
        "argon2" => argon2_phc::import(&format!("${rest}")),
        "md5" => salted("md5sp"),
        "sha1" => salted("sha1sp"),
        _ => Err(InvalidHash::UnknownForm),
    }
}

/// Parses a verifier that an earlier version stored unwrapped, so that it can be replaced. `None` for all other
/// verifiers, and for an unreadable one, which matches no password.
pub fn parse_unwrapped(stored: &str) -> Option<ImportedHash> {
    parse_with_any_salt(stored.strip_prefix(UNWRAPPED_PREFIX)?)
}

/// Parses a hash. Earlier versions accepted an empty salt, with which an md5 is `D`.
fn parse_with_any_salt(text: &str) -> Option<ImportedHash> {
    match salted_hash::recognizes(text) {
        true => salted_hash::import_with_any_salt(text).ok().map(|(_, imported)| imported),
        false => parse_imported(text).ok(),
    }
}

/// How to compute the inner hash of a secret: a parsed spec.
pub(super) enum InnerHash<'a> {
    Argon2(Box<Argon2Spec>),
    Bcrypt(BcryptSpec),
    Pbkdf2(Pbkdf2Spec),
    Phpass(PhpassSpec<'a>),
    Salted(SaltedSpec),
}

impl<'a> InnerHash<'a> {
    /// Parses a spec; `None` if it is unreadable or too costly.
    pub(super) fn parse(inner_spec: &'a str) -> Option<Self> {
        if inner_spec.starts_with("$argon2") {
            Argon2Spec::parse(inner_spec).map(|spec| Self::Argon2(Box::new(spec)))
        } else if BcryptSpec::recognizes(inner_spec) {
            BcryptSpec::parse(inner_spec).map(Self::Bcrypt)
        } else if pbkdf2_hash::recognizes(inner_spec) {
            Pbkdf2Spec::parse(inner_spec).map(Self::Pbkdf2)
        } else if inner_spec.starts_with("$P$") || inner_spec.starts_with("$H$") {
            PhpassSpec::parse(inner_spec).map(Self::Phpass)
        } else {
            SaltedSpec::parse(inner_spec).map(Self::Salted)
        }
    }

    /// Whether the hash can be computed from `D` alone.
    pub(super) fn accepts_digest(&self) -> bool {
        matches!(self, Self::Salted(spec) if spec.accepts_digest())
    }

    /// Computes the inner hash; `None` if it cannot be computed from `D`, or the algorithm does not accept this
    /// password.
    pub(super) fn compute(&self, secret: &PresentedSecret, memory: &mut HashMemory) -> Option<Zeroizing<Vec<u8>>> {
        match (self, secret) {
            (Self::Salted(spec), secret) => spec.compute(secret),
            (_, PresentedSecret::Digest(_)) => None,
            (Self::Argon2(spec), PresentedSecret::Raw(raw)) => spec.compute(raw.expose(), memory),
            (Self::Bcrypt(spec), PresentedSecret::Raw(raw)) => spec.compute(raw.expose()),
            (Self::Pbkdf2(spec), PresentedSecret::Raw(raw)) => Some(spec.compute(raw.expose())),
            (Self::Phpass(spec), PresentedSecret::Raw(raw)) => spec.compute(raw.expose()),
        }
    }

    /// The cost of the argon2 hash that is computed; `None` for the other algorithms.
    pub(super) fn argon2_cost(&self) -> Option<Argon2Cost> {
        match self {
            Self::Argon2(spec) => spec.cost(),
            _ => None,
        }
    }
}

/// Whether an imported hash that is stored unwrapped matches `secret`.
pub(super) fn verify_unwrapped(stored: &str, secret: &PresentedSecret, memory: &mut HashMemory) -> bool {
    let hash = parse_with_any_salt(stored).and_then(|hash| PendingHash::new(hash).ok());
    hash.is_some_and(|hash| hash.verify(secret, memory))
}

#[cfg(test)]
#[path = "imported_tests.rs"]
mod tests;
