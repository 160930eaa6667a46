//! Hexadecimal encoding and decoding of digests and tokens, in the forms of the API documents. Output is in lower case.
//! Input may be in either case, with `-` between bytes (as .NET's `BitConverter` writes them) and white space around
//! it.

/// Encodes `bytes` as lowercase hex digits.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        out.push(char::from(encode_nibble(byte >> 4)));
        out.push(char::from(encode_nibble(byte & 15)));
    }
    out
}

/// Encodes a 16-byte digest as lowercase hex digits, without allocation.
pub fn encode16(bytes: &[u8; 16]) -> [u8; 32] {
    let mut out = [0; 32];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[encode_nibble(byte >> 4), encode_nibble(byte & 15)]);
    }
    out
}

/// Decodes `N` bytes: exactly `2 N` hex digits in either case, with `-` between all bytes or between none, and optional
/// white space around the digits; `None` for anything else.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.trim().as_bytes();
    let width = if N > 1 && digits.len() == 3 * N - 1 { 3 } else { 2 };
    if width == 2 && digits.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, group) in out.iter_mut().zip(digits.chunks(width)) {
        if group.get(2).is_some_and(|separator| *separator != b'-') {
            return None;
        }
        *byte = decode_digit(group[0])? << 4 | decode_digit(group[1])?;
    }
    Some(out)
}

/// Decodes hex digits in either case, two a byte; `None` for anything else.
pub(crate) fn decode_bytes(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(decode_digit(*high)? << 4 | decode_digit(*low)?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

fn encode_nibble(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

fn decode_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lowercase_and_uppercase_round_trip(bytes: [u8; 16]) {
            let text = encode(&bytes);
            prop_assert_eq!(decode::<16>(&text), Some(bytes));
            prop_assert_eq!(decode::<16>(&text.to_uppercase()), Some(bytes));
            prop_assert_eq!(decode_bytes(&text.to_uppercase()), Some(bytes.to_vec()));
            prop_assert_eq!(decode_bytes(&text[1..]), None);
            prop_assert_eq!(decode_bytes(&text.replacen(&text[..1], "g", 1)), None);
            prop_assert_eq!(text.as_bytes(), &encode16(&bytes)[..]);
        }

        #[test]
        fn bytes_are_decoded_only_with_a_hyphen_between_all_of_them(bytes: [u8; 16], around in "[ \t\r\n\u{a0}]{0,3}") {
            let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            let dotnet_text = format!("{around}{}{around}", pairs.join("-"));
            prop_assert_eq!(decode::<16>(&dotnet_text), Some(bytes));
            prop_assert_eq!(decode::<16>(&dotnet_text.replacen('-', "", 1)), None);
            prop_assert_eq!(decode::<16>(&dotnet_text.replace('-', ":")), None);
            prop_assert_eq!(decode::<16>(&dotnet_text.replace('-', "--")), None);
        }

        #[test]
        fn only_32_hex_digits_are_16_bytes(text in "\\PC{0,40}") {
            let is_hex = text.trim().len() == 32 && text.trim().bytes().all(|b| b.is_ascii_hexdigit());
            prop_assert_eq!(decode::<16>(&text).is_some(), is_hex);
        }
    }
}
