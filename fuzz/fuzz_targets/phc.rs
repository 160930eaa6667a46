//! Stored and imported password hashes. A hash that asks for much is never computed here: only whether it is taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stele_core::password::RawPassword;
use stele_core::verifier::{
    self, Argon2Cost, HashMemory, ImportedHash, PresentedSecret, hash, is_current, is_imported, parse_imported,
    parse_unwrapped, wrap,
};

/// The cheapest that argon2 computes.
const CHEAP_COST: Argon2Cost = Argon2Cost { memory_kib: 8, passes: 1, lanes: 1 };
const CHEAPEST_PREFIXES: [&str; 2] = ["$argon2id$v=19$m=8,t=1,p=1$", "$argon2i$v=19$m=8,t=1,p=1$"];

fn raw_secret(text: &str) -> PresentedSecret {
    PresentedSecret::Raw(RawPassword::new(text.to_owned()))
}

fn verify(stored: &str, secret: &PresentedSecret) -> bool {
    verifier::verify(stored, secret, &mut HashMemory::default())
}

fuzz_target!(|text: &str| {
    let _ = is_current(text, Argon2Cost::default());
    if let Some(ImportedHash::Weak(weak)) = parse_unwrapped(text) {
        let stored = wrap(&weak, b"saltsaltsaltsalt", CHEAP_COST, &mut HashMemory::default()).expect("a cost in range");
        assert!(parse_unwrapped(&stored).is_none(), "it is wrapped once");
    }
    let imported = match parse_imported(text) {
        Ok(ImportedHash::Strong(stored)) => Some(stored),
        Ok(ImportedHash::Weak(weak)) => wrap(&weak, b"saltsaltsaltsalt", CHEAP_COST, &mut HashMemory::default()),
        Ok(ImportedHash::Digest(_)) | Err(_) => None,
    };
    if let Some(stored) = imported {
        assert!(is_imported(&stored) && stored.contains("$argon2id$v=19$"));
        assert!(!is_current(&stored, Argon2Cost::default()), "a foreign hash is always replaced");
        assert!(
            !verify(&stored, &PresentedSecret::Digest(RawPassword::new("x".to_owned()).digest())),
            "a digest is no password"
        );
        let cheap = text.trim();
        if cheap.starts_with("$md5") || CHEAPEST_PREFIXES.iter().any(|start| cheap.starts_with(start)) {
            let _ = verify(&stored, &raw_secret("x"));
        }
    } else if !text.contains("argon2") && !text.contains("$2") && !is_imported(text) {
        // Nor is it the form that an import is stored in.
        assert!(!verify(text, &raw_secret("x")));
    }
    if text.len() <= 16 {
        // One of ours, for whatever password. Of few, for it costs what all the rest does.
        let digest = RawPassword::new(text.to_owned()).digest();
        let ours = hash(&digest, b"saltsaltsaltsalt", CHEAP_COST, &mut HashMemory::default()).expect("a cost in range");
        assert!(verify(&ours, &raw_secret(text)) && is_current(&ours, CHEAP_COST) && !is_imported(&ours));
        assert!(!verify(&ours, &raw_secret(&format!("{text}x"))));
    }
});
