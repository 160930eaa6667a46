//! Base64 of passwords and codes, as portal clients encode it (API document: `base64_encode 加密`).

use stele_dialect::lenient_base64;

/// Decodes base64 to text, in any variant that [`lenient_base64`] accepts. `None` if it is invalid, not UTF-8, or
/// empty.
pub fn decode(value: &str) -> Option<String> {
    let is_text = |bytes: &[u8]| !bytes.is_empty() && std::str::from_utf8(bytes).is_ok();
    let mut bytes = lenient_base64::decode(value, is_text)?;
    String::from_utf8(std::mem::take(&mut *bytes)).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Base64Variant {
        Padded,
        Unpadded,
        UrlSafe,
        UrlSafeUnpadded,
    }

    fn encode(variant: Base64Variant, text: &str) -> String {
        match variant {
            Base64Variant::Padded => STANDARD.encode(text),
            Base64Variant::Unpadded => STANDARD_NO_PAD.encode(text),
            Base64Variant::UrlSafe => URL_SAFE.encode(text),
            Base64Variant::UrlSafeUnpadded => URL_SAFE_NO_PAD.encode(text),
        }
    }

    fn base64_variant() -> impl Strategy<Value = Base64Variant> {
        prop::sample::select(vec![
            Base64Variant::Padded,
            Base64Variant::Unpadded,
            Base64Variant::UrlSafe,
            Base64Variant::UrlSafeUnpadded,
        ])
    }

    /// The vectors are computed by Python: see tests/vectors/README.md.
    #[test]
    fn base64_vectors_from_python_are_decoded() {
        let vectors = include_str!("../tests/vectors/base64.json");
        let vectors: Vec<(String, Option<String>)> = serde_json::from_str(vectors).unwrap();
        assert!(vectors.len() > 100);
        for (sent, text) in vectors {
            assert_eq!(decode(&sent), text, "{sent:?}");
        }
    }

    proptest! {
        #[test]
        fn every_base64_variant_is_decoded(text in "(?s).{1,60}", variant in base64_variant()) {
            prop_assert_eq!(decode(&encode(variant, &text)), Some(text));
        }

        #[test]
        fn plus_signs_survive_a_form_without_percent_encoding(text in "[ -~>叾~?]{1,60}", padded: bool) {
            let sent = encode(if padded { Base64Variant::Padded } else { Base64Variant::Unpadded }, &text).replace('+', " ");
            prop_assert_eq!(decode(&sent), Some(text));
        }

        #[test]
        fn whitespace_around_padded_base64_is_ignored(text in "(?s).{1,60}", before in "[ \t\r\n]{0,4}", after in "[ \t\r\n]{0,4}") {
            let sent = format!("{before}{}{after}", STANDARD.encode(&text));
            prop_assert_eq!(decode(&sent), Some(text));
        }

        #[test]
        fn arbitrary_input_decodes_only_to_text_it_encodes(sent in "(?s).{0,40}") {
            if let Some(text) = decode(&sent) {
                prop_assert!(!text.is_empty());
                let plain = sent.replace(['\r', '\n', '\t'], "");
                let plain = plain.trim_start().replace([' ', '-'], "+").replace('_', "/");
                let encoded = STANDARD_NO_PAD.encode(&text);
                prop_assert!(sent.contains('%') || plain.starts_with(&encoded), "{sent:?} is not {text:?}");
            }
        }

        #[test]
        fn non_utf8_bytes_are_rejected(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let text = String::from_utf8(bytes.clone()).ok().filter(|text| !text.is_empty());
            prop_assert_eq!(decode(&STANDARD.encode(bytes)), text);
        }
    }
}
