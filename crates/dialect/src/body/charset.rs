//! Charset detection: a byte order mark, else the declared charset, else UTF-8, else GB18030.

use std::borrow::Cow;
use std::string::FromUtf8Error;

use encoding_rs::{Encoding, GB18030, UTF_8, UTF_16BE, UTF_16LE};
use zeroize::{Zeroize as _, Zeroizing};

use DecodeError::{Field, Undecodable};

use super::{FieldError, FieldValue, Fields, header_parameter};

/// A body without byte order mark, with UTF-16 converted to UTF-8, so that all delimiters are ASCII bytes.
pub(super) struct BodyText<'a> {
    /// The bytes as received, without byte order mark.
    raw: &'a [u8],
    /// The text of a UTF-16 body.
    decoded: Option<Zeroizing<String>>,
    /// The charset of [`BodyText::bytes`], if declared or detected.
    pub(super) charset: Option<&'static Encoding>,
}

impl<'a> BodyText<'a> {
    /// Strips byte order marks and detects the charset.
    ///
    /// # Errors
    /// [`FieldError::MalformedRequest`] for invalid UTF-16.
    pub(super) fn new(body: &'a [u8], content_type: &str) -> Result<Self, FieldError> {
        let (mut raw, mut charset) = match Encoding::for_bom(body) {
            Some((charset, length)) => (&body[length..], Some(charset)),
            None => (body, detect_utf16(body).or_else(|| declared_charset(content_type.as_bytes()))),
        };
        while let Some(after_mark) = raw.strip_prefix("\u{feff}".as_bytes()) {
            raw = after_mark;
        }
        let mut decoded = None;
        if let Some(utf16) = charset.filter(|charset| is_utf16(charset)) {
            decoded = Some(decode(raw, utf16).ok_or(FieldError::MalformedRequest)?);
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

/// Detects UTF-16 by the NULs of its ASCII characters (RFC 4627 §3): every valid body begins with two of these.
fn detect_utf16(body: &[u8]) -> Option<&'static Encoding> {
    match body {
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => Some(UTF_16BE),
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => Some(UTF_16LE),
        _ => None,
    }
}

/// The charset of a content type, if it is a superset of ASCII. UTF-16 is detected from the bytes instead.
pub(super) fn declared_charset(content_type: &[u8]) -> Option<&'static Encoding> {
    let label = header_parameter(content_type, "charset")?;
    Encoding::for_label(&label).filter(|charset| charset.is_ascii_compatible())
}

/// Decodes `bytes` from `charset`, or without one from the first of UTF-8 and GB18030 in which they are valid, and
/// calls `read` with the text.
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
    read(&decode(bytes, charset.unwrap_or(GB18030)).ok_or(FieldError::MalformedRequest)?)
}

/// An undecoded field. If it declares no charset, that of the body applies.
#[derive(Clone)]
pub(super) struct RawField<'a> {
    pub(super) name: Cow<'a, [u8]>,
    pub(super) value: Cow<'a, [u8]>,
    pub(super) charset: Option<&'static Encoding>,
}

/// Decodes fields from `charset`, or from the first of UTF-8 and GB18030 in which all of them are valid.
pub(super) fn decode_fields<'a>(
    fields: &(impl Iterator<Item = RawField<'a>> + Clone),
    charset: Option<&'static Encoding>,
) -> Result<Fields, FieldError> {
    let decode_all = |charset| {
        let mut decoded = Fields::default();
        for RawField { name, value, charset: part_charset } in fields.clone() {
            let charset = part_charset.unwrap_or(charset);
            let decode_text = |bytes| decode_owned(bytes, charset).ok_or(Undecodable);
            decoded.insert(decode_text(name)?, FieldValue::text(decode_text(value)?)).map_err(Field)?;
        }
        Ok(decoded)
    };
    let first = decode_all(charset.unwrap_or(UTF_8));
    let decoded = if charset.is_none() && matches!(first, Err(Undecodable)) { decode_all(GB18030) } else { first };
    decoded.map_err(|error| match error {
        Undecodable => FieldError::MalformedRequest,
        Field(error) => error,
    })
}

enum DecodeError {
    Undecodable,
    Field(FieldError),
}

/// Decodes text of unknown charset as UTF-8, else as GB18030; `None` if it is neither.
pub(super) fn decode_guessing(bytes: Vec<u8>) -> Option<String> {
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => decode_owned(error.into_bytes().into(), GB18030),
    }
}

/// Decodes a field; `None` if the bytes are invalid in `charset`. Bytes that are not moved into the text are wiped,
/// since they may be a password.
fn decode_owned(bytes: Cow<'_, [u8]>, charset: &'static Encoding) -> Option<String> {
    if charset == UTF_8 {
        let wipe = |error: FromUtf8Error| error.into_bytes().zeroize();
        return String::from_utf8(bytes.into_owned()).map_err(wipe).ok();
    }
    let text = charset.decode_without_bom_handling_and_without_replacement(&bytes).map(Cow::into_owned);
    if let Cow::Owned(mut bytes) = bytes {
        bytes.zeroize();
    }
    text
}

/// Decodes strictly: `None` if the bytes are invalid in `charset`.
pub(super) fn decode(bytes: &[u8], charset: &'static Encoding) -> Option<Zeroizing<String>> {
    let text = charset.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(Zeroizing::new(text.into_owned()))
}
