//! A JSON body: `Fields::from_json`, held against serde_json's own reading of an object.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stele_web::{Fault, Fields};

fuzz_target!(|data: &[u8]| {
    let ours = Fields::from_json(data);
    let theirs = serde_json::from_slice::<Value>(data).ok();
    match (&ours, theirs) {
        // What we take, any JSON reader takes, but for the byte order mark, which we forgive.
        (Ok(_), None) => assert!(data.starts_with("\u{feff}".as_bytes())),
        (Ok(fields), Some(theirs)) => {
            let object = theirs.as_object().expect("only an object has fields");
            assert!(fields.len() == object.len() || object.keys().any(|name| name.chars().count() > 64));
            for name in ["username", "password", "code"] {
                if let (Ok(Some(value)), Some(Value::String(text))) = (fields.optional(name), object.get(name)) {
                    assert_eq!(value, text);
                }
            }
        }
        (Err(Fault::Unreadable | Fault::Doubled(_) | Fault::Missing(_) | Fault::Invalid(_)), _) => {}
    }
});
