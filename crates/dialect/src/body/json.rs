//! JSON bodies: parsed strictly by serde_json and, if that fails, as JSON5.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::{FieldError, FieldValue, Fields};

/// The most opening brackets in a JSON5 body. Documented bodies have one; the limit bounds the parser's recursion.
const MAX_BRACKETS: usize = 32;
/// 2^53: integers below it are exact in a double.
const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

impl Fields {
    /// Parses strict JSON; the body must be an object.
    ///
    /// # Errors
    /// [`FieldError::MalformedRequest`], or [`FieldError::Duplicate`] with the field's name.
    pub fn from_json(body: &[u8]) -> Result<Self, FieldError> {
        let text = std::str::from_utf8(body).map_err(|_| FieldError::MalformedRequest)?;
        parse_strict(text.trim_start_matches('\u{feff}')).unwrap_or(Err(FieldError::MalformedRequest))
    }
}

/// Parses an object leniently. A trailing `=` is dropped, since a form may send the object as a name without value.
pub(super) fn parse(text: &str) -> Result<Fields, FieldError> {
    let text = text.trim();
    let text = text.strip_suffix('=').filter(|object| object.ends_with('}')).unwrap_or(text);
    parse_strict(text).or_else(|| parse_json5(text)).unwrap_or(Err(FieldError::MalformedRequest))
}

/// `None` if `text` is not strict JSON.
fn parse_strict(text: &str) -> Option<Result<Fields, FieldError>> {
    serde_json::from_str(text).ok().map(|ObjectFields(fields)| fields)
}

/// `None` if `text` is not JSON5; raw line breaks in strings are accepted.
fn parse_json5(text: &str) -> Option<Result<Fields, FieldError>> {
    if text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count() > MAX_BRACKETS {
        return None;
    }
    let object = json5::from_str(text).or_else(|_| json5::from_str(&escape_line_breaks(text)));
    object.ok().map(|ObjectFields(fields)| fields)
}

/// Escapes raw line breaks in strings, which JSON5 rejects. Hand-built JSON has them from Android's `Base64.DEFAULT`.
fn escape_line_breaks(text: &str) -> Zeroizing<String> {
    let breaks = text.bytes().filter(|byte| matches!(byte, b'\r' | b'\n')).count();
    let mut escaped = Zeroizing::new(String::with_capacity(text.len() + breaks));
    let mut quote = None;
    let mut is_escaped = false;
    for character in text.chars() {
        match (quote, character) {
            (Some(_), '\r') if !is_escaped => escaped.push_str("\\r"),
            (Some(_), '\n') if !is_escaped => escaped.push_str("\\n"),
            _ => escaped.push(character),
        }
        match (quote, character) {
            _ if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    escaped
}

/// The members of an object. They are read one by one, since `serde_json`'s map would silently keep the last of two
/// duplicates.
pub(super) struct ObjectFields(pub(super) Result<Fields, FieldError>);

impl<'de> serde::Deserialize<'de> for ObjectFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor).map(Self)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Result<Fields, FieldError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<String>()? {
            if let Err(error) = fields.insert(name, map.next_value::<FieldValue>()?) {
                // The remaining members must still be well-formed.
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Err(error));
            }
        }
        Ok(Ok(fields))
    }
}

impl<'de> serde::Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = FieldValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<FieldValue, E> {
        Ok(FieldValue::text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<FieldValue, E> {
        Ok(FieldValue::text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<FieldValue, E> {
        Ok(FieldValue::text(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<FieldValue, E> {
        Ok(FieldValue::text(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<FieldValue, E> {
        // An integer that passed through a double (Gson, Lua, Unity). Other numbers are written in scientific notation,
        // so that `1e20` is not taken for digits.
        let is_whole = number.fract() == 0.0 && number.abs() < MAX_EXACT_INTEGER;
        Ok(match is_whole {
            true => FieldValue::WholeDouble(Zeroizing::new(format!("{:.0}", number + 0.0))),
            false => FieldValue::text(format!("{number:e}")),
        })
    }

    fn visit_bool<E>(self, _: bool) -> Result<FieldValue, E> {
        Ok(FieldValue::Unsupported)
    }

    fn visit_unit<E>(self) -> Result<FieldValue, E> {
        Ok(FieldValue::Null)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<FieldValue, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(FieldValue::Unsupported)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldValue, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(FieldValue::Unsupported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_are_escaped_in_strings_only() {
        let sent = "{\n\"a\":\"x\r\ny\\\"\n\",\r\n'b':'\"\n'\n}";
        let escaped = "{\n\"a\":\"x\\r\\ny\\\"\\n\",\r\n'b':'\"\\n'\n}";
        assert_eq!(*escape_line_breaks(sent), escaped);
        // In JSON5 a backslash before a line break continues the line.
        assert_eq!(*escape_line_breaks("\"a\\\nb\""), "\"a\\\nb\"");
    }
}
