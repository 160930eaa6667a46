//! Stored and imported password hashes. A hash that asks for much is never computed here: only whether it is taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stele_core::password::RawPassword;
use stele_core::verifier::{self, Cost, Imported, Memory, Secret, earlier, hash, import, is_current, is_foreign, wrap};

/// The cheapest that argon2 computes.
const CHEAP: Cost = Cost { memory: 8, passes: 1, lanes: 1 };
const CHEAPEST: [&str; 2] = ["$argon2id$v=19$m=8,t=1,p=1$", "$argon2i$v=19$m=8,t=1,p=1$"];

fn raw(text: &str) -> Secret {
    Secret::Raw(RawPassword::new(text.to_owned()))
}

fn verify(stored: &str, secret: &Secret) -> bool {
    verifier::verify(stored, secret, &mut Memory::default())
}

fuzz_target!(|text: &str| {
    let _ = is_current(text, Cost::default());
    if let Some(Imported::Weak(weak)) = earlier(text) {
        let stored = wrap(&weak, b"saltsaltsaltsalt", CHEAP, &mut Memory::default()).expect("a cost in range");
        assert!(earlier(&stored).is_none(), "it is wrapped once");
    }
    let imported = match import(text) {
        Ok(Imported::Strong(stored)) => Some(stored),
        Ok(Imported::Weak(weak)) => wrap(&weak, b"saltsaltsaltsalt", CHEAP, &mut Memory::default()),
        Ok(Imported::Digest(_)) | Err(_) => None,
    };
    if let Some(stored) = imported {
        assert!(is_foreign(&stored) && stored.contains("$argon2id$v=19$"));
        assert!(!is_current(&stored, Cost::default()), "a foreign hash is always replaced");
        assert!(
            !verify(&stored, &Secret::Digest(RawPassword::new("x".to_owned()).digest())),
            "a digest is no password"
        );
        let cheap = text.trim();
        if cheap.starts_with("$md5") || CHEAPEST.iter().any(|start| cheap.starts_with(start)) {
            let _ = verify(&stored, &raw("x"));
        }
    } else if !text.contains("argon2") && !text.contains("$2") && !is_foreign(text) {
        // Nor is it the form that an import is stored in.
        assert!(!verify(text, &raw("x")));
    }
    if text.len() <= 16 {
        // One of ours, for whatever password. Of few, for it costs what all the rest does.
        let digest = RawPassword::new(text.to_owned()).digest();
        let ours = hash(&digest, b"saltsaltsaltsalt", CHEAP, &mut Memory::default()).expect("a cost in range");
        assert!(verify(&ours, &raw(text)) && is_current(&ours, CHEAP) && !is_foreign(&ours));
        assert!(!verify(&ours, &raw(&format!("{text}x"))));
    }
});
