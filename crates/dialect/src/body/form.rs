//! urlencoded bodies and queries.

use std::borrow::Cow;

use encoding_rs::Encoding;
use percent_encoding::percent_decode;

use super::charset::{RawField, decode_fields, decode_guessing};
use super::{FieldError, FieldValue, Fields};

/// Reads `a=1&b=2`. The charset is that of the bytes behind the percent-encoding.
pub(super) fn parse(text: &[u8], charset: Option<&'static Encoding>) -> Result<Fields, FieldError> {
    let raw = |(name, value): (Vec<u8>, Vec<u8>)| RawField {
        name: Cow::Owned(name),
        value: Cow::Owned(value),
        charset: None,
    };
    decode_fields(&split_pairs(text).map(raw), charset)
}

/// The fields of a query, whose charset nothing declares.
pub(super) fn parse_query(text: &[u8]) -> impl Iterator<Item = (String, FieldValue)> {
    let field = |(name, value)| {
        Some((decode_guessing(name)?, decode_guessing(value).map_or(FieldValue::Unsupported, FieldValue::text)))
    };
    split_pairs(text).filter_map(field)
}

fn split_pairs(text: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + Clone {
    text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (decode_component(&pair[..end]), decode_component(pair.get(end + 1..).unwrap_or_default()))
    })
}

/// Decodes a name or a value. All at once: nothing that is moved while it grows leaves a part of a password behind.
pub(super) fn decode_component(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    for (at, piece) in text.split(|byte| *byte == b'+').enumerate() {
        if at > 0 {
            decoded.push(b' ');
        }
        decoded.extend(percent_decode(piece));
    }
    decoded
}
