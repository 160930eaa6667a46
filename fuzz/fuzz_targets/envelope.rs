//! MeFP's envelope: an arbitrary text is opened as one, and an arbitrary plaintext sealed and opened.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stele_dialect::{Fault, Fields};
use svc_mefp::envelope::{Envelope, Key};
use zeroize::Zeroizing;

static ENVELOPE: LazyLock<Envelope> = LazyLock::new(|| {
    let key = Key::new("0123456789abcdef0123456789abcdef").expect("32 bytes");
    Envelope::new(key, Zeroizing::new(*b"fedcba9876543210"))
});

/// What came of opening, comparably: the texts and how many fields, or what is wrong.
type Opened = Result<(Vec<(String, serde_json::Value)>, usize), Fault>;

fn opened(text: &str) -> Opened {
    ENVELOPE.open(text).map(|fields| (fields.texts().collect(), fields.len()))
}

/// As old clients write base64.
fn mangled(sealed: &str) -> [String; 6] {
    let lines: Vec<_> = sealed.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
    [
        lines.join("\n") + "\n",
        sealed.replace('+', " "),
        sealed.trim_end_matches('=').to_owned(),
        format!("{sealed}="),
        sealed.replace('+', "-").replace('/', "_"),
        sealed.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"),
    ]
}

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        // Whoever has no key opens nothing that is more than chance; and is told nothing else than that.
        let told = opened(text);
        assert!(matches!(told, Ok(_) | Err(Fault::Unreadable | Fault::Doubled(_))), "{told:?}");
    }
    let sealed = ENVELOPE.seal(data);
    let told = opened(&sealed);
    for again in mangled(&sealed) {
        assert_eq!(opened(&again), told);
    }
    match (told, Fields::from_json(data)) {
        (Ok((texts, length)), Ok(plain)) => {
            assert_eq!(length, plain.len());
            assert_eq!(texts, plain.texts().collect::<Vec<_>>());
        }
        (Err(Fault::Unreadable), Err(Fault::Unreadable)) => {}
        (Err(Fault::Doubled(a)), Err(Fault::Doubled(b))) => assert_eq!(a, b),
        (opened, plain) => panic!("sealed and opened differ: {opened:?} {plain:?}"),
    }
});
