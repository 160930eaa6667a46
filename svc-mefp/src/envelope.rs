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
use stele_dialect::{FieldError, Fields, lenient_base64};
use stele_service::ConfigError;
use zeroize::Zeroizing;

use crate::padding::BLOCK_BYTES;
pub use crate::padding::Padding;
use crate::secret::MEFP_SECRET_LENGTH;

/// `mefp_secret` as a key. Never printed, wiped when dropped.
#[derive(Clone)]
pub struct EnvelopeKey(Zeroizing<[u8; MEFP_SECRET_LENGTH]>);

impl EnvelopeKey {
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
    key: EnvelopeKey,
    iv: Zeroizing<[u8; SECRET_LENGTH]>,
}

impl Envelope {
    /// The envelope of the app with this secret.
    pub fn new(key: EnvelopeKey, iv: Zeroizing<[u8; SECRET_LENGTH]>) -> Self {
        Self { key, iv }
    }

    /// Encrypts `text`, filled up as `padding` has it, and writes it as base64.
    pub fn seal(&self, text: &[u8], padding: Padding) -> String {
        let mut buffer = Zeroizing::new(Vec::with_capacity(text.len() + BLOCK_BYTES));
        buffer.extend_from_slice(text);
        padding.pad(&mut buffer);
        let whole = buffer.len();
        let encryptor = Encryptor::<Aes256>::new((&*self.key.0).into(), (&*self.iv).into());
        // `NoPadding` takes whole blocks, which `fill` has made.
        let sealed = encryptor.encrypt_padded::<NoPadding>(&mut buffer, whole).unwrap_or_default();
        STANDARD.encode(sealed)
    }

    /// Decrypts what an app sent: a JSON object, and at most 32 bytes of padding. The padding is judged even if no object was
    /// read, so that all failures cost the same. `None` if base64, length, object or padding is wrong, without saying which.
    pub fn open(&self, encrypt: &str) -> Option<OpenedEnvelope> {
        let (mut buffer, whole) = decode_blocks(encrypt);
        let decryptor = Decryptor::<Aes256>::new((&*self.key.0).into(), (&*self.iv).into());
        let plain = decryptor.decrypt_padded::<NoPadding>(&mut buffer).unwrap_or_default();
        let object = Fields::from_json_prefix(plain);
        // Without an object the last block is judged: it costs as much.
        let behind = object.as_ref().map_or(&plain[plain.len().saturating_sub(BLOCK_BYTES)..], |(_, behind)| behind);
        let padding = Padding::detect(behind);
        match (whole, object, padding) {
            (_, Some((Err(FieldError::MalformedBody), _)), _) => None,
            (true, Some((fields, _)), Some(padding)) => Some(OpenedEnvelope { fields, padding }),
            _ => None,
        }
    }
}

/// What was in an envelope.
#[derive(Debug)]
pub struct OpenedEnvelope {
    /// The fields, or [`FieldError::Duplicate`].
    pub fields: Result<Fields, FieldError>,
    /// How it was padded, and its answer is.
    pub padding: Padding,
}

/// The cipher text in `encrypt`, and whether that is what it holds: if it is not base64 or not whole blocks, as many
/// blocks of zeros come instead, at least one.
fn decode_blocks(encrypt: &str) -> (Zeroizing<Vec<u8>>, bool) {
    let fit = |bytes: &[u8]| !bytes.is_empty() && bytes.len().is_multiple_of(BLOCK_BYTES);
    match lenient_base64::decode(encrypt, fit) {
        Some(bytes) => (bytes, true),
        None => (Zeroizing::new(vec![0; (encrypt.len() * 3 / 4 / BLOCK_BYTES).max(1) * BLOCK_BYTES]), false),
    }
}
