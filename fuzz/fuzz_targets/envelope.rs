//! MeFP's envelope: an arbitrary text is opened as one, and an arbitrary plaintext sealed and opened.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stele_web::{Fault, Fields};
use svc_mefp::envelope::{Envelope, Key};
use zeroize::Zeroizing;

static ENVELOPE: LazyLock<Envelope> = LazyLock::new(|| {
    let key = Key::new("0123456789abcdef0123456789abcdef").expect("32 bytes");
    Envelope::new(key, Zeroizing::new(*b"fedcba9876543210"))
});

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        // Whoever has no key opens nothing; what opens is an object.
        let _ = ENVELOPE.open(text);
    }
    let sealed = ENVELOPE.seal(data);
    match (ENVELOPE.open(&sealed), Fields::from_json(data)) {
        (Ok(opened), Ok(plain)) => assert_eq!(opened.len(), plain.len()),
        (Err(Fault::Unreadable), Err(Fault::Unreadable)) => {}
        (Err(Fault::Doubled(a)), Err(Fault::Doubled(b))) => assert_eq!(a, b),
        // Trailing zeros and spaces are padding to us, and JSON does not mind the latter.
        (Ok(_), Err(_)) => assert!(data.last().is_some_and(|&byte| byte == 0 || byte == b' ')),
        (opened, _) => panic!("sealed and opened differ: {:?}", opened.err()),
    }
});
