//! phpass's portable hashes: many rounds of md5. Spec: the first 12 characters, `$P$` or `$H$`, the base-2 logarithm of
//! the rounds as one character, and the salt. The output is the other 22 characters.
//!
//! `$P$` is WordPress's, which changes the password before it hashes it ([`wordpress`]). `$H$` is phpBB's, with the same
//! algorithm over the password itself.

use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use super::{ImportedHash, InvalidHash, WeakHash, wordpress};

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The base-2 logarithms of the rounds that phpass makes, and the highest that is verified. WordPress has 13, phpBB 11.
const ROUNDS_LOG2: std::ops::RangeInclusive<usize> = 7..=30;
const MAX_ROUNDS_LOG2: usize = 17;
const SETTING_LENGTH: usize = 12;
/// The longest password that phpass verifies, in bytes.
const MAX_PASSWORD_BYTES: usize = 4_096;

/// A parsed spec.
pub(in crate::verifier) struct PhpassSpec<'a> {
    is_wordpress: bool,
    rounds: u32,
    salt: &'a [u8],
}

pub(super) fn import(text: &str) -> Result<ImportedHash, InvalidHash> {
    let (setting, output) = text.split_at_checked(SETTING_LENGTH).ok_or(InvalidHash::DamagedPhpass)?;
    let is_of_alphabet = |text: &str| text.bytes().all(|byte| ALPHABET.contains(&byte));
    if output.len() != 22 || !is_of_alphabet(output) || !is_of_alphabet(&setting[3..]) {
        return Err(InvalidHash::DamagedPhpass);
    }
    PhpassSpec::parse_setting(setting)?;
    Ok(ImportedHash::Weak(WeakHash::new(setting.to_owned(), output)))
}

impl<'a> PhpassSpec<'a> {
    /// Parses a spec; `None` also if it is too costly.
    pub(super) fn parse(spec: &'a str) -> Option<Self> {
        Self::parse_setting(spec).ok()
    }

    fn parse_setting(setting: &'a str) -> Result<Self, InvalidHash> {
        let (ident, &[log2, ref salt @ ..]) =
            setting.as_bytes().split_at_checked(3).ok_or(InvalidHash::DamagedPhpass)?
        else {
            return Err(InvalidHash::DamagedPhpass);
        };
        let log2 = ALPHABET.iter().position(|byte| *byte == log2).filter(|log2| ROUNDS_LOG2.contains(log2));
        match log2 {
            Some(log2) if salt.len() == 8 && log2 <= MAX_ROUNDS_LOG2 => {
                Ok(Self { is_wordpress: ident == b"$P$", rounds: 1 << log2, salt })
            }
            Some(_) if salt.len() == 8 => Err(InvalidHash::TooCostly),
            _ => Err(InvalidHash::DamagedPhpass),
        }
    }

    pub(super) fn compute(&self, password: &str) -> Option<Zeroizing<Vec<u8>>> {
        let password = match self.is_wordpress {
            true => wordpress::form_input(password)?,
            false => Zeroizing::new(password.as_bytes().to_vec()),
        };
        if password.len() > MAX_PASSWORD_BYTES {
            return None;
        }
        let md5 =
            |first: &[u8]| -> [u8; 16] { Md5::new().chain_update(first).chain_update(&password).finalize().into() };
        let hash = (0..self.rounds).fold(md5(self.salt), |hash, _| md5(&hash));
        Some(Zeroizing::new(encode(&hash)))
    }
}

/// base64 with phpass's alphabet and the low bits first.
fn encode(hash: &[u8; 16]) -> Vec<u8> {
    let groups = hash.chunks(3).flat_map(|group| {
        let bits = group.iter().rev().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        (0..=group.len()).map(move |n| ALPHABET[bits >> (6 * n) & 63])
    });
    groups.collect()
}
