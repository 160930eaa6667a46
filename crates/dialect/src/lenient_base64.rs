//! Lenient base64 decoding, as old clients encode: with line breaks, missing or surplus `=`, the URL-safe alphabet,
//! percent-encoded once, and with spaces in place of `+` (a form that was not percent-encoded).
//!
//! A space inside the value stands for `+`; white space around the value is ignored. A space at the start or the end
//! may be either, so the candidates are decoded in turn, and the first that the caller accepts is used.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// Trailing bits must be zero, so that no two normalized texts decode to the same bytes.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Decodes `text` and returns the first candidate for which `is_acceptable` is true; `None` if there is none.
pub fn decode(text: &str, is_acceptable: impl Fn(&[u8]) -> bool) -> Option<Zeroizing<Vec<u8>>> {
    let symbols = normalize_symbols(text)?;
    let unpadded = symbols.trim_end_matches([' ', '=']);
    // After a `=`, a space is white space.
    let whole = if symbols[unpadded.len()..].contains('=') { unpadded } else { symbols.as_str() };
    let without_leading = whole.trim_start_matches(' ');
    let trimmed = without_leading.trim_end();
    // With as many of the trailing spaces as complete the last group of four symbols.
    let completed = without_leading.get(..trimmed.len().next_multiple_of(4)).unwrap_or(trimmed);
    [whole, completed, trimmed].into_iter().find_map(|candidate| {
        let base64 = Zeroizing::new(candidate.replace(' ', "+"));
        ENGINE.decode(base64.as_bytes()).ok().map(Zeroizing::new).filter(|bytes| is_acceptable(bytes))
    })
}

/// Percent-decodes, removes line breaks and tabs, and maps the URL-safe alphabet to the standard one. `None` if the
/// percent-decoded bytes are not UTF-8.
fn normalize_symbols(text: &str) -> Option<Zeroizing<String>> {
    let text = match text.contains('%') {
        true => Zeroizing::new(percent_decode_str(text).decode_utf8().map(Cow::into_owned).ok()?),
        false => Zeroizing::new(text.to_owned()),
    };
    let normalized = text.chars().filter(|symbol| !matches!(symbol, '\r' | '\n' | '\t')).map(|symbol| match symbol {
        '-' => '+',
        '_' => '/',
        other => other,
    });
    let mut symbols = Zeroizing::new(String::with_capacity(text.len()));
    symbols.extend(normalized);
    Some(symbols)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    /// Encodings of `bytes` that clients send.
    fn encoding_variants(bytes: &[u8]) -> Vec<String> {
        let standard = STANDARD.encode(bytes);
        let lines: Vec<_> = standard.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
        vec![
            standard.clone(),
            STANDARD_NO_PAD.encode(bytes),
            URL_SAFE.encode(bytes),
            URL_SAFE_NO_PAD.encode(bytes),
            standard.replace('+', " "),
            STANDARD_NO_PAD.encode(bytes).replace('+', " "),
            lines.join("\n"),
            lines.join("\r\n") + "\r\n",
            format!("{standard}="),
            format!("{}===", STANDARD_NO_PAD.encode(bytes)),
            utf8_percent_encode(&standard, NON_ALPHANUMERIC).to_string(),
            utf8_percent_encode(&(lines.join("\n") + "\n"), NON_ALPHANUMERIC).to_string().replace("%2B", "%2b"),
        ]
    }

    #[test]
    fn malformed_base64_and_nonzero_trailing_bits_are_rejected() {
        for invalid in [
            "", " ", "=", "====", "M", "M===", "MR", "MR==", "MQ==MQ==", "=MQ", "M=Q", "MQ!", "M.Q", "ＭＱ", "MQ%",
            "%zz", "%ff", "MQ\u{0}",
        ] {
            let decoded = decode(invalid, |bytes| !bytes.is_empty());
            assert_eq!(decoded, None, "{invalid:?}");
        }
    }

    #[test]
    fn spaces_are_read_as_plus_or_ignored_by_what_the_caller_accepts() {
        let is_whole_blocks = |bytes: &[u8]| !bytes.is_empty() && bytes.len().is_multiple_of(16);
        let bytes: Vec<u8> = [[0xfb; 3], [0xef; 3], [0xbe; 3]].concat().into_iter().cycle().take(48).collect();
        let sent = STANDARD.encode(&bytes);
        assert!(sent.starts_with('+'));
        for text in [sent.replace('+', " "), format!("  {sent}"), format!("{sent}  "), format!("\n {sent} \r\n")] {
            assert_eq!(decode(&text, is_whole_blocks).as_deref(), Some(&bytes), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_encoding_variant_is_decoded(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            for sent in encoding_variants(&bytes) {
                let decoded = decode(&sent, |candidate| candidate.len() == bytes.len());
                prop_assert_eq!(decoded.as_deref(), Some(&bytes), "{:?}", sent);
            }
        }

        #[test]
        fn arbitrary_input_decodes_only_to_bytes_it_encodes(sent in "(?s).{0,60}") {
            if let Some(decoded) = decode(&sent, |bytes| !bytes.is_empty()) {
                let normalize = |text: &str| text.replace([' ', '+', '-', '\r', '\n', '\t', '='], "").replace('_', "/");
                prop_assert!(sent.contains('%') || normalize(&sent) == normalize(&STANDARD_NO_PAD.encode(&*decoded)), "{:?}", sent);
            }
        }
    }
}
