//! The transport envelope: AES-256-CBC under `mefp_secret` with the app's secret as initialisation vector, in base64.
//!
//! CBC authenticates neither the sender nor the content of a message. To avoid a padding oracle,
//! [`EnvelopeCipher::decrypt`] performs all its steps for every invalid envelope and returns the same error.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use cbc::{Decryptor, Encryptor};
use stele_core::usecase::add_app::SECRET_LENGTH;
use stele_dialect::{FieldError, Fields, lenient_base64};
use stele_service::ConfigError;
use zeroize::Zeroizing;

use crate::padding::BLOCK_BYTES;
pub use crate::padding::Padding;
use crate::secret::MEFP_SECRET_LENGTH;

/// `mefp_secret` as an AES-256 key. Not printable, wiped when dropped.
#[derive(Clone)]
pub struct EnvelopeKey(Zeroizing<[u8; MEFP_SECRET_LENGTH]>);

impl EnvelopeKey {
    /// Uses the bytes of `secret` as the key.
    ///
    /// # Errors
    /// If `secret` is not 32 bytes long.
    pub fn new(secret: &str) -> Result<Self, ConfigError> {
        let bytes = secret.as_bytes().try_into();
        bytes
            .map(|bytes| Self(Zeroizing::new(bytes)))
            .map_err(|_| ConfigError::new("mefp_secret: must be 32 bytes long"))
    }
}

/// Encrypts and decrypts the messages of one app.
pub struct EnvelopeCipher {
    key: EnvelopeKey,
    iv: Zeroizing<[u8; SECRET_LENGTH]>,
}

impl EnvelopeCipher {
    /// `iv` is the secret of the app.
    pub fn new(key: EnvelopeKey, iv: Zeroizing<[u8; SECRET_LENGTH]>) -> Self {
        Self { key, iv }
    }

    /// Pads and encrypts `text`, and encodes the cipher text as base64.
    pub fn encrypt(&self, text: &[u8], padding: Padding) -> String {
        let mut buffer = Zeroizing::new(Vec::with_capacity(text.len() + BLOCK_BYTES));
        buffer.extend_from_slice(text);
        padding.pad(&mut buffer);
        let length = buffer.len();
        let encryptor = Encryptor::<Aes256>::new((&*self.key.0).into(), (&*self.iv).into());
        // `pad` has filled the last block.
        let encrypted = encryptor.encrypt_padded::<NoPadding>(&mut buffer, length).unwrap_or_default();
        STANDARD.encode(encrypted)
    }

    /// Decrypts a request: a JSON object with at most 32 bytes of padding, in base64. `None` if base64, length, object
    /// or padding is invalid, without saying which. The padding is checked even if there is no object, so that all of
    /// these cost the same.
    pub fn decrypt(&self, encoded: &str) -> Option<DecryptedEnvelope> {
        let cipher_text = decode_blocks(encoded);
        let is_decoded = matches!(cipher_text, CipherText::Decoded(_));
        let (CipherText::Decoded(mut buffer) | CipherText::Placeholder(mut buffer)) = cipher_text;
        let decryptor = Decryptor::<Aes256>::new((&*self.key.0).into(), (&*self.iv).into());
        let plaintext = decryptor.decrypt_padded::<NoPadding>(&mut buffer).unwrap_or_default();
        let object = Fields::from_json_prefix(plaintext);
        // Without an object, the last block is checked as padding, at the same cost.
        let tail = object.as_ref().map_or(&plaintext[plaintext.len().saturating_sub(BLOCK_BYTES)..], |(_, tail)| tail);
        let padding = Padding::detect(tail);
        match (is_decoded, object, padding) {
            (_, Some((Err(FieldError::MalformedRequest), _)), _) => None,
            (true, Some((fields, _)), Some(padding)) => Some(DecryptedEnvelope { fields, padding }),
            _ => None,
        }
    }
}

/// The content of an envelope.
#[derive(Debug)]
pub struct DecryptedEnvelope {
    /// The fields, or [`FieldError::Duplicate`] for a field with different values.
    pub fields: Result<Fields, FieldError>,
    /// The padding for the response, chosen by that of the request.
    pub padding: Padding,
}

/// Whole blocks to decrypt, at least one.
enum CipherText {
    /// The decoded cipher text.
    Decoded(Zeroizing<Vec<u8>>),
    /// Zeros of about the same length, in place of text that is not base64 or not whole blocks.
    Placeholder(Zeroizing<Vec<u8>>),
}

/// Decodes base64 to whole blocks, or returns a placeholder.
fn decode_blocks(encoded: &str) -> CipherText {
    let is_whole_blocks = |bytes: &[u8]| !bytes.is_empty() && bytes.len().is_multiple_of(BLOCK_BYTES);
    match lenient_base64::decode(encoded, is_whole_blocks) {
        Some(bytes) => CipherText::Decoded(bytes),
        None => {
            let blocks = (encoded.len() * 3 / 4 / BLOCK_BYTES).max(1);
            CipherText::Placeholder(Zeroizing::new(vec![0; blocks * BLOCK_BYTES]))
        }
    }
}
