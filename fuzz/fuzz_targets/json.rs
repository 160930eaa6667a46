//! A JSON body: compares `Fields::from_json` with serde_json.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stele_dialect::{FieldError, Fields};

/// The limit of fields in a body.
const MAX_FIELDS: usize = 64;

fuzz_target!(|data: &[u8]| {
    let theirs = serde_json::from_slice::<Value>(data).ok();
    match (Fields::from_json(data), theirs) {
        // serde_json accepts what we accept, with two exceptions: a byte order mark; and in nested lists and objects,
        // which no dialect has, numbers that are too large and lone surrogates.
        (Ok(_), None) => {
            let has_nested_value = data.iter().filter(|&&byte| matches!(byte, b'[' | b'{')).count() > 1;
            assert!(has_nested_value || data.starts_with("\u{feff}".as_bytes()));
        }
        (Ok(fields), Some(theirs)) => {
            let object = theirs.as_object().expect("only an object has fields");
            assert_eq!(fields.len(), object.len());
            for (name, value) in fields.text_fields() {
                match &object[&name] {
                    Value::String(text) => assert_eq!(value, *text),
                    Value::Number(number) => {
                        let text = value.as_str().expect("a text field");
                        let ours: f64 = text.parse().expect("a number");
                        assert_eq!(Some(ours), number.as_f64());
                        // Only integers, and doubles with a whole value below 2^53, are written as integers.
                        let is_whole = !number.is_f64() || ours.fract() == 0.0 && ours.abs() < 9_007_199_254_740_992.0;
                        assert_eq!(is_whole, !text.contains(['e', '.']));
                    }
                    other => panic!("{name} is read as text, but is {other}"),
                }
            }
        }
        (Err(FieldError::Duplicate(name)), Some(theirs)) => {
            let object = theirs.as_object().expect("only an object has fields");
            assert!(object.keys().any(|key| key.starts_with(&name)));
        }
        // We accept every JSON object, unless it has too many fields.
        (Err(FieldError::MalformedRequest), Some(theirs)) => {
            assert!(theirs.as_object().is_none_or(|object| object.len() > MAX_FIELDS))
        }
        (Err(_), None) => {}
        (Err(error), Some(_)) => panic!("{error}, before a field was read"),
    }
});
