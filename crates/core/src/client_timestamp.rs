//! The client's timestamp of a salted proof (freshness, replay protection), with the text that was sent, because the
//! client's digest is over a text and not over a number.

use std::borrow::Cow;
use std::fmt;

/// The longest accepted text, in bytes.
const MAX_LENGTH: usize = 32;
/// Integers below this are exact in a double. A text with a fraction or an exponent was written from a double.
const MAX_EXACT_DOUBLE: u64 = 1 << 53;
/// The smallest integer that Java's `Double.toString` writes with an exponent.
const JAVA_EXPONENT_MIN: u64 = 10_000_000;
/// Integers of 13 digits are milliseconds: as seconds they would be 30,000 years in the future.
const MILLISECOND_RANGE: std::ops::Range<u64> = 1_000_000_000_000..10_000_000_000_000;

/// The time at which a client claims to have salted a digest: an integer of seconds or milliseconds since the Unix
/// epoch. The integer may be written as a double (`1795691504.0`, `1.795691504E9`), in quotes, and with white space
/// around it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientTimestamp {
    text: [u8; MAX_LENGTH],
    text_length: u8,
    integer: u64,
}

impl ClientTimestamp {
    /// Parses the text that the client sent. `None` if it has more than 32 bytes, or is not an integer below 2^63 (2^53
    /// if written as a double) without sign and leading zeros.
    pub fn parse(sent: &str) -> Option<Self> {
        let mut text = [0; MAX_LENGTH];
        text.get_mut(..sent.len())?.copy_from_slice(sent.as_bytes());
        Some(Self { text, text_length: u8::try_from(sent.len()).ok()?, integer: parse_integer(strip_quotes(sent))? })
    }

    /// The time in seconds since the Unix epoch; milliseconds are rounded down.
    pub fn seconds(&self) -> u64 {
        if MILLISECOND_RANGE.contains(&self.integer) { self.integer / 1_000 } else { self.integer }
    }

    /// The text that the client sent.
    pub fn as_sent(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.text_length)]).unwrap_or_default()
    }

    /// The integer in the unit in which it was sent. It is the same for all candidate texts of a timestamp.
    pub(crate) fn integer(&self) -> u64 {
        self.integer
    }

    /// The texts over which the client may have computed the digest, each once, at most four: the text as sent; without
    /// quotes and white space; the integer in decimal digits; and for a double, the form that Java writes, because a
    /// JSON number with a fraction or an exponent arrives here as `1795691504.0` whichever of the two the client wrote.
    /// All texts denote the same integer, and their number depends only on the sent text (timing side channel).
    pub fn candidate_texts(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let sent = self.as_sent();
        let unquoted = strip_quotes(sent);
        let is_decimal = unquoted.bytes().all(|byte| byte.is_ascii_digit());
        let without_quotes = (unquoted != sent).then_some(Cow::Borrowed(unquoted));
        let decimal = (!is_decimal).then(|| Cow::Owned(self.integer.to_string()));
        let java = (!is_decimal && self.integer >= JAVA_EXPONENT_MIN).then(|| java_double_string(self.integer));
        let java = java.filter(|text| text != unquoted && text != sent).map(Cow::Owned);
        std::iter::once(Cow::Borrowed(sent)).chain(without_quotes).chain(decimal).chain(java)
    }
}

impl From<u64> for ClientTimestamp {
    /// The timestamp that a client sends as the decimal digits of `integer`.
    fn from(integer: u64) -> Self {
        let (mut text, digits) = ([0; MAX_LENGTH], integer.to_string());
        text[..digits.len()].copy_from_slice(digits.as_bytes());
        Self { text, text_length: u8::try_from(digits.len()).unwrap_or_default(), integer }
    }
}

impl fmt::Debug for ClientTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.integer.fmt(f)
    }
}

/// Strips one pair of quotes, and white space outside and inside it.
fn strip_quotes(sent: &str) -> &str {
    let text = sent.trim();
    let unquoted = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    unquoted.unwrap_or(text).trim()
}

/// An integer of at least [`JAVA_EXPONENT_MIN`] as Java's `Double.toString` writes it.
fn java_double_string(integer: u64) -> String {
    let text = format!("{:E}", integer as f64);
    if text.contains('.') { text } else { text.replace('E', ".0E") }
}

/// Parses an integer in decimal digits or written as a double; `None` for anything else.
fn parse_integer(text: &str) -> Option<u64> {
    let is_decimal = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal(text) {
        let has_leading_zero = text.len() > 1 && text.starts_with('0');
        return text.parse().ok().filter(|integer: &u64| !has_leading_zero && i64::try_from(*integer).is_ok());
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
    let is_number = is_decimal(integer)
        && (fraction.is_empty() || is_decimal(fraction))
        && is_decimal(exponent)
        && exponent.len() <= 2;
    let fraction = fraction.trim_end_matches('0');
    let zeros = exponent.parse::<usize>().ok().filter(|_| is_number)?.checked_sub(fraction.len())?;
    if integer.len() > 1 && integer.starts_with('0') {
        return None;
    }
    let digits: u64 = format!("{integer}{fraction}").parse().ok()?;
    digits.checked_mul(10_u64.checked_pow(u32::try_from(zeros).ok()?)?).filter(|integer| *integer < MAX_EXACT_DOUBLE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The seconds and the candidate texts of a timestamp.
    fn parse_with_candidates(sent: &str) -> Option<(u64, Vec<String>)> {
        let timestamp = ClientTimestamp::parse(sent)?;
        Some((timestamp.seconds(), timestamp.candidate_texts().map(Cow::into_owned).collect()))
    }

    #[test]
    fn a_plain_integer_has_one_candidate_text() {
        for (sent, seconds) in [
            ("1511839692", 1_511_839_692),
            ("0", 0),
            ("1795691504123", 1_795_691_504),
            ("1795691504000", 1_795_691_504),
            // Seconds, even if far in the future.
            ("179569150412", 179_569_150_412),
            ("17956915041234", 17_956_915_041_234),
            ("9223372036854775807", i64::MAX.unsigned_abs()),
        ] {
            assert_eq!(parse_with_candidates(sent), Some((seconds, vec![sent.to_owned()])), "{sent}");
            assert_eq!(ClientTimestamp::from(sent.parse::<u64>().unwrap()), ClientTimestamp::parse(sent).unwrap());
        }
    }

    #[test]
    fn quoted_and_double_forms_have_the_plain_and_java_forms_as_further_candidates() {
        for (sent, other_texts) in [
            (" 1795691504", ["1795691504"].as_slice()),
            ("1795691504\n", &["1795691504"]),
            ("\"1795691504\"", &["1795691504"]),
            (" '1795691504' ", &["1795691504"]),
            ("1795691504.0", &["1795691504", "1.795691504E9"]),
            ("1795691504.", &["1795691504", "1.795691504E9"]),
            ("1795691504.000000", &["1795691504", "1.795691504E9"]),
            ("1.795691504E9", &["1795691504"]),
            ("1.795691504e+09", &["1795691504", "1.795691504E9"]),
            ("17956915.04e2", &["1795691504", "1.795691504E9"]),
            ("\" 1795691504.0 \"", &["1795691504.0", "1795691504", "1.795691504E9"]),
        ] {
            let texts = std::iter::once(sent).chain(other_texts.iter().copied()).map(str::to_owned).collect();
            assert_eq!(parse_with_candidates(sent), Some((1_795_691_504, texts)), "{sent:?}");
        }
        assert_eq!(parse_with_candidates("1.795691504123E12").unwrap().0, 1_795_691_504);
        assert_eq!(parse_with_candidates("0.0").unwrap().1, ["0.0", "0"]);
        assert_eq!(parse_with_candidates("2000000000.0").unwrap().1, ["2000000000.0", "2000000000", "2.0E9"]);
    }

    #[test]
    fn anything_but_an_unsigned_integer_is_rejected() {
        for bad in [
            "",
            " ",
            "\"\"",
            "\"",
            "-1",
            "+1",
            "01",
            "01.0",
            "1.5",
            "1.0000000001",
            "15e-1",
            "1e",
            "e9",
            ".0",
            "1e9.0",
            "1e+",
            "0x10",
            "１",
            "1 2",
            "1,5",
            "NaN",
            "inf",
            "1_0",
            "9223372036854775808",
            "99999999999999999999",
            "9007199254740992.0",
            "1e16",
            "1e99",
            "1e100",
            "\"1\"\"",
            "1.0.0",
            "1795691504.00000000000000000000000",
        ] {
            assert_eq!(parse_with_candidates(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_candidate_text_denotes_the_same_instant(sent in "[ \"'0-9.eE+]{0,33}") {
            let Some((seconds, texts)) = parse_with_candidates(&sent) else { return Ok(()) };
            prop_assert!(texts.len() <= 4);
            prop_assert_eq!(&texts[0], &sent);
            for text in &texts {
                prop_assert_eq!(parse_with_candidates(text).unwrap().0, seconds, "{}", text);
                let integer_of = |text: &str| ClientTimestamp::parse(text).unwrap().integer();
                prop_assert_eq!(integer_of(text), integer_of(&sent), "{}", text);
            }
            let mut distinct = texts.clone();
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), texts.len());
        }

        #[test]
        fn parsing_never_panics(sent in "\\PC{0,40}") {
            let _ = parse_with_candidates(&sent);
        }
    }
}
