//! Stored and imported password hashes. A hash that asks for much is never computed here: only whether it is taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stele_core::password::RawPassword;
use stele_core::verifier::{Cost, Secret, import, is_current, is_foreign, verify};

fuzz_target!(|text: &str| {
    let _ = is_current(text, Cost::default());
    if let Ok(stored) = import(text) {
        assert!(is_foreign(&stored));
        assert!(!is_current(&stored, Cost::default()), "a foreign hash is always replaced");
        // Salted md5 alone is cheap enough for millions of runs.
        if text.trim().starts_with("$md5") {
            assert!(!verify(&stored, &Secret::Digest(RawPassword::new("x".to_owned()).digest())));
            let _ = verify(&stored, &Secret::Raw(RawPassword::new("x".to_owned())));
        }
    } else if !text.contains("argon2") && !text.contains("$2") {
        assert!(!verify(text, &Secret::Raw(RawPassword::new("x".to_owned()))));
    }
});
