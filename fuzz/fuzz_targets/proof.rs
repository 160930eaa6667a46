//! Proofs: digests in hex, timestamps, codes, captchas' numbers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stele_core::code::Code;
use stele_core::hex;
use stele_core::password::PasswordDigest;
use stele_core::proof::parse_timestamp;
use svc_jwt::wire::captcha_id;

fuzz_target!(|text: &str| {
    if let Some(seconds) = parse_timestamp(text) {
        assert_eq!(seconds.to_string(), text, "a timestamp has one writing");
        assert!(i64::try_from(seconds).is_ok());
    } else {
        assert!(text.parse::<i64>().ok().filter(|number| *number >= 0).is_none_or(|number| number.to_string() != text));
    }
    if let Some(bytes) = hex::decode::<16>(text) {
        assert!(hex::encode(&bytes).eq_ignore_ascii_case(&text.trim().replace('-', "")));
        let digest = PasswordDigest::from_hex(text).expect("32 hex digits are a digest");
        assert!(digest.proves(&digest.salted(7), 7));
        // One digit more on the timestamp is another proof, and the digest itself is none.
        assert!(!digest.proves(&digest.salted(7), 70));
        assert!(!digest.proves(&bytes, 7));
    } else {
        assert!(PasswordDigest::from_hex(text).is_none());
    }
    if let Some(id) = captcha_id(text) {
        assert!(id < 1 << 53 && text.parse() == Ok(id));
    }
    let code = Code::typed(text);
    if code.expose().is_ascii() {
        assert_eq!(Code::typed(code.expose()).expose(), code.expose());
    }
    if text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        assert_eq!(code.expose(), text);
    }
});
