//! Password hashes made elsewhere: read, classified and computed.
//!
//! A hash that is cheaper than argon2id at [`Cost::LEAST`] never rests in the database: it is wrapped in argon2id
//! ([`super::wrap`]), and only how to compute it is kept beside. `HOW` is one of
//! - `$md5ps$SALT` and `$md5sp$SALT`: `md5(password + salt)` and `md5(salt + password)`, salt in hex; argon2id is
//!   computed over the 32 hex digits of the md5;
//! - `$2b$COST$SALT` (`2a`, `2y`): bcrypt; over its 31 characters;
//! - `$argon2i$v=19$m=…,t=…,p=…$SALT$LENGTH` (any argon2): over its `LENGTH` bytes.

use argon2::password_hash::phc::PasswordHash;
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Cost, Memory, PHC, RAW};
use crate::hex;
use crate::password::PasswordDigest;

/// The most rounds an imported bcrypt hash may ask for, as the base-2 logarithm.
const MOST_BCRYPT_COST: u32 = 14;
/// How many characters of a bcrypt hash come before those of the hash itself.
const BCRYPT_HOW: usize = 29;
/// The longest salt of an imported md5, in bytes.
const LONGEST_SALT: usize = 256;

const COSTLY: &str = "this hash asks for more memory or time than is allowed";

/// A hash made elsewhere, as it may be stored. Never printed.
pub enum Imported {
    /// `D` itself, the plain md5 of a password: as good as the password.
    Digest(PasswordDigest),
    /// argon2id as hard as [`Cost::LEAST`], in the form it is stored in.
    Strong(String),
    /// Anything cheaper: to be wrapped.
    Weak(Weak),
}

/// A hash that is cheap to guess from. Never printed.
pub struct Weak {
    how: String,
    output: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Imported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Imported(…)")
    }
}

impl std::fmt::Debug for Weak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Weak(…)")
    }
}

impl Weak {
    fn new(how: String, output: impl Into<Vec<u8>>) -> Self {
        Self { how, output: Zeroizing::new(output.into()) }
    }

    /// How it is computed from a password.
    pub(super) fn how(&self) -> &str {
        &self.how
    }

    /// The hash, as it is wrapped.
    pub(super) fn output(&self) -> &[u8] {
        &self.output
    }
}

/// Reads a hash made elsewhere, or says why it cannot be taken.
///
/// # Errors
/// A sentence for the administrator: an unknown form, an empty salt, or one that is too costly to verify.
pub fn import(text: &str) -> Result<Imported, &'static str> {
    let text = text.trim();
    if let Some(digest) = PasswordDigest::from_hex(text) {
        return Ok(Imported::Digest(digest));
    }
    if text.starts_with("$argon2") {
        return import_argon2(text);
    }
    if text.starts_with("$2") {
        return import_bcrypt(text);
    }
    let unknown = "not a hash that can be imported: argon2 (PHC), bcrypt, $md5ps$SALT$HASH, $md5sp$SALT$HASH, or the \
                   32 hex digits of an md5 without salt";
    match SaltedMd5::parse(text).ok_or(unknown)? {
        md5 if md5.salt.is_empty() => Err("the salt is empty, so this is the plain md5 of the password; give its 32 \
                                           hex digits alone, without $md5ps$ or $md5sp$"),
        md5 => Ok(Imported::Weak(md5.weak())),
    }
}

/// What a verifier that an earlier build imported is to be replaced by; `None` for all others, and for what is not
/// readable, which matches no password.
pub fn earlier(stored: &str) -> Option<Imported> {
    let text = stored.strip_prefix(RAW)?;
    match SaltedMd5::parse(text) {
        // Earlier builds took an empty salt: what they stored is `D`.
        Some(md5) if md5.salt.is_empty() => Some(Imported::Digest(PasswordDigest::from_bytes(md5.hash))),
        Some(md5) => Some(Imported::Weak(md5.weak())),
        None => import(text).ok(),
    }
}

fn import_argon2(text: &str) -> Result<Imported, &'static str> {
    let unreadable = "this argon2 hash cannot be read";
    let cost = super::phc_cost(text).ok_or(unreadable)?;
    if !cost.is_bearable() {
        return Err(COSTLY);
    }
    // argon2i and argon2d, and older versions, are cheaper to guess from at the same cost.
    if cost.is_strong() && text.starts_with("$argon2id$v=19$") {
        return Ok(Imported::Strong(format!("{PHC}{text}")));
    }
    let phc = PasswordHash::new(text).map_err(|_| unreadable)?;
    let output = phc.hash.as_ref().ok_or(unreadable)?;
    let (how, _) = text.rsplit_once('$').ok_or(unreadable)?;
    Ok(Imported::Weak(Weak::new(format!("{how}${}", output.len()), output.as_ref())))
}

fn import_bcrypt(text: &str) -> Result<Imported, &'static str> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| "this bcrypt hash cannot be read")?;
    if !matches!(&text[..4], "$2a$" | "$2b$" | "$2y$") {
        return Err("this bcrypt hash is of a kind that cannot be imported: $2a$, $2b$ and $2y$ can");
    }
    if parts.get_cost() > MOST_BCRYPT_COST {
        return Err(COSTLY);
    }
    let (how, output) = text.split_at(BCRYPT_HOW);
    Ok(Imported::Weak(Weak::new(how.to_owned(), output)))
}

/// The hash of `password` that was wrapped, computed `how` it says; `None` if that says nothing, asks for too much, or
/// does not take this password.
pub(super) fn compute(how: &str, password: &str, memory: &mut Memory) -> Option<Zeroizing<Vec<u8>>> {
    let output = if how.starts_with("$argon2") {
        let (phc, length) = argon2_how(how)?;
        let length = length.parse().ok().filter(|length| (4..=64).contains(length))?;
        let phc = PasswordHash::new(phc).ok()?;
        super::params_cost(&phc).filter(|cost| cost.is_bearable())?;
        super::phc_output(&phc, length, password.as_bytes(), memory)?
    } else if how.starts_with("$2") {
        bcrypt_output(how, password)?.into_bytes()
    } else {
        let (prefix, salt) = how.split_at_checked(7)?;
        let md5 = SaltedMd5::parts(prefix, salt, [0; 16])?;
        hex::encode16(&md5.digest(password)).to_vec()
    };
    Some(Zeroizing::new(output))
}

/// The cost of the argon2 hash that [`compute`] computes, if it is one.
pub(super) fn argon2_cost(how: &str) -> Option<Cost> {
    super::params_cost(&PasswordHash::new(argon2_how(how)?.0).ok()?)
}

/// A PHC string without a hash, and the hash's length.
fn argon2_how(how: &str) -> Option<(&str, &str)> {
    how.starts_with("$argon2").then(|| how.rsplit_once('$'))?
}

/// Whether `stored`, a hash other than argon2 as earlier builds stored it, is `password`'s.
pub(super) fn verify(stored: &str, password: &str) -> bool {
    let is = |actual: &[u8], expected: &[u8]| actual.ct_eq(expected).into();
    if stored.starts_with("$2") {
        let parts = stored.split_at_checked(BCRYPT_HOW);
        return parts.is_some_and(|(how, expected)| {
            bcrypt_output(how, password).is_some_and(|actual| is(actual.as_bytes(), expected.as_bytes()))
        });
    }
    SaltedMd5::parse(stored).is_some_and(|md5| is(&md5.digest(password), &md5.hash))
}

/// The last 31 characters of a bcrypt hash of which `how` is what comes before.
fn bcrypt_output(how: &str, password: &str) -> Option<String> {
    let parts: bcrypt::HashParts = format!("{how}{}", ".".repeat(31)).parse().ok()?;
    // bcrypt reads 72 bytes and stops at a NUL; a longer password would match its own beginning.
    let whole = !password.contains('\0') && password.len() <= 72;
    let cost = Some(parts.get_cost()).filter(|cost| whole && *cost <= MOST_BCRYPT_COST)?;
    let mut text = bcrypt::hash_with_salt(password, cost, parts.get_salt_raw()).ok()?.to_string();
    Some(text.split_off(BCRYPT_HOW))
}

/// `md5(password + salt)` or `md5(salt + password)`.
struct SaltedMd5 {
    salt_first: bool,
    salt: Vec<u8>,
    hash: [u8; 16],
}

impl SaltedMd5 {
    /// Reads `$md5ps$SALT$HASH` or `$md5sp$SALT$HASH`: hex, in either letter case.
    fn parse(text: &str) -> Option<Self> {
        let (prefix, rest) = text.split_at_checked(7)?;
        let (salt, hash) = rest.split_once('$')?;
        Self::parts(prefix, salt, hex::decode(hash)?)
    }

    fn parts(prefix: &str, salt: &str, hash: [u8; 16]) -> Option<Self> {
        let salt_first = match prefix {
            "$md5ps$" => false,
            "$md5sp$" => true,
            _ => return None,
        };
        let pairs = salt.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().and_then(hex::decode::<1>));
        let salt = pairs.map(|byte| byte.map(|[b]| b)).collect::<Option<Vec<u8>>>()?;
        (salt.len() <= LONGEST_SALT).then_some(Self { salt_first, salt, hash })
    }

    fn digest(&self, password: &str) -> [u8; 16] {
        let (first, second) =
            if self.salt_first { (&self.salt[..], password.as_bytes()) } else { (password.as_bytes(), &self.salt[..]) };
        Md5::new().chain_update(first).chain_update(second).finalize().into()
    }

    fn weak(&self) -> Weak {
        let kind = if self.salt_first { "md5sp" } else { "md5ps" };
        Weak::new(format!("${kind}${}", hex::encode(&self.salt)), hex::encode16(&self.hash))
    }
}
