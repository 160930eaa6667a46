//! What fills a plaintext up to whole blocks, behind the object in it.
//!
//! The API document does not pad at all (`docs/PROTOCOLS.md`, MeFP), so each app found a way of its own. All of these
//! are taken: nothing; zeros; spaces; PKCS#7 (to blocks of 16 or 32, as WeChat's encoder pads), with NULs before it or
//! not; ISO/IEC 7816-4; ANSI X9.23; ISO 10126 of less than a block. White space of the JSON text may stand before any
//! of them.

use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _, ConstantTimeGreater as _};

/// AES's block, in bytes.
pub(crate) const BLOCK_BYTES: usize = 16;
/// The most that may follow the object, in bytes.
const MAX_PADDING_BYTES: usize = 32;

/// How an app pads, as far as answers are padded the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// PKCS#7; also where a request needed no padding, or has one that an app takes off by its last byte.
    #[default]
    Pkcs7,
    /// Zeros to the end of the block, none if it is full.
    Zeros,
    /// Spaces likewise.
    Spaces,
}

impl Padding {
    /// Judges what follows the object. `None` if it is no padding. Each way is tried at each place it can begin, and nothing
    /// ends early: the time shows no more than the answer does.
    pub(crate) fn detect(rest: &[u8]) -> Option<Self> {
        if rest.len() > MAX_PADDING_BYTES {
            return None;
        }
        let mut fits = Choice::from(0);
        let mut fills = Choice::from(0);
        // A whole block behind an object that ends with a block may be another message's, appended to learn its last byte.
        let is_part = Choice::from(u8::from(rest.len() < BLOCK_BYTES));
        // Whether all before a place is white space of JSON.
        let mut white = Choice::from(1);
        for start in 0..=rest.len() {
            let tail = &rest[start..];
            let filler = tail.iter().fold(Choice::from(1), |all, byte| all & (byte.ct_eq(&0) | byte.ct_eq(&b' ')));
            fills |= white & filler;
            fits |= white & (filler | is_length_padding(tail, is_part) | is_iso7816_padding(tail));
            if let Some(byte) = tail.first() {
                white &= byte.ct_eq(&b' ') | byte.ct_eq(&b'\t') | byte.ct_eq(&b'\r') | byte.ct_eq(&b'\n');
            }
        }
        let last = rest.last().copied().unwrap_or_default();
        // 32 spaces are PKCS#7 of a whole block of 32, for 32 is a space; padding with spaces takes less than a block of it.
        let spaces = last.ct_eq(&b' ') & !Choice::from(u8::from(rest.len() == MAX_PADDING_BYTES));
        let way = u8::conditional_select(&0, &1, fills & last.ct_eq(&0) & !Choice::from(u8::from(rest.is_empty())));
        let way = u8::conditional_select(&way, &2, fills & spaces);
        bool::from(fits).then_some(match way {
            1 => Self::Zeros,
            2 => Self::Spaces,
            _ => Self::Pkcs7,
        })
    }

    /// Fills `text` up to whole blocks.
    pub(crate) fn pad(self, text: &mut Vec<u8>) {
        let to_fill = BLOCK_BYTES - text.len() % BLOCK_BYTES;
        let (count, byte) = match self {
            Self::Pkcs7 => (to_fill, u8::try_from(to_fill).unwrap_or_default()),
            Self::Zeros => (to_fill % BLOCK_BYTES, 0),
            Self::Spaces => (to_fill % BLOCK_BYTES, b' '),
        };
        text.resize(text.len() + count, byte);
    }
}

/// What ends in its own length: PKCS#7 behind NULs or nothing; X9.23, zeros and the length of all; ISO 10126, anything
/// and its length, where all behind the object `is_part` of a block.
fn is_length_padding(tail: &[u8], is_part: Choice) -> Choice {
    let Some((last, before)) = tail.split_last() else { return Choice::from(0) };
    let length = u8::try_from(tail.len()).unwrap_or_default();
    let whole = last.ct_eq(&length);
    let (mut pkcs7, mut zeros) = (!last.ct_eq(&0) & !last.ct_gt(&length), Choice::from(1));
    for (back, byte) in (1_u8..).zip(before.iter().rev()) {
        // Those at the end are its length, those before them NULs.
        pkcs7 &= u8::conditional_select(&0, last, last.ct_gt(&back)).ct_eq(byte);
        zeros &= byte.ct_eq(&0);
    }
    pkcs7 | (whole & (zeros | is_part))
}

/// ISO/IEC 7816-4: 0x80 and zeros.
fn is_iso7816_padding(tail: &[u8]) -> Choice {
    let Some((first, behind)) = tail.split_first() else { return Choice::from(0) };
    behind.iter().fold(first.ct_eq(&0x80), |all, byte| all & byte.ct_eq(&0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same rule, written for reading.
    fn reference_rule(rest: &[u8]) -> bool {
        let is_white = |byte: &u8| b" \t\r\n".contains(byte);
        let fits = |tail: &[u8]| {
            let length = tail.len();
            let last = tail.last().map_or(0, |last| usize::from(*last));
            let zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
            let pkcs7 = (1..=length).contains(&last)
                && tail[length - last..].iter().all(|byte| usize::from(*byte) == last)
                && zeros(&tail[..length - last]);
            let x923 = last > 0 && last == length && zeros(&tail[..length - 1]);
            let iso10126 = last > 0 && last == length && rest.len() < 16;
            let iso7816 = tail.first() == Some(&0x80) && zeros(&tail[1..]);
            tail.iter().all(|byte| matches!(byte, 0 | b' ')) || pkcs7 || x923 || iso10126 || iso7816
        };
        let white = rest.iter().take_while(|byte| is_white(byte)).count();
        rest.len() <= 32 && (0..=white).any(|start| fits(&rest[start..]))
    }

    #[test]
    fn a_response_uses_the_padding_of_its_request() {
        for (rest, padding) in [
            (vec![], Some(Padding::Pkcs7)),
            (vec![0; 5], Some(Padding::Zeros)),
            (vec![0; 32], Some(Padding::Zeros)),
            (vec![b' '; 5], Some(Padding::Spaces)),
            (vec![b' '; 16], Some(Padding::Spaces)),
            // WeChat's of a whole block of 32.
            (vec![32; 32], Some(Padding::Pkcs7)),
            (vec![1], Some(Padding::Pkcs7)),
            (vec![16; 16], Some(Padding::Pkcs7)),
            (vec![31; 31], Some(Padding::Pkcs7)),
            // Lengths that are white space as well: tabs, line feeds, carriage returns.
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
            // A whole block of ISO 10126 is refused, and one with white space before it.
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
            assert_eq!(Padding::detect(&rest), padding, "{rest:?}");
        }
    }

    #[test]
    fn padded_text_is_whole_blocks_and_its_padding_is_detected() {
        for padding in [Padding::Pkcs7, Padding::Zeros, Padding::Spaces] {
            for length in 0..40 {
                let mut text = vec![b'}'; length];
                padding.pad(&mut text);
                assert_eq!(text.len() % BLOCK_BYTES, 0);
                let judged = Padding::detect(&text[length..]);
                let expected = if text.len() == length { Padding::Pkcs7 } else { padding };
                assert_eq!(judged, Some(expected), "{length}");
            }
        }
    }

    proptest! {
        #[test]
        fn padding_detection_matches_the_reference_rule(
            head in proptest::collection::vec(prop::sample::select(vec![0, 9, 10, 13, 32, 0x80, 1, 2, 3, 16, 255]), 0..20),
            byte in prop_oneof![0_u8..=33, Just(0x80)],
            times in 0_usize..36,
        ) {
            let tail = [head, vec![byte; times]].concat();
            prop_assert_eq!(Padding::detect(&tail).is_some(), reference_rule(&tail), "{:?}", tail);
        }

        #[test]
        fn arbitrary_tails_match_the_reference_rule(tail: Vec<u8>) {
            prop_assert_eq!(Padding::detect(&tail).is_some(), reference_rule(&tail));
        }
    }
}
