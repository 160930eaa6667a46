//! Block padding after the JSON object in a plaintext, checked in constant time.
//!
//! The API document does not specify a padding (`docs/PROTOCOLS.md`, MeFP), so apps chose different ones. Stele accepts
//! no padding; zeros; spaces; PKCS#7 (to blocks of 16, or of 32 like WeChat's encoder), optionally after NULs; ISO/IEC
//! 7816-4; ANSI X9.23; ISO 10126 of less than a block. JSON white space may precede any of these.
//!
//! A decoder whose responses distinguish valid from invalid padding is a padding oracle; `envelope` describes the
//! defence.

use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _, ConstantTimeGreater as _};

/// The AES block size, in bytes.
pub(crate) const BLOCK_BYTES: usize = 16;
/// The longest padding with white space, in bytes.
const MAX_PADDING_BYTES: usize = 32;

/// The padding of a response, chosen by the padding of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// PKCS#7; chosen also for requests without padding, or padded in any way but zeros and spaces.
    #[default]
    Pkcs7,
    /// Zeros up to the end of the block; none if the block is full.
    Zeros,
    /// Spaces up to the end of the block; none if the block is full.
    Spaces,
}

impl Padding {
    /// Detects the padding in `tail`, the bytes after the object; `None` if the padding is invalid. Every scheme is
    /// tried at every offset without early exit, so that timing reveals no more than the response (timing side
    /// channel).
    pub(crate) fn detect(tail: &[u8]) -> Option<Self> {
        if tail.len() > MAX_PADDING_BYTES {
            return None;
        }
        let mut is_padding = Choice::from(0);
        let mut is_zeros_or_spaces = Choice::from(0);
        // A whole block after an object that ends at a block boundary may come from a recorded message, appended to use
        // the service as a padding oracle for that block's last byte. So ISO 10126 is accepted only in less than a
        // block.
        let is_partial_block = Choice::from(u8::from(tail.len() < BLOCK_BYTES));
        // Whether all bytes before `start` are JSON white space.
        let mut is_whitespace = Choice::from(1);
        for start in 0..=tail.len() {
            let suffix = &tail[start..];
            let filler = suffix.iter().fold(Choice::from(1), |all, byte| all & (byte.ct_eq(&0) | byte.ct_eq(&b' ')));
            is_zeros_or_spaces |= is_whitespace & filler;
            is_padding |=
                is_whitespace & (filler | is_length_padding(suffix, is_partial_block) | is_iso7816_padding(suffix));
            if let Some(byte) = suffix.first() {
                is_whitespace &= byte.ct_eq(&b' ') | byte.ct_eq(&b'\t') | byte.ct_eq(&b'\r') | byte.ct_eq(&b'\n');
            }
        }
        let last = tail.last().copied().unwrap_or_default();
        // A space is byte 32, so 32 spaces are PKCS#7 of a whole block of 32 bytes; space padding is shorter.
        let is_spaces = last.ct_eq(&b' ') & !Choice::from(u8::from(tail.len() == MAX_PADDING_BYTES));
        let is_zeros = last.ct_eq(&0) & !Choice::from(u8::from(tail.is_empty()));
        let scheme = u8::conditional_select(&0, &1, is_zeros_or_spaces & is_zeros);
        let scheme = u8::conditional_select(&scheme, &2, is_zeros_or_spaces & is_spaces);
        bool::from(is_padding).then_some(match scheme {
            1 => Self::Zeros,
            2 => Self::Spaces,
            _ => Self::Pkcs7,
        })
    }

    /// Pads `text` to whole blocks.
    pub(crate) fn pad(self, text: &mut Vec<u8>) {
        let missing = BLOCK_BYTES - text.len() % BLOCK_BYTES;
        let (count, byte) = match self {
            Self::Pkcs7 => (missing, u8::try_from(missing).unwrap_or_default()),
            Self::Zeros => (missing % BLOCK_BYTES, 0),
            Self::Spaces => (missing % BLOCK_BYTES, b' '),
        };
        text.resize(text.len() + count, byte);
    }
}

/// Padding whose last byte is a length: PKCS#7, optionally after NULs; ANSI X9.23 (zeros, then the length); ISO 10126
/// (any bytes, then the length), accepted if the padding `is_partial_block`.
fn is_length_padding(suffix: &[u8], is_partial_block: Choice) -> Choice {
    let Some((last, before)) = suffix.split_last() else { return Choice::from(0) };
    let length = u8::try_from(suffix.len()).unwrap_or_default();
    let is_length = last.ct_eq(&length);
    let (mut is_pkcs7, mut is_zeros) = (!last.ct_eq(&0) & !last.ct_gt(&length), Choice::from(1));
    for (distance, byte) in (1_u8..).zip(before.iter().rev()) {
        // The last `last` bytes must equal `last`, and the bytes before them must be NUL.
        is_pkcs7 &= u8::conditional_select(&0, last, last.ct_gt(&distance)).ct_eq(byte);
        is_zeros &= byte.ct_eq(&0);
    }
    is_pkcs7 | (is_length & (is_zeros | is_partial_block))
}

/// ISO/IEC 7816-4: 0x80, then zeros.
fn is_iso7816_padding(suffix: &[u8]) -> Choice {
    let Some((first, zeros)) = suffix.split_first() else { return Choice::from(0) };
    zeros.iter().fold(first.ct_eq(&0x80), |all, byte| all & byte.ct_eq(&0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether `tail` is valid padding, written for clarity instead of constant time.
    fn is_valid_padding(tail: &[u8]) -> bool {
        let is_whitespace = |byte: &u8| b" \t\r\n".contains(byte);
        let is_padding = |suffix: &[u8]| {
            let length = suffix.len();
            let last = suffix.last().map_or(0, |last| usize::from(*last));
            let is_zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
            let is_pkcs7 = (1..=length).contains(&last)
                && suffix[length - last..].iter().all(|byte| usize::from(*byte) == last)
                && is_zeros(&suffix[..length - last]);
            let is_x923 = last > 0 && last == length && is_zeros(&suffix[..length - 1]);
            let is_iso10126 = last > 0 && last == length && tail.len() < 16;
            let is_iso7816 = suffix.first() == Some(&0x80) && is_zeros(&suffix[1..]);
            suffix.iter().all(|byte| matches!(byte, 0 | b' ')) || is_pkcs7 || is_x923 || is_iso10126 || is_iso7816
        };
        let whitespace = tail.iter().take_while(|byte| is_whitespace(byte)).count();
        tail.len() <= 32 && (0..=whitespace).any(|start| is_padding(&tail[start..]))
    }

    #[test]
    fn a_response_uses_the_padding_of_its_request() {
        for (tail, padding) in [
            (vec![], Some(Padding::Pkcs7)),
            (vec![0; 5], Some(Padding::Zeros)),
            (vec![0; 32], Some(Padding::Zeros)),
            (vec![b' '; 5], Some(Padding::Spaces)),
            (vec![b' '; 16], Some(Padding::Spaces)),
            // WeChat's padding of a whole block of 32 bytes.
            (vec![32; 32], Some(Padding::Pkcs7)),
            (vec![1], Some(Padding::Pkcs7)),
            (vec![16; 16], Some(Padding::Pkcs7)),
            (vec![31; 31], Some(Padding::Pkcs7)),
            // Lengths that are white space as bytes: tab, line feed, carriage return.
            (vec![9; 9], Some(Padding::Pkcs7)),
            (vec![10; 10], Some(Padding::Pkcs7)),
            (vec![13; 13], Some(Padding::Pkcs7)),
            (b"\n".to_vec(), Some(Padding::Pkcs7)),
            (b"\n\0\0".to_vec(), Some(Padding::Zeros)),
            (b"\n\x03\x03\x03".to_vec(), Some(Padding::Pkcs7)),
            (b"\0\x03\x03\x03".to_vec(), Some(Padding::Pkcs7)),
            (b"\x80\0\0\0".to_vec(), Some(Padding::Pkcs7)),
            (b"\0\0\0\x04".to_vec(), Some(Padding::Pkcs7)),
            (b"\xa7\x13}\x04".to_vec(), Some(Padding::Pkcs7)),
            // A whole block of ISO 10126 is rejected, also after white space.
            ([vec![7; 15], vec![16]].concat(), None),
            ([vec![b' '], vec![7; 15], vec![16]].concat(), None),
            (b"x".to_vec(), None),
            (b"}".to_vec(), None),
            (b"\x02".to_vec(), None),
            (b"\x80\0\x01\0".to_vec(), None),
            (vec![0; 33], None),
            ([vec![7; 16], vec![17]].concat(), None),
            (vec![33; 33], None),
        ] {
            assert_eq!(Padding::detect(&tail), padding, "{tail:?}");
        }
    }

    #[test]
    fn padded_text_is_whole_blocks_and_its_padding_is_detected() {
        for padding in [Padding::Pkcs7, Padding::Zeros, Padding::Spaces] {
            for length in 0..40 {
                let mut text = vec![b'}'; length];
                padding.pad(&mut text);
                assert_eq!(text.len() % BLOCK_BYTES, 0);
                let detected = Padding::detect(&text[length..]);
                let expected = if text.len() == length { Padding::Pkcs7 } else { padding };
                assert_eq!(detected, Some(expected), "{length}");
            }
        }
    }

    proptest! {
        #[test]
        fn padding_detection_matches_the_reference_implementation(
            head in proptest::collection::vec(prop::sample::select(vec![0, 9, 10, 13, 32, 0x80, 1, 2, 3, 16, 255]), 0..20),
            byte in prop_oneof![0_u8..=33, Just(0x80)],
            times in 0_usize..36,
        ) {
            let tail = [head, vec![byte; times]].concat();
            prop_assert_eq!(Padding::detect(&tail).is_some(), is_valid_padding(&tail), "{:?}", tail);
        }

        #[test]
        fn arbitrary_tails_match_the_reference_implementation(tail: Vec<u8>) {
            prop_assert_eq!(Padding::detect(&tail).is_some(), is_valid_padding(&tail));
        }
    }
}
