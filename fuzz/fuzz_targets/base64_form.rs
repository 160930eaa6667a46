//! The portal's base64 fields, also after form decoding, which reads `+` as a space.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use svc_portal::base64_text::decode;

fuzz_target!(|text: &str| {
    if let Some(decoded) = decode(text) {
        assert!(!decoded.is_empty());
        assert_eq!(decode(&STANDARD.encode(&decoded)).as_ref(), Some(&decoded));
        // The input, normalized, is the encoding of the decoded text.
        let normalized = text.replace(['\r', '\n', '\t'], "");
        let normalized = normalized.trim_start().replace([' ', '-'], "+").replace('_', "/");
        assert!(text.contains('%') || normalized.starts_with(&STANDARD_NO_PAD.encode(&decoded)));
    }
    if !text.is_empty() {
        // Every encoding of a text decodes to that text, also where a form has turned `+` into a space.
        let standard = STANDARD.encode(text);
        assert_eq!(decode(&standard).as_deref(), Some(text));
        assert_eq!(decode(&standard.replace('+', " ")).as_deref(), Some(text));
        assert_eq!(decode(&URL_SAFE_NO_PAD.encode(text)).as_deref(), Some(text));
        let lines: Vec<_> = standard.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
        assert_eq!(decode(&lines.join("\r\n")).as_deref(), Some(text));
        assert_eq!(decode(&format!("{standard}==")).as_deref(), Some(text));
        let percent_encoded = standard.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
        assert_eq!(decode(&percent_encoded).as_deref(), Some(text));
    }
});
