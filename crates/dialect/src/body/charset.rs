//! From bytes to text: a byte order mark, else the declared charset, else UTF-8, else GB18030.

use std::borrow::Cow;
use std::string::FromUtf8Error;

use encoding_rs::{Encoding, GB18030, UTF_8, UTF_16BE, UTF_16LE};
use zeroize::{Zeroize as _, Zeroizing};

use DecodeError::{Field, Undecodable};

use super::{FieldError, FieldValue, Fields, header_parameter};

/// A body without its byte order mark, in UTF-8 if it was in UTF-16: from here on all that has a meaning is ASCII.
pub(super) struct BodyText<'a> {
    raw: &'a [u8],
    decoded: Option<Zeroizing<String>>,
    /// Its charset, if that is known.
    pub(super) charset: Option<&'static Encoding>,
}

impl<'a> BodyText<'a> {
    /// `kind` is the content type.
    ///
    /// # Errors
    /// [`Fault::Unreadable`] if it is UTF-16 with half characters.
    pub(super) fn new(body: &'a [u8], kind: &str) -> Result<Self, FieldError> {
        let (mut raw, mut charset) = match Encoding::for_bom(body) {
            Some((charset, length)) => (&body[length..], Some(charset)),
            None => (body, detect_utf16(body).or_else(|| declared_charset(kind.as_bytes()))),
        };
        while let Some(rest) = raw.strip_prefix("\u{feff}".as_bytes()) {
            raw = rest;
        }
        let mut decoded = None;
        if let Some(wide) = charset.filter(|charset| is_utf16(charset)) {
            decoded = Some(decode(raw, wide).ok_or(FieldError::MalformedBody)?);
            charset = Some(UTF_8);
        }
        Ok(Self { raw, decoded, charset })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.decoded.as_ref().map_or(self.raw, |text| text.as_bytes())
    }
}

fn is_utf16(charset: &'static Encoding) -> bool {
    charset == UTF_16LE || charset == UTF_16BE
}

/// UTF-16 by its NULs, as RFC 4627 (section 3) has it: a body begins with ASCII.
fn detect_utf16(body: &[u8]) -> Option<&'static Encoding> {
    match body {
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => Some(UTF_16BE),
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => Some(UTF_16LE),
        _ => None,
    }
}

/// The charset that a content type names. One in which ASCII is not ASCII is none: UTF-16 is known by its bytes.
pub(super) fn declared_charset(content_type: &[u8]) -> Option<&'static Encoding> {
    let label = header_parameter(content_type, "charset")?;
    Encoding::for_label(&label).filter(|charset| charset.is_ascii_compatible())
}

/// Reads a text in `charset`, or in the first that it can be in.
pub(super) fn decode_then<T>(
    bytes: &[u8],
    charset: Option<&'static Encoding>,
    read: impl FnOnce(&str) -> Result<T, FieldError>,
) -> Result<T, FieldError> {
    if charset.is_none_or(|charset| charset == UTF_8)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return read(text);
    }
    read(&decode(bytes, charset.unwrap_or(GB18030)).ok_or(FieldError::MalformedBody)?)
}

/// A field as it was sent. Its charset is its own, or that of the body.
#[derive(Clone)]
pub(super) struct RawField<'a> {
    pub(super) name: Cow<'a, [u8]>,
    pub(super) value: Cow<'a, [u8]>,
    pub(super) charset: Option<&'static Encoding>,
}

/// Reads fields whose charset is `charset`, or the first that all of them can be in.
pub(super) fn decode_fields<'a>(
    fields: &(impl Iterator<Item = RawField<'a>> + Clone),
    charset: Option<&'static Encoding>,
) -> Result<Fields, FieldError> {
    let read = |charset| {
        let mut read = Fields::default();
        for RawField { name, value, charset: own } in fields.clone() {
            let charset = own.unwrap_or(charset);
            let text = |bytes| decode_owned(bytes, charset).ok_or(Undecodable);
            read.insert(text(name)?, FieldValue::text(text(value)?)).map_err(Field)?;
        }
        Ok(read)
    };
    let first = read(charset.unwrap_or(UTF_8));
    let read = if charset.is_none() && matches!(first, Err(Undecodable)) { read(GB18030) } else { first };
    read.map_err(|error| match error {
        Undecodable => FieldError::MalformedBody,
        Field(fault) => fault,
    })
}

enum DecodeError {
    Undecodable,
    Field(FieldError),
}

/// A text that may be in any charset; `None` if it is in none that is known.
pub(super) fn decode_guessing(bytes: Vec<u8>) -> Option<String> {
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => decode_owned(error.into_bytes().into(), GB18030),
    }
}

/// What is not moved into the text is wiped: it may be a password.
fn decode_owned(bytes: Cow<'_, [u8]>, charset: &'static Encoding) -> Option<String> {
    if charset == UTF_8 {
        let undecodable = |error: FromUtf8Error| error.into_bytes().zeroize();
        return String::from_utf8(bytes.into_owned()).map_err(undecodable).ok();
    }
    let text = charset.decode_without_bom_handling_and_without_replacement(&bytes).map(Cow::into_owned);
    if let Cow::Owned(mut bytes) = bytes {
        bytes.zeroize();
    }
    text
}

/// `None` if a byte is none of `charset`.
pub(super) fn decode(bytes: &[u8], charset: &'static Encoding) -> Option<Zeroizing<String>> {
    let text = charset.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(Zeroizing::new(text.into_owned()))
}
