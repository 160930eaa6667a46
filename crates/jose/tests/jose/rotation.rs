//! Key rotation (docs/THREATS.md 27, Core 10.1.1): a key is published before it signs, verifies until it is retired, and an
//! unknown `kid` is looked for only if it can be one of ours.

use serde_json::Value;
use stele_core::oauth::SigningAlgorithm;
use stele_core::random::OsRandom;
use stele_core::time::Timestamp;
use stele_jose::{KeySet, Signer, Verifier};
use stele_keys::{KeyConsumer as _, RegisteredKey};

use crate::{
    EXPECTED, KEYS, NOW, algorithms, claims, decode_part, forge, header_of, issue, registered_key, with_member,
};

fn key_ids(keys: &KeySet) -> Vec<String> {
    let set = serde_json::to_value(keys.to_jwk_set()).unwrap();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_key_is_published_before_it_signs_and_verifies_until_it_is_retired() {
    for algorithm in algorithms() {
        let keys = KeySet::empty(&[algorithm]);
        let kind = keys.keys_of(algorithm).unwrap();
        let generate = || (kind.kind().generate)(&OsRandom).unwrap();
        let (now, later) = (NOW.as_secs(), Timestamp::from_secs(NOW.as_secs() + 60));
        kind.set_keys(vec![registered_key(1, 0, &generate()), registered_key(10, now + 60, &generate())]);
        let prefix = algorithm.as_str().to_lowercase();
        assert_eq!(key_ids(&keys), [format!("{prefix}-10"), format!("{prefix}-1")]);
        let sign = |at| Signer::new(keys.clone()).sign(algorithm, "at+jwt", &claims(), at).unwrap();
        let (old, new) = (sign(NOW), sign(later));
        assert_eq!(decode_part(&old, 0)["kid"], format!("{prefix}-1"));
        assert_eq!(decode_part(&new, 0)["kid"], format!("{prefix}-10"));
        let verifies = |token: &str| Verifier::new(keys.clone()).verify::<Value>(token, &EXPECTED, later).is_some();
        assert!(verifies(&old) && verifies(&new));
        // Key 1 is retired; key 10 is not read again.
        let retained = RegisteredKey { number: 10, active_from: later, key_material: None };
        kind.set_keys(vec![retained]);
        assert_eq!(key_ids(&keys), [format!("{prefix}-10")]);
        assert!(!verifies(&old) && verifies(&new));
    }
}

#[test]
fn only_a_key_id_of_ours_is_looked_for() {
    let name_for = |alg: &str, kid: Value| {
        let key = KEYS.current(SigningAlgorithm::EdDsa, NOW).unwrap();
        let header = with_member(&with_member(&header_of(&key), "alg", alg.into()), "kid", kid);
        KEYS.unknown_key_name(&forge(&key, &header, &claims()))
    };
    for algorithm in algorithms() {
        let (alg, prefix) = (algorithm.as_str(), algorithm.as_str().to_lowercase());
        assert_eq!(name_for(alg, format!("{prefix}-2").into()), Some(format!("jwt-{prefix}-2")));
        assert_eq!(name_for(alg, format!("{prefix}-1").into()), None, "it is loaded");
    }
    for hostile in ["", "eddsa-02", "rs256-2", "eddsa-x", "eddsa--2", "../eddsa-2", "eddsa-99999999999", "eddsa-2\0"] {
        assert_eq!(name_for("EdDSA", hostile.into()), None, "{hostile}");
    }
    for (alg, kid) in [("HS256", "eddsa-2"), ("none", "eddsa-2"), ("RS256", "eddsa-2"), ("", "")] {
        assert_eq!(name_for(alg, kid.into()), None, "{alg} {kid}");
    }
    for malformed in ["", "no.token.this", "a.b", "....", &issue(SigningAlgorithm::EdDsa)] {
        assert_eq!(KEYS.unknown_key_name(malformed), None, "{malformed}");
    }
    assert_eq!(KEYS.only(SigningAlgorithm::Rs256).unknown_key_name(&issue(SigningAlgorithm::EdDsa)), None);
}
