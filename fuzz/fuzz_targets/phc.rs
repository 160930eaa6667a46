//! Stored and imported password hashes (PHC strings). Costly hashes are parsed, but not computed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stele_core::password::RawPassword;
use stele_core::verifier::{
    self, Argon2Cost, HashMemory, ImportedHash, PresentedSecret, hash, is_current, is_imported, parse_imported,
    parse_unwrapped, wrap,
};

/// The lowest cost that argon2 accepts.
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
        assert!(parse_unwrapped(&stored).is_none(), "a hash is wrapped only once");
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
        let trimmed = text.trim();
        let is_cheap = trimmed.starts_with("$md5") || trimmed.starts_with("$sha");
        if is_cheap || CHEAPEST_PREFIXES.iter().any(|prefix| trimmed.starts_with(prefix)) {
            let _ = verify(&stored, &raw_secret("x"));
        }
    } else if !text.contains("argon2") && !text.contains("$2") && !is_imported(text) {
        // The input is neither an imported hash nor a stored one.
        assert!(!verify(text, &raw_secret("x")));
    }
    if text.len() <= 16 {
        // A hash that Stele makes of any password. Only for short inputs, because hashing costs as much as the rest of
        // the run.
        let digest = RawPassword::new(text.to_owned()).digest();
        let stored =
            hash(&digest, b"saltsaltsaltsalt", CHEAP_COST, &mut HashMemory::default()).expect("a cost in range");
        assert!(verify(&stored, &raw_secret(text)) && is_current(&stored, CHEAP_COST) && !is_imported(&stored));
        assert!(!verify(&stored, &raw_secret(&format!("{text}x"))));
    }
});
