//! The envelope: AES-256-CBC under `mefp_secret` with the app's secret as initialisation vector, in base64.
//!
//! CBC proves nothing about who wrote a message or whether it is whole. All that can be done here is to be no oracle:
//! whatever is wrong with an envelope, [`Envelope::open`] goes through all its steps and ends in the same error.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use cbc::{Decryptor, Encryptor};
use stele_core::usecase::add_app::SECRET_LENGTH;
use stele_dialect::{Fault, Fields, lenient_base64};
use stele_service::ConfigError;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _, ConstantTimeGreater as _};
use zeroize::Zeroizing;

use crate::secret::LENGTH;

/// AES's block, in bytes.
const BLOCK: usize = 16;

/// `mefp_secret` as a key. Never printed, wiped when dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; LENGTH]>);

impl Key {
    /// The key whose bytes are the text's.
    ///
    /// # Errors
    /// If it is not 32 bytes long.
    pub fn new(secret: &str) -> Result<Self, ConfigError> {
        let bytes = secret.as_bytes().try_into();
        bytes.map(|bytes| Self(Zeroizing::new(bytes))).map_err(|_| ConfigError::new("mefp_secret: must be 32 bytes"))
    }
}

/// What seals and opens the messages of one app.
pub struct Envelope {
    key: Key,
    iv: Zeroizing<[u8; SECRET_LENGTH]>,
}

impl Envelope {
    /// The envelope of the app with this secret.
    pub fn new(key: Key, iv: Zeroizing<[u8; SECRET_LENGTH]>) -> Self {
        Self { key, iv }
    }

    /// Encrypts `text`, padded as PKCS#7 has it, and writes it as base64.
    pub fn seal(&self, text: &[u8]) -> String {
        let pad = BLOCK - text.len() % BLOCK;
        let mut buffer = Vec::with_capacity(text.len() + pad);
        buffer.extend_from_slice(text);
        buffer.resize(text.len() + pad, u8::try_from(pad).unwrap_or_default());
        let whole = buffer.len();
        let encryptor = Encryptor::<Aes256>::new((&*self.key.0).into(), (&*self.iv).into());
        // `NoPadding` takes any number of whole blocks, which the line above has made.
        let sealed = encryptor.encrypt_padded::<NoPadding>(&mut buffer, whole).unwrap_or_default();
        STANDARD.encode(sealed)
    }

    /// Decrypts what an app sent and reads the JSON object in it.
    ///
    /// # Errors
    /// [`Fault::Unreadable`] whatever is wrong with base64, length, padding, UTF-8 or JSON; [`Fault::Doubled`] if it
    /// could be opened and has a field twice.
    pub fn open(&self, encrypt: &str) -> Result<Fields, Fault> {
        let (mut buffer, whole) = blocks(encrypt);
        let decryptor = Decryptor::<Aes256>::new((&*self.key.0).into(), (&*self.iv).into());
        let padded = decryptor.decrypt_padded::<NoPadding>(&mut buffer).unwrap_or_default();
        let text = unpadded(padded);
        // What is not UTF-8 or did not come whole is read all the same: it costs as much, and is then thrown away.
        let readable = whole && std::str::from_utf8(text).is_ok();
        let fields = Fields::from_json(String::from_utf8_lossy(text).as_bytes());
        if readable { fields } else { Err(Fault::Unreadable) }
    }
}

/// The cipher text in `encrypt`, and whether that is what it holds: if it is not base64 or not whole blocks, as many
/// blocks of something come instead, at least one.
fn blocks(encrypt: &str) -> (Zeroizing<Vec<u8>>, bool) {
    let fit = |bytes: &[u8]| !bytes.is_empty() && bytes.len().is_multiple_of(BLOCK);
    match lenient_base64::decode(encrypt, fit) {
        Some(bytes) => (bytes, true),
        None => (Zeroizing::new(vec![0; (encrypt.len() * 3 / 4 / BLOCK).max(1) * BLOCK]), false),
    }
}

/// What was padded with PKCS#7, or else with zeros or spaces, if at all. None of these can be told from a text that
/// ends so by itself, but no JSON object does.
fn unpadded(padded: &[u8]) -> &[u8] {
    let filler = padded.iter().rev().take_while(|&&byte| byte == 0 || byte == b' ').count();
    let pkcs7 = pkcs7_length(padded);
    let none = pkcs7.ct_eq(&0);
    let length = u64::conditional_select(&u64::from(pkcs7), &(filler as u64), none);
    let end = padded.len().saturating_sub(usize::try_from(length).unwrap_or_default());
    &padded[..end]
}

/// How long a valid PKCS#7 padding is; 0 if there is none. In constant time.
fn pkcs7_length(padded: &[u8]) -> u8 {
    let Some(&last) = padded.last() else { return 0 };
    let mut valid = last.ct_gt(&0) & !last.ct_gt(&16);
    for (back, byte) in (0_u8..16).zip(padded.iter().rev()) {
        let inside: Choice = last.ct_gt(&back);
        valid &= !inside | byte.ct_eq(&last);
    }
    u8::conditional_select(&0, &last, valid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same rule, written for reading.
    fn plainly(padded: &[u8]) -> &[u8] {
        let last = padded.last().map_or(0, |&last| usize::from(last));
        let tail = padded.len().saturating_sub(last);
        if (1..=BLOCK).contains(&last) && padded[tail..].iter().all(|&byte| usize::from(byte) == last) {
            return &padded[..tail];
        }
        let end = padded.iter().rposition(|&byte| byte != 0 && byte != b' ').map_or(0, |at| at + 1);
        &padded[..end]
    }

    #[test]
    fn each_length_of_padding_is_taken_off_and_no_other() {
        for pad in 0..=255_u8 {
            let padded = [vec![b'}'; 48 - usize::from(pad.min(48))], vec![pad; usize::from(pad.min(48))]].concat();
            assert_eq!(pkcs7_length(&padded), if pad <= 16 { pad } else { 0 }, "{pad}");
        }
        assert_eq!(pkcs7_length(b""), 0);
    }

    proptest! {
        #[test]
        fn padding_is_judged_as_the_rule_has_it(
            text in proptest::collection::vec(any::<u8>(), 0..40),
            tail in 0_u8..=33,
            times in 0_usize..40,
        ) {
            let mut padded = text;
            padded.resize(padded.len() + times, tail);
            padded.resize(padded.len().next_multiple_of(BLOCK), tail);
            prop_assert_eq!(unpadded(&padded), plainly(&padded));
        }
    }
}
