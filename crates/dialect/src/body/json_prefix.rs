//! A JSON object followed by other bytes: the plaintext of an envelope with its block padding.

use super::json::ObjectFields;
use super::{FieldError, Fields};

impl Fields {
    /// Parses the strict JSON object at the start of `bytes`, after an optional byte order mark. Returns the fields,
    /// and the bytes after the object. `None` if `bytes` do not begin with an object.
    ///
    /// # Errors
    /// [`FieldError::Duplicate`] with the field's name, or [`FieldError::MalformedRequest`] beyond 64 fields.
    pub fn from_json_prefix(bytes: &[u8]) -> Option<(Result<Self, FieldError>, &[u8])> {
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        let mut objects = serde_json::Deserializer::from_slice(bytes).into_iter::<ObjectFields>();
        let ObjectFields(fields) = objects.next()?.ok()?;
        Some((fields, bytes.get(objects.byte_offset()..)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_json_prefix_ends_at_its_closing_brace() {
        for trailing in ["", " ", "}", "{}", "x", "\u{0}\u{0}", "\n\u{5}\u{5}"] {
            for before in ["", " \r\n", "\u{feff}"] {
                let text = format!(r#"{before}{{"a":"}}","b":{{"c":1}}}}{trailing}"#);
                let (fields, tail) = Fields::from_json_prefix(text.as_bytes()).unwrap();
                assert_eq!((fields.unwrap().required("a"), tail), (Ok("}"), trailing.as_bytes()), "{text:?}");
            }
        }
        assert!(matches!(Fields::from_json_prefix(br#"{"a":1,"a":2}x"#), Some((Err(FieldError::Duplicate(_)), b"x"))));
        for no_object in ["", "x", "[]", "1", "null", "{", "{\"a\":1", "{'a':1}", "\u{0}{}", "\u{feff}\u{feff}{}"] {
            assert!(Fields::from_json_prefix(no_object.as_bytes()).is_none(), "{no_object:?}");
        }
        assert!(Fields::from_json_prefix(b"{\"a\":\"\xff\"}").is_none());
        // The trailing bytes need not be UTF-8.
        assert!(matches!(Fields::from_json_prefix(b"{}\xff"), Some((Ok(_), b"\xff"))));
    }

    proptest! {
        #[test]
        fn trailing_bytes_do_not_change_the_parsed_object(name in "\\PC{0,9}", value in "\\PC{0,20}", trailing: Vec<u8>) {
            let text = serde_json::json!({ name: value }).to_string();
            let alone = Fields::from_json(text.as_bytes()).unwrap();
            let bytes = [text.as_bytes(), &trailing].concat();
            let (fields, tail) = Fields::from_json_prefix(&bytes).unwrap();
            prop_assert_eq!(fields.unwrap().text_fields().collect::<Vec<_>>(), alone.text_fields().collect::<Vec<_>>());
            prop_assert_eq!(tail, trailing.as_slice());
        }
    }
}
