//! ASP.NET Core Identity's `PasswordHasher`, version 3: one byte 1; pseudo-random function, rounds and length of the
//! salt as big-endian 32-bit numbers; salt; key.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use uuid::Uuid;

const VERSION: u8 = 1;
/// `KeyDerivationPrf.HMACSHA256`.
const HMAC_SHA256: u32 = 1;
const ROUNDS: u32 = 10_000;
const SALT_BYTES: u32 = 16;
const KEY_BYTES: usize = 32;

pub(super) fn hash(password: &str) -> String {
    let salt = Uuid::new_v4().into_bytes();
    let mut key = [0; KEY_BYTES];
    let rounds = NonZeroU32::new(ROUNDS).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut key);
    let mut bytes = vec![VERSION];
    for number in [HMAC_SHA256, ROUNDS, SALT_BYTES] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(salt);
    bytes.extend(key);
    BASE64_STANDARD.encode(bytes)
}

/// Whether `stored` is a hash of `password`; false if it is not of version 3 with HMAC-SHA-256.
pub(super) fn verify(stored: &str, password: &str) -> bool {
    is_hash_of(stored, password).unwrap_or(false)
}

fn is_hash_of(stored: &str, password: &str) -> Option<bool> {
    let bytes = BASE64_STANDARD.decode(stored).ok()?;
    let (&version, rest) = bytes.split_first()?;
    let (function, rest) = split_number(rest)?;
    let (rounds, rest) = split_number(rest)?;
    let (salt_length, rest) = split_number(rest)?;
    let (salt, key) = rest.split_at_checked(salt_length.try_into().ok()?)?;
    if version != VERSION || function != HMAC_SHA256 {
        return None;
    }
    let verified = pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, NonZeroU32::new(rounds)?, salt, password.as_bytes(), key);
    Some(verified.is_ok())
}

fn split_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}
