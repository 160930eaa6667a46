//! Properties of the verifier: what it accepts was signed here, as a whole.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::Value;
use stele_core::oauth::SigningAlgorithm;

use crate::{KEYS, NOW, claims, forge_bytes, header_of, issue, verify, with_member};

fn any_algorithm() -> impl Strategy<Value = SigningAlgorithm> {
    prop_oneof![Just(SigningAlgorithm::EdDsa), Just(SigningAlgorithm::Es256), Just(SigningAlgorithm::Rs256),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_rejected(text in "\\PC{0,80}", parts in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,90}") {
        prop_assert!(verify(&text).is_none() && verify(&parts).is_none());
        prop_assert!(KEYS.unknown_key_name(&text).is_none() && KEYS.unknown_key_name(&parts).is_none());
    }

    #[test]
    fn a_changed_token_is_rejected(algorithm in any_algorithm(), at in any::<prop::sample::Index>(), byte in "[A-Za-z0-9_.=+/ -]") {
        let token = issue(algorithm);
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &byte);
        prop_assert!(changed == token || verify(&changed).is_none(), "{changed}");
        let mut longer = token;
        longer.insert_str(at, &byte);
        prop_assert!(verify(&longer).is_none(), "{longer}");
    }

    #[test]
    fn parts_of_two_tokens_do_not_make_a_third(first in any_algorithm(), second in any_algorithm(), sub in "[a-z]{1,8}") {
        let key = KEYS.current(second, NOW).unwrap();
        let other = with_member(&claims(), "sub", sub.into()).to_string();
        let tokens = [issue(first), forge_bytes(&key, header_of(&key).to_string().as_bytes(), other.as_bytes())];
        for mask in 1..7_usize {
            let parts = (0..3).map(|part| tokens[mask >> part & 1].split('.').nth(part).unwrap());
            let mixed = parts.collect::<Vec<_>>().join(".");
            prop_assert!(tokens.contains(&mixed) || verify(&mixed).is_none(), "{mask}");
        }
    }

    #[test]
    fn claims_come_back_as_they_were_signed(algorithm in any_algorithm(), text in "\\PC{0,40}", number: i64) {
        let key = KEYS.current(algorithm, NOW).unwrap();
        let signed = with_member(&with_member(&claims(), "text", text.into()), "number", number.into());
        let token = stele_jose::Signer::new(KEYS.clone()).sign(algorithm, "at+jwt", &signed, NOW).unwrap();
        prop_assert_eq!(verify(&token), Some(signed));
        let signature = URL_SAFE_NO_PAD.decode(token.rsplit('.').next().unwrap()).unwrap();
        let length = match algorithm { SigningAlgorithm::Rs256 => 384, _ => 64 };
        prop_assert_eq!((signature.len(), key.algorithm()), (length, algorithm));
    }

    #[test]
    fn bytes_that_are_not_claims_are_rejected_although_signed(algorithm in any_algorithm(), bytes: Vec<u8>) {
        let key = KEYS.current(algorithm, NOW).unwrap();
        let token = forge_bytes(&key, header_of(&key).to_string().as_bytes(), &bytes);
        let is_object = serde_json::from_slice::<Value>(&bytes).is_ok_and(|value| value.is_object());
        prop_assert!(is_object || verify(&token).is_none());
    }
}
