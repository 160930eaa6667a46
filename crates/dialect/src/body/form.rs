//! urlencoded bodies and queries.

use std::borrow::Cow;

use encoding_rs::Encoding;
use percent_encoding::percent_decode;

use super::charset::{Raw, decode_fields, guessed};
use super::{Fault, Fields, Value};

/// Reads `a=1&b=2`. The charset is that of the bytes behind the percent-encoding.
pub(super) fn read(text: &[u8], charset: Option<&'static Encoding>) -> Result<Fields, Fault> {
    let raw =
        |(name, value): (Vec<u8>, Vec<u8>)| Raw { name: Cow::Owned(name), value: Cow::Owned(value), charset: None };
    decode_fields(&pairs(text).map(raw), charset)
}

/// The fields of a query, whose charset nothing declares.
pub(super) fn query(text: &[u8]) -> impl Iterator<Item = (String, Value)> {
    let field = |(name, value)| Some((guessed(name)?, guessed(value).map_or(Value::Other, Value::text)));
    pairs(text).filter_map(field)
}

fn pairs(text: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + Clone {
    text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (component(&pair[..end]), component(pair.get(end + 1..).unwrap_or_default()))
    })
}

/// Decodes a name or a value. All at once: nothing that is moved while it grows leaves a part of a password behind.
pub(super) fn component(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    for (at, piece) in text.split(|byte| *byte == b'+').enumerate() {
        if at > 0 {
            decoded.push(b' ');
        }
        decoded.extend(percent_decode(piece));
    }
    decoded
}
