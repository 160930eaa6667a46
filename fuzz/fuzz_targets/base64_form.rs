//! The portal's base64 values, as forms mangle them.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use svc_portal::base64_text::decode;

fuzz_target!(|text: &str| {
    if let Some(decoded) = decode(text) {
        assert!(!decoded.is_empty());
        assert_eq!(decode(&STANDARD.encode(&decoded)).as_ref(), Some(&decoded));
        // What is read has that writing, and no other text does.
        let plain = text.replace(['\r', '\n', '\t'], "");
        let plain = plain.trim_start().replace([' ', '-'], "+").replace('_', "/");
        assert!(text.contains('%') || plain.starts_with(&STANDARD_NO_PAD.encode(&decoded)));
    }
    if !text.is_empty() {
        // Every writing of a text gives that text, `+` made a space by a form included.
        let standard = STANDARD.encode(text);
        assert_eq!(decode(&standard).as_deref(), Some(text));
        assert_eq!(decode(&standard.replace('+', " ")).as_deref(), Some(text));
        assert_eq!(decode(&URL_SAFE_NO_PAD.encode(text)).as_deref(), Some(text));
        let lines: Vec<_> = standard.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
        assert_eq!(decode(&lines.join("\r\n")).as_deref(), Some(text));
        assert_eq!(decode(&format!("{standard}==")).as_deref(), Some(text));
        let percent = standard.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
        assert_eq!(decode(&percent).as_deref(), Some(text));
    }
});
