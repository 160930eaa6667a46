//! Proofs: digests in hex, timestamps, codes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stele_core::code::Code;
use stele_core::hex;
use stele_core::password::PasswordDigest;
use stele_core::proof::parse_timestamp;

fuzz_target!(|text: &str| {
    if let Some(seconds) = parse_timestamp(text) {
        assert!(!text.contains(['.', '-', 'e', 'E']));
        assert_eq!(parse_timestamp(&seconds.to_string()), Some(seconds));
    }
    if let Some(bytes) = hex::decode::<16>(text) {
        assert!(hex::encode(&bytes).eq_ignore_ascii_case(text));
        let digest = PasswordDigest::from_hex(text).expect("32 hex digits are a digest");
        assert!(digest.proves(&digest.salted(7), 7));
        // One digit more on the timestamp is another proof.
        assert!(!digest.proves(&digest.salted(7), 70));
    }
    let code = Code::typed(text);
    assert_eq!(Code::typed(code.expose()).expose(), code.expose());
});
