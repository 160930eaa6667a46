//! PBKDF2 (RFC 8018): Django's `pbkdf2_sha256$…` and `pbkdf2_sha1$…`, and ASP.NET Identity's base64, versions 2 and 3.
//! Spec: `$pbkdf2-PRF$ITERATIONS$SALT$LENGTH`, with the salt in hex and the length of the output in bytes. The output is
//! the derived key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use super::{ImportedHash, InvalidHash, WeakHash};
use crate::hex;

/// The most iterations, of all blocks of the output together. Django 6.0 makes 1,200,000, ASP.NET Identity 100,000.
const MAX_ITERATIONS: u64 = 2_000_000;
/// The lengths of an output, in bytes. A shorter one could be matched by another password.
const OUTPUT_BYTES: std::ops::RangeInclusive<usize> = 16..=64;
/// The longest salt, in bytes.
const MAX_SALT_BYTES: usize = 256;
/// The shortest salt of ASP.NET Identity, in bytes.
const MIN_IDENTITY_SALT_BYTES: usize = 16;

/// The hash function of the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prf {
    Sha1,
    Sha256,
    Sha512,
}

impl Prf {
    const ALL: [(&'static str, Self); 3] = [("sha1", Self::Sha1), ("sha256", Self::Sha256), ("sha512", Self::Sha512)];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, prf)| *prf == self).map_or("", |(name, _)| name)
    }

    fn output_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// A parsed spec.
pub(in crate::verifier) struct Pbkdf2Spec {
    prf: Prf,
    iterations: u32,
    salt: Vec<u8>,
    length: usize,
}

/// Whether `spec` is one of PBKDF2, readable or not.
pub(super) fn recognizes(spec: &str) -> bool {
    spec.starts_with("$pbkdf2-")
}

/// Parses what Django has after the name of the algorithm: `ITERATIONS$SALT$HASH`, with the hash in base64.
pub(super) fn import_django(prf: Prf, text: &str) -> Result<ImportedHash, InvalidHash> {
    let parse = || {
        let (iterations, rest) = text.split_once('$')?;
        let (salt, hash) = rest.split_once('$')?;
        // Digits that are more than 32 bits are a number that is too high.
        let is_number = !iterations.is_empty() && iterations.bytes().all(|b| b.is_ascii_digit());
        let iterations = is_number.then(|| iterations.parse().unwrap_or(u32::MAX))?;
        let hash = Zeroizing::new(STANDARD.decode(hash).ok()?);
        (hash.len() == prf.output_bytes()).then(|| (iterations, salt.as_bytes().to_vec(), hash))
    };
    let (iterations, salt, hash) = parse().ok_or(InvalidHash::DamagedPbkdf2)?;
    Pbkdf2Spec { prf, iterations, salt, length: hash.len() }.import(&hash)
}

/// Whether `text` has the form of ASP.NET Identity: base64 of a version byte, then what belongs to that version.
pub(super) fn is_identity(text: &str) -> bool {
    // Version 3 starts with 1 and the number of the hash function, 0 to 2, in four bytes; version 2 with 0, and has 49
    // bytes.
    text.starts_with("AQAAAA") || (text.starts_with('A') && text.len() == 68 && decoded_identity(text).is_some())
}

fn decoded_identity(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    matches!((bytes.first(), bytes.len()), (Some(0), 49) | (Some(1), 13..)).then_some(bytes)
}

/// Parses a hash of ASP.NET Identity. Version 2: 0, salt of 16 bytes, key of 32. Version 3: 1, hash function,
/// iterations and length of the salt in four bytes each, most significant first, salt, key.
pub(super) fn import_identity(text: &str) -> Result<ImportedHash, InvalidHash> {
    let damaged = InvalidHash::DamagedPbkdf2;
    let bytes = decoded_identity(text).ok_or(damaged)?;
    let (prf, iterations, salt, key) = if bytes[0] == 0 {
        (Prf::Sha1, 1_000, &bytes[1..17], &bytes[17..])
    } else {
        let number = |at: usize| bytes[at..at + 4].iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let prf = [Prf::Sha1, Prf::Sha256, Prf::Sha512].get(number(1) as usize).copied().ok_or(damaged)?;
        let salt_and_key = bytes[13..].split_at_checked(number(9) as usize);
        let (salt, key) = salt_and_key.filter(|(salt, _)| salt.len() >= MIN_IDENTITY_SALT_BYTES).ok_or(damaged)?;
        (prf, number(5), salt, key)
    };
    Pbkdf2Spec { prf, iterations, salt: salt.to_vec(), length: key.len() }.import(key)
}

impl Pbkdf2Spec {
    fn import(self, key: &[u8]) -> Result<ImportedHash, InvalidHash> {
        self.check()?;
        let Self { prf, iterations, salt, length } = self;
        let spec = format!("$pbkdf2-{}${iterations}${}${length}", prf.name(), hex::encode(&salt));
        Ok(ImportedHash::Weak(WeakHash::new(spec, key)))
    }

    /// Parses a spec; `None` also if it is too costly.
    pub(super) fn parse(spec: &str) -> Option<Self> {
        let mut parts = spec.strip_prefix("$pbkdf2-")?.split('$');
        let prf = parts.next()?;
        let (_, prf) = *Prf::ALL.iter().find(|(name, _)| *name == prf)?;
        let iterations = parts.next()?.parse().ok()?;
        let salt = hex::decode_bytes(parts.next()?)?;
        let spec = Self { prf, iterations, salt, length: parts.next()?.parse().ok()? };
        (parts.next().is_none() && spec.check().is_ok()).then_some(spec)
    }

    fn check(&self) -> Result<(), InvalidHash> {
        let is_readable =
            self.iterations > 0 && OUTPUT_BYTES.contains(&self.length) && self.salt.len() <= MAX_SALT_BYTES;
        if !is_readable {
            return Err(InvalidHash::DamagedPbkdf2);
        }
        let blocks = self.length.div_ceil(self.prf.output_bytes()) as u64;
        if u64::from(self.iterations) * blocks > MAX_ITERATIONS { Err(InvalidHash::TooCostly) } else { Ok(()) }
    }

    pub(super) fn compute(&self, password: &str) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(vec![0; self.length]);
        let (password, salt, iterations) = (password.as_bytes(), &self.salt, self.iterations);
        match self.prf {
            Prf::Sha1 => pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut key),
            Prf::Sha256 => pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut key),
            Prf::Sha512 => pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut key),
        }
        key
    }
}
