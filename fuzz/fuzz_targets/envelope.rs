//! MeFP's AES-256-CBC envelope: decrypts arbitrary texts, and encrypts and decrypts arbitrary plaintexts.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stele_dialect::{FieldError, Fields};
use svc_mefp::envelope::{EnvelopeCipher, EnvelopeKey, Padding};
use zeroize::Zeroizing;

static CIPHER: LazyLock<EnvelopeCipher> = LazyLock::new(|| {
    let key = EnvelopeKey::new("0123456789abcdef0123456789abcdef").expect("32 bytes");
    EnvelopeCipher::new(key, Zeroizing::new(*b"fedcba9876543210"))
});

/// The result of decryption, in comparable form: the text fields and the number of all fields, or the error; and the
/// padding.
type DecryptionResult = Option<(Result<(Vec<(String, serde_json::Value)>, usize), FieldError>, Padding)>;

fn decrypt_envelope(text: &str) -> DecryptionResult {
    let decrypted = CIPHER.decrypt(text)?;
    Some((decrypted.fields.map(|fields| (fields.text_fields().collect(), fields.len())), decrypted.padding))
}

/// Ways in which old clients write base64.
fn legacy_base64_variants(encrypted: &str) -> [String; 6] {
    let lines: Vec<_> = encrypted.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
    [
        lines.join("\n") + "\n",
        encrypted.replace('+', " "),
        encrypted.trim_end_matches('=').to_owned(),
        format!("{encrypted}="),
        encrypted.replace('+', "-").replace('/', "_"),
        encrypted.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"),
    ]
}

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        // A text made without the key decrypts only by chance, and no error but a repeated field is distinguishable.
        let outcome = decrypt_envelope(text);
        assert!(matches!(outcome, None | Some((Ok(_) | Err(FieldError::Duplicate(_)), _))), "{outcome:?}");
    }
    for padding in [Padding::Pkcs7, Padding::Zeros, Padding::Spaces] {
        let encrypted = CIPHER.encrypt(data, padding);
        let outcome = decrypt_envelope(&encrypted);
        for variant in legacy_base64_variants(&encrypted) {
            assert_eq!(decrypt_envelope(&variant), outcome);
        }
        // A JSON object is read as such with each padding.
        match (outcome, Fields::from_json(data)) {
            (Some((Ok((texts, count)), _)), Ok(plain)) => {
                assert_eq!(count, plain.len());
                assert_eq!(texts, plain.text_fields().collect::<Vec<_>>());
            }
            (Some((Err(FieldError::Duplicate(a)), _)), Err(FieldError::Duplicate(b))) => assert_eq!(a, b),
            (None, Ok(_) | Err(FieldError::Duplicate(_))) => {
                let trailing_whitespace = data.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
                let has_two_byte_order_marks = data.starts_with("\u{feff}\u{feff}".as_bytes());
                assert!(trailing_whitespace > 16 || has_two_byte_order_marks, "an object was rejected: {data:?}");
            }
            // Bytes after the object may be read as padding.
            (_, Err(_)) => {}
            (decrypted, plain) => panic!("encrypted and decrypted differ: {decrypted:?} {plain:?}"),
        }
    }
});
