//! Imported password hashes from other systems: argon2, bcrypt and md5, salted or not. They are parsed, classified by
//! strength, and computed for verification.
//!
//! A hash cheaper than [`Argon2Cost::OWASP_MINIMUMS`] is never stored as it is: argon2id is computed over it
//! ([`super::wrap`]) and stored with a spec of how to compute the inner hash. The specs, and the output of the inner
//! hash over which argon2id is computed:
//! - `$md5ps$SALT` and `$md5sp$SALT`: `md5(password + salt)` and `md5(salt + password)`, with the salt in hex. The
//!   output is the 32 hex digits of the md5.
//! - `$2b$COST$SALT` (also `2a`, `2y`): bcrypt. The output is the last 31 characters of the bcrypt string.
//! - `$argon2i$v=19$m=…,t=…,p=…$SALT$LENGTH` (any argon2). The output is the `LENGTH` bytes of the hash.

use argon2::password_hash::phc::PasswordHash;
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Argon2Cost, HashMemory, PHC_PREFIX, UNWRAPPED_PREFIX};
use crate::hex;
use crate::password::{PasswordDigest, RawPassword};

/// The highest cost of an imported bcrypt hash (base-2 logarithm of its rounds).
const MAX_BCRYPT_COST: u32 = 14;
/// The number of characters of a bcrypt string before those of the hash.
const BCRYPT_PREFIX_LENGTH: usize = 29;
/// The longest salt of an imported md5, in bytes.
const MAX_SALT_BYTES: usize = 256;

/// Why a hash cannot be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHash {
    /// The text has none of the forms that can be imported.
    #[error(
        "not a hash that can be imported: argon2 (PHC), bcrypt, $md5ps$SALT$HASH, $md5sp$SALT$HASH, or the 32 hex digits \
         of an md5 without salt"
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
    /// A bcrypt hash is of a kind that is not verified correctly.
    #[error("this kind of bcrypt hash cannot be imported; give a hash that starts with $2a$, $2b$ or $2y$")]
    UnknownBcrypt,
    /// Verifying the hash could exhaust the machine (denial of service).
    #[error("this hash asks for more memory or time than is allowed; set a new password for the user instead")]
    TooCostly,
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

/// A hash from which passwords can be guessed cheaply (brute force). Never printed.
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

    /// The spec of how to compute the hash from a password: see the module's documentation.
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
    if let Some(digest) = PasswordDigest::from_hex(text) {
        return Ok(ImportedHash::Digest(digest));
    }
    if text.starts_with("$argon2") {
        return import_argon2(text);
    }
    if text.starts_with("$2") {
        return import_bcrypt(text);
    }
    match SaltedMd5::parse(text).ok_or(InvalidHash::UnknownForm)? {
        md5 if md5.salt.is_empty() => Err(InvalidHash::EmptySalt),
        md5 => Ok(ImportedHash::Weak(md5.to_weak_hash())),
    }
}

/// Parses a verifier that an earlier version stored unwrapped, so that it can be replaced. `None` for all other
/// verifiers, and for an unreadable one, which matches no password.
pub fn parse_unwrapped(stored: &str) -> Option<ImportedHash> {
    let text = stored.strip_prefix(UNWRAPPED_PREFIX)?;
    match SaltedMd5::parse(text) {
        // Earlier versions accepted an empty salt, with which the hash is `D`.
        Some(md5) if md5.salt.is_empty() => Some(ImportedHash::Digest(PasswordDigest::from_bytes(md5.hash))),
        Some(md5) => Some(ImportedHash::Weak(md5.to_weak_hash())),
        None => parse_imported(text).ok(),
    }
}

fn import_argon2(text: &str) -> Result<ImportedHash, InvalidHash> {
    let unreadable = InvalidHash::DamagedArgon2;
    let cost = super::phc_cost(text).ok_or(unreadable)?;
    if !cost.is_within_limits() {
        return Err(InvalidHash::TooCostly);
    }
    // At the same cost, argon2i, argon2d and older versions resist brute force less than argon2id.
    if cost.is_strong() && text.starts_with("$argon2id$v=19$") {
        return Ok(ImportedHash::Strong(format!("{PHC_PREFIX}{text}")));
    }
    let phc = PasswordHash::new(text).map_err(|_| unreadable)?;
    let output = phc.hash.as_ref().ok_or(unreadable)?;
    let (spec, _) = text.rsplit_once('$').ok_or(unreadable)?;
    Ok(ImportedHash::Weak(WeakHash::new(format!("{spec}${}", output.len()), output.as_ref())))
}

fn import_bcrypt(text: &str) -> Result<ImportedHash, InvalidHash> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| InvalidHash::DamagedBcrypt)?;
    if !matches!(&text[..4], "$2a$" | "$2b$" | "$2y$") {
        return Err(InvalidHash::UnknownBcrypt);
    }
    if parts.get_cost() > MAX_BCRYPT_COST {
        return Err(InvalidHash::TooCostly);
    }
    let (spec, output) = text.split_at(BCRYPT_PREFIX_LENGTH);
    Ok(ImportedHash::Weak(WeakHash::new(spec.to_owned(), output)))
}

/// Computes the inner hash of `password` by `inner_spec`; `None` if the spec is unreadable or too costly, or the
/// algorithm does not accept this password.
pub(super) fn compute_inner_hash(
    inner_spec: &str,
    password: &str,
    memory: &mut HashMemory,
) -> Option<Zeroizing<Vec<u8>>> {
    let output = if inner_spec.starts_with("$argon2") {
        let (phc, length) = split_argon2_spec(inner_spec)?;
        let length = length.parse().ok().filter(|length| (4..=64).contains(length))?;
        let phc = PasswordHash::new(phc).ok()?;
        super::params_cost(&phc).filter(|cost| cost.is_within_limits())?;
        super::phc_output(&phc, length, password.as_bytes(), memory)?
    } else if inner_spec.starts_with("$2") {
        bcrypt_output(inner_spec, password)?.into_bytes()
    } else {
        let (prefix, salt) = inner_spec.split_at_checked(7)?;
        let md5 = SaltedMd5::from_parts(prefix, salt, [0; 16])?;
        hex::encode16(&md5.digest(password)).to_vec()
    };
    Some(Zeroizing::new(output))
}

/// The cost of the argon2 hash that `inner_spec` describes; `None` if it describes another algorithm.
pub(super) fn argon2_cost(inner_spec: &str) -> Option<Argon2Cost> {
    super::params_cost(&PasswordHash::new(split_argon2_spec(inner_spec)?.0).ok()?)
}

/// Splits an argon2 spec into a PHC string without hash, and the length of the hash.
fn split_argon2_spec(inner_spec: &str) -> Option<(&str, &str)> {
    inner_spec.starts_with("$argon2").then(|| inner_spec.rsplit_once('$'))?
}

/// Whether an unwrapped bcrypt or salted md5 hash matches `password`.
pub(super) fn verify_unwrapped(stored: &str, password: &str) -> bool {
    let is_equal = |actual: &[u8], expected: &[u8]| actual.ct_eq(expected).into();
    if stored.starts_with("$2") {
        let parts = stored.split_at_checked(BCRYPT_PREFIX_LENGTH);
        return parts.is_some_and(|(spec, expected)| {
            bcrypt_output(spec, password).is_some_and(|actual| is_equal(actual.as_bytes(), expected.as_bytes()))
        });
    }
    SaltedMd5::parse(stored).is_some_and(|md5| is_equal(&md5.digest(password), &md5.hash))
}

/// Computes the last 31 characters of a bcrypt string, whose first 29 are `inner_spec`.
fn bcrypt_output(inner_spec: &str, password: &str) -> Option<String> {
    let parts: bcrypt::HashParts = format!("{inner_spec}{}", ".".repeat(31)).parse().ok()?;
    // bcrypt reads at most 72 bytes and stops at a NUL, so a longer password would match the hash of its prefix.
    let is_accepted_by_bcrypt = !password.contains('\0') && password.len() <= 72;
    let cost = Some(parts.get_cost()).filter(|cost| is_accepted_by_bcrypt && *cost <= MAX_BCRYPT_COST)?;
    let mut text = bcrypt::hash_with_salt(password, cost, parts.get_salt_raw()).ok()?.to_string();
    Some(text.split_off(BCRYPT_PREFIX_LENGTH))
}

/// `md5(password + salt)` or `md5(salt + password)`.
struct SaltedMd5 {
    salt_position: SaltPosition,
    salt: Vec<u8>,
    hash: [u8; 16],
}

/// The position of the salt in the hashed text.
#[derive(Clone, Copy)]
enum SaltPosition {
    BeforePassword,
    AfterPassword,
}

impl SaltedMd5 {
    /// Parses `$md5ps$SALT$HASH` or `$md5sp$SALT$HASH`: hex, in either letter case.
    fn parse(text: &str) -> Option<Self> {
        let (prefix, salt_and_hash) = text.split_at_checked(7)?;
        let (salt, hash) = salt_and_hash.split_once('$')?;
        Self::from_parts(prefix, salt, hex::decode(hash)?)
    }

    fn from_parts(prefix: &str, salt: &str, hash: [u8; 16]) -> Option<Self> {
        let salt_position = match prefix {
            "$md5ps$" => SaltPosition::AfterPassword,
            "$md5sp$" => SaltPosition::BeforePassword,
            _ => return None,
        };
        let pairs = salt.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().and_then(hex::decode::<1>));
        let salt = pairs.map(|byte| byte.map(|[b]| b)).collect::<Option<Vec<u8>>>()?;
        (salt.len() <= MAX_SALT_BYTES).then_some(Self { salt_position, salt, hash })
    }

    fn digest(&self, password: &str) -> [u8; 16] {
        let (first, second) = match self.salt_position {
            SaltPosition::BeforePassword => (&self.salt[..], password.as_bytes()),
            SaltPosition::AfterPassword => (password.as_bytes(), &self.salt[..]),
        };
        Md5::new().chain_update(first).chain_update(second).finalize().into()
    }

    fn to_weak_hash(&self) -> WeakHash {
        let kind = match self.salt_position {
            SaltPosition::BeforePassword => "md5sp",
            SaltPosition::AfterPassword => "md5ps",
        };
        WeakHash::new(format!("${kind}${}", hex::encode(&self.salt)), hex::encode16(&self.hash))
    }
}
