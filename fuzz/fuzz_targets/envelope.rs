//! MeFP's envelope: an arbitrary text is opened as one, and an arbitrary plaintext sealed and opened.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stele_dialect::{FieldError, Fields};
use svc_mefp::envelope::{Envelope, EnvelopeKey, Padding};
use zeroize::Zeroizing;

static ENVELOPE: LazyLock<Envelope> = LazyLock::new(|| {
    let key = EnvelopeKey::new("0123456789abcdef0123456789abcdef").expect("32 bytes");
    Envelope::new(key, Zeroizing::new(*b"fedcba9876543210"))
});

/// What came of opening, comparably: the texts and how many fields, or what is wrong; and the padding.
type OpenResult = Option<(Result<(Vec<(String, serde_json::Value)>, usize), FieldError>, Padding)>;

fn open_envelope(text: &str) -> OpenResult {
    let opened = ENVELOPE.open(text)?;
    Some((opened.fields.map(|fields| (fields.text_fields().collect(), fields.len())), opened.padding))
}

/// As old clients write base64.
fn legacy_base64_variants(sealed: &str) -> [String; 6] {
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
        // Without the key nothing opens but by chance, and no other fault shows.
        let outcome = open_envelope(text);
        assert!(matches!(outcome, None | Some((Ok(_) | Err(FieldError::Duplicate(_)), _))), "{outcome:?}");
    }
    for padding in [Padding::Pkcs7, Padding::Zeros, Padding::Spaces] {
        let sealed = ENVELOPE.seal(data, padding);
        let outcome = open_envelope(&sealed);
        for again in legacy_base64_variants(&sealed) {
            assert_eq!(open_envelope(&again), outcome);
        }
        // A text that is an object is read as such, whatever fills it.
        match (outcome, Fields::from_json(data)) {
            (Some((Ok((texts, length)), _)), Ok(plain)) => {
                assert_eq!(length, plain.len());
                assert_eq!(texts, plain.text_fields().collect::<Vec<_>>());
            }
            (Some((Err(FieldError::Duplicate(a)), _)), Err(FieldError::Duplicate(b))) => assert_eq!(a, b),
            (None, Ok(_) | Err(FieldError::Duplicate(_))) => {
                let white = data.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
                let marks = data.starts_with("\u{feff}\u{feff}".as_bytes());
                assert!(white > 16 || marks, "an object did not open: {data:?}");
            }
            // What is behind the object may be padding itself.
            (_, Err(_)) => {}
            (opened, plain) => panic!("sealed and opened differ: {opened:?} {plain:?}"),
        }
    }
});
