//! `application/x-www-form-urlencoded` bodies and query strings.

use std::borrow::Cow;

use encoding_rs::Encoding;
use percent_encoding::percent_decode;

use super::charset::{RawField, decode_fields, decode_guessing};
use super::{FieldError, FieldValue, Fields};

/// Parses `a=1&b=2`. `charset` is the charset of the percent-decoded bytes.
pub(super) fn parse(text: &[u8], charset: Option<&'static Encoding>) -> Result<Fields, FieldError> {
    let to_raw_field = |(name, value): (Vec<u8>, Vec<u8>)| RawField {
        name: Cow::Owned(name),
        value: Cow::Owned(value),
        charset: None,
    };
    decode_fields(&split_pairs(text).map(to_raw_field), charset)
}

/// The fields of a query string, with the charset of each name and value guessed. A field with an undecodable name is
/// left out.
pub(super) fn parse_query(text: &[u8]) -> impl Iterator<Item = (String, FieldValue)> {
    let decode_pair = |(name, value)| {
        Some((decode_guessing(name)?, decode_guessing(value).map_or(FieldValue::Unsupported, FieldValue::text)))
    };
    split_pairs(text).filter_map(decode_pair)
}

fn split_pairs(text: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + Clone {
    text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (decode_component(&pair[..end]), decode_component(pair.get(end + 1..).unwrap_or_default()))
    })
}

/// Decodes a name or a value. The buffer is allocated at full size, since growing it would leave parts of a password in
/// freed memory.
pub(super) fn decode_component(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    for (index, piece) in text.split(|byte| *byte == b'+').enumerate() {
        if index > 0 {
            decoded.push(b' ');
        }
        decoded.extend(percent_decode(piece));
    }
    decoded
}
