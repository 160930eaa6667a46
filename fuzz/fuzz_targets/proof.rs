//! Login proofs: digests in hex, client timestamps, one-time codes, captcha ids.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stele_core::client_timestamp::ClientTimestamp;
use stele_core::code::Code;
use stele_core::hex;
use stele_core::password::PasswordDigest;
use stele_core::proof::SaltedProof;
use svc_jwt::wire::parse_captcha_id;

static DIGEST: LazyLock<PasswordDigest> = LazyLock::new(|| PasswordDigest::from_bytes([7; 16]));

fuzz_target!(|text: &str| {
    if let Some(timestamp) = ClientTimestamp::parse(text) {
        let spellings: Vec<_> = timestamp.candidate_texts().collect();
        assert!(spellings[0] == text && spellings.len() <= 4);
        assert!(i64::try_from(timestamp.seconds()).is_ok());
        for spelling in &spellings {
            let parsed = ClientTimestamp::parse(spelling).expect("a spelling of a timestamp is a timestamp");
            assert_eq!(parsed.seconds(), timestamp.seconds(), "all spellings are the same instant");
            assert!(DIGEST.matches_proof(&SaltedProof { digest: DIGEST.salted_hash(spelling), timestamp }));
        }
        assert!(!DIGEST.matches_proof(&SaltedProof { digest: DIGEST.salted_hash("x"), timestamp }));
    } else {
        assert!(text.parse::<i64>().ok().filter(|number| *number >= 0).is_none_or(|number| number.to_string() != text));
    }
    if let Some(bytes) = hex::decode::<16>(text) {
        assert!(hex::encode(&bytes).eq_ignore_ascii_case(&text.trim().replace('-', "")));
        let digest = PasswordDigest::from_hex(text).expect("32 hex digits are a digest");
        let is_valid_proof =
            |salted, timestamp: u64| digest.matches_proof(&SaltedProof { digest: salted, timestamp: timestamp.into() });
        assert!(is_valid_proof(digest.salted_hash(7), 7));
        // A proof with one timestamp is invalid with another, and the unsalted digest is no proof.
        assert!(!is_valid_proof(digest.salted_hash(7), 70));
        assert!(!is_valid_proof(bytes, 7));
    } else {
        assert!(PasswordDigest::from_hex(text).is_none());
    }
    if let Some(id) = parse_captcha_id(text) {
        assert!(id < 1 << 53 && text.parse() == Ok(id));
    }
    let code = Code::from_user_input(text);
    if code.expose().is_ascii() {
        assert_eq!(Code::from_user_input(code.expose()).expose(), code.expose());
    }
    if text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        assert_eq!(code.expose(), text);
    }
});
