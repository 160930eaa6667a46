//! MeFP's envelope: `base64.b64encode(AES.new(mefp_secret, AES.MODE_CBC, app_secret).encrypt(text))`.

use aes::Aes256;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use cbc::{Decryptor, Encryptor};
use serde_json::{Map, Value};

/// With what a text is filled up to whole blocks of 16 bytes, which the document leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// RFC 5652, section 6.3: n bytes of value n.
    #[default]
    Pkcs7,
    /// NUL bytes, none if the text has whole blocks.
    Zeros,
    /// Spaces, none if the text has whole blocks.
    Spaces,
}

/// The keys of messages between MeFP and one app.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'a> {
    /// `mefp_secret`.
    pub(crate) key: &'a [u8; 32],
    /// `app_secret`.
    pub(crate) iv: &'a [u8; 16],
}

impl Keys<'_> {
    pub(crate) fn seal(self, text: &str, padding: Padding) -> String {
        let mut bytes = text.as_bytes().to_vec();
        let missing = 16 - bytes.len() % 16;
        let (count, filler) = match padding {
            Padding::Pkcs7 => (missing, u8::try_from(missing).unwrap()),
            Padding::Zeros => (missing % 16, 0),
            Padding::Spaces => (missing % 16, b' '),
        };
        bytes.resize(bytes.len() + count, filler);
        let length = bytes.len();
        let cryptor = Encryptor::<Aes256>::new(self.key.into(), self.iv.into());
        BASE64_STANDARD.encode(cryptor.encrypt_padded::<NoPadding>(&mut bytes, length).unwrap())
    }

    /// The object in an envelope, whatever its padding; `None` if there is none.
    pub(crate) fn open(self, envelope: &str) -> Option<Map<String, Value>> {
        let envelope: String = envelope.split_ascii_whitespace().collect();
        let mut bytes = BASE64_STANDARD.decode(envelope).ok()?;
        let cryptor = Decryptor::<Aes256>::new(self.key.into(), self.iv.into());
        let text = cryptor.decrypt_padded::<NoPadding>(&mut bytes).ok()?;
        serde_json::Deserializer::from_slice(text).into_iter().next()?.ok()
    }
}
