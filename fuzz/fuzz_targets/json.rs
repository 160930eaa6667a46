//! A JSON body: `Fields::from_json`, held against serde_json's own reading of an object.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stele_dialect::{FieldError, Fields};

/// The most fields that are taken.
const MAX_FIELDS: usize = 64;

fuzz_target!(|data: &[u8]| {
    let theirs = serde_json::from_slice::<Value>(data).ok();
    match (Fields::from_json(data), theirs) {
        // What we take, any JSON reader takes, but for the byte order mark, which we forgive; and that in lists and
        // objects inside, which no dialect knows, numbers may be too large and characters halves.
        (Ok(_), None) => {
            let nested = data.iter().filter(|&&byte| matches!(byte, b'[' | b'{')).count() > 1;
            assert!(nested || data.starts_with("\u{feff}".as_bytes()));
        }
        (Ok(fields), Some(theirs)) => {
            let object = theirs.as_object().expect("only an object has fields");
            assert_eq!(fields.len(), object.len());
            for (name, value) in fields.text_fields() {
                match &object[&name] {
                    Value::String(text) => assert_eq!(value, *text),
                    Value::Number(number) => {
                        let text = value.as_str().expect("a text");
                        let ours: f64 = text.parse().expect("a number");
                        assert_eq!(Some(ours), number.as_f64());
                        // What is no whole number must not look like one; what went through a double is one.
                        let is_whole = !number.is_f64() || ours.fract() == 0.0 && ours.abs() < 9_007_199_254_740_992.0;
                        assert_eq!(is_whole, !text.contains(['e', '.']));
                    }
                    other => panic!("{name} is taken for a text, and is {other}"),
                }
            }
        }
        (Err(FieldError::Duplicate(name)), Some(theirs)) => {
            let object = theirs.as_object().expect("only an object has fields");
            assert!(object.keys().any(|known| known.starts_with(&name)));
        }
        // What any reader takes for an object we do, too, unless it is too wide.
        (Err(FieldError::MalformedBody), Some(theirs)) => {
            assert!(theirs.as_object().is_none_or(|all| all.len() > MAX_FIELDS))
        }
        (Err(_), None) => {}
        (Err(fault), Some(_)) => panic!("{fault}, before anybody has asked for a field"),
    }
});
