//! bcrypt, of the password or of another hash of it. Specs, each the first characters of a bcrypt string, up to its
//! salt:
//! - `$2b$COST$SALT` (also `2a`, `2y`): of the password
//! - `$wp$2y$COST$SALT`: WordPress from 6.8, of base64 of HMAC-SHA-384 of the password with the key `wp-sha384`
//! - `$bcrypt-sha256$2b$COST$SALT`: Django, of the hex digits of SHA-256 of the password
//!
//! The output is the last 31 characters of the bcrypt string.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha384};
use zeroize::Zeroizing;

use super::{ImportedHash, InvalidHash, WeakHash, wordpress};
use crate::hex;

/// The highest cost of an imported hash (base-2 logarithm of its rounds).
const MAX_COST: u32 = 14;
/// The number of characters of a bcrypt string before those of the hash.
const SETTING_LENGTH: usize = 29;
/// The longest input that bcrypt hashes as a whole, in bytes.
const MAX_INPUT_BYTES: usize = 72;

/// What is passed to bcrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BcryptInput {
    /// The password.
    Password,
    /// The hex digits of its SHA-256.
    Sha256,
    /// base64 of its HMAC-SHA-384, as WordPress computes it.
    WordPress,
}

impl BcryptInput {
    const ALL: [Self; 3] = [Self::WordPress, Self::Sha256, Self::Password];

    /// What a spec has before the bcrypt string.
    fn prefix(self) -> &'static str {
        match self {
            Self::Password => "",
            Self::Sha256 => "$bcrypt-sha256",
            Self::WordPress => "$wp",
        }
    }

    /// The bytes that are passed to bcrypt; `None` if the system accepts no such password.
    fn of_password(self, password: &str) -> Option<Zeroizing<Vec<u8>>> {
        Some(match self {
            Self::Password => Zeroizing::new(password.as_bytes().to_vec()),
            Self::Sha256 => Zeroizing::new(hex::encode(&Sha256::digest(password)).into_bytes()),
            Self::WordPress => {
                let mut mac = <Hmac<Sha384>>::new_from_slice(b"wp-sha384").ok()?;
                mac.update(&wordpress::form_input(password)?);
                Zeroizing::new(STANDARD.encode(mac.finalize().into_bytes()).into_bytes())
            }
        })
    }
}

/// Parses a bcrypt string.
pub(super) fn import(input: BcryptInput, text: &str) -> Result<ImportedHash, InvalidHash> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| InvalidHash::DamagedBcrypt)?;
    if !matches!(&text[..4], "$2a$" | "$2b$" | "$2y$") {
        return Err(InvalidHash::UnknownBcrypt);
    }
    if parts.get_cost() > MAX_COST {
        return Err(InvalidHash::TooCostly);
    }
    let (setting, output) = text.split_at(SETTING_LENGTH);
    Ok(ImportedHash::Weak(WeakHash::new(format!("{}{setting}", input.prefix()), output)))
}

/// A parsed spec.
pub(in crate::verifier) struct BcryptSpec {
    input: BcryptInput,
    setting: bcrypt::HashParts,
}

impl BcryptSpec {
    /// Whether `spec` is one of bcrypt, readable or not.
    pub(super) fn recognizes(spec: &str) -> bool {
        BcryptInput::ALL
            .iter()
            .any(|input| spec.strip_prefix(input.prefix()).is_some_and(|rest| rest.starts_with("$2")))
    }

    /// Parses a spec; `None` also if it is too costly.
    pub(super) fn parse(spec: &str) -> Option<Self> {
        let (input, setting) =
            BcryptInput::ALL.iter().find_map(|input| Some((*input, spec.strip_prefix(input.prefix())?)))?;
        let setting: bcrypt::HashParts = format!("{setting}{}", ".".repeat(31)).parse().ok()?;
        (setting.get_cost() <= MAX_COST).then_some(Self { input, setting })
    }

    pub(super) fn compute(&self, password: &str) -> Option<Zeroizing<Vec<u8>>> {
        let input = self.input.of_password(password)?;
        // bcrypt reads at most 72 bytes and stops at a NUL, so a longer password would match the hash of its prefix.
        if input.contains(&0) || input.len() > MAX_INPUT_BYTES {
            return None;
        }
        let hashed = bcrypt::hash_with_salt(&input[..], self.setting.get_cost(), self.setting.get_salt_raw()).ok()?;
        Some(Zeroizing::new(hashed.to_string().split_off(SETTING_LENGTH).into_bytes()))
    }
}
