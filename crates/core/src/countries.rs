//! Protection against SMS pumping: the calling codes (ITU-T E.164) of the countries to which short messages are sent.

use std::fmt;

use crate::identifier::Phone;

/// The calling codes of two digits. Calling codes that start with 1 or 7 have one digit; all others have three.
const TWO_DIGIT_CODES: &str = "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 \
                             65 66 81 82 84 86 90 91 92 93 94 95 98";

/// The longest accepted prefix, in digits: a calling code with the digits of an area.
const MAX_PREFIX_DIGITS: usize = 7;

/// The countries, or areas of countries, to which short messages may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Countries(Vec<String>);

impl Countries {
    /// Parses calling codes separated by commas, such as `86,852,853`. A code has no leading zeros; a `+` before it is
    /// ignored. The digits of an area may follow the code: `1` is North America and the Caribbean, `1604` is Vancouver.
    ///
    /// # Errors
    /// A sentence that names the invalid code.
    pub fn parse(text: &str) -> Result<Self, String> {
        let codes = text.split(',').map(str::trim).filter(|code| !code.is_empty());
        let codes = codes.map(|code| match code.strip_prefix('+').unwrap_or(code) {
            digits if is_calling_code(digits) => Ok(digits.to_owned()),
            _ => Err(format!("`{code}` is not a calling code such as 86, 852 or 1")),
        });
        Ok(Self(codes.collect::<Result<_, _>>()?))
    }

    /// Whether `phone` is in one of these countries.
    pub fn contains(&self, phone: &Phone) -> bool {
        // No calling code is a prefix of another, and each entry has a complete code: 86 does not match +88216….
        let number = phone.e164_digits();
        self.0.iter().any(|code| number.starts_with(code.as_str()))
    }
}

impl fmt::Display for Countries {
    /// Writes the codes in the form that [`Countries::parse`] accepts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl Default for Countries {
    /// Mainland China.
    fn default() -> Self {
        Self(vec!["86".to_owned()])
    }
}

/// Whether `digits` are a complete calling code, with or without the digits of an area.
fn is_calling_code(digits: &str) -> bool {
    let first_two = digits.get(..2).unwrap_or_default();
    let length = match digits.as_bytes().first() {
        None | Some(b'0') => return false,
        Some(b'1' | b'7') => 1,
        Some(_) if TWO_DIGIT_CODES.split(' ').any(|code| code == first_two) => 2,
        Some(_) => 3,
    };
    (length..=MAX_PREFIX_DIGITS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(text: &str) -> Phone {
        Phone::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn the_default_allows_only_mainland_china() {
        let china = Countries::default();
        assert_eq!(Countries::parse("86").as_ref(), Ok(&china));
        for inside in ["13800138000", "+8613800138000"] {
            assert!(china.contains(&phone(inside)), "{inside}");
        }
        for outside in ["+88216123456", "+8860912345678", "+85251234567", "+14155550123", "+81312345678"] {
            assert!(!china.contains(&phone(outside)), "{outside}");
        }
    }

    #[test]
    fn calling_codes_must_be_complete_and_may_include_an_area() {
        let served = Countries::parse(" 852, +7 ,1604,886").unwrap();
        for inside in ["+85251234567", "+79161234567", "+16045550123", "+886912345678"] {
            assert!(served.contains(&phone(inside)), "{inside}");
        }
        for outside in ["13800138000", "+14155550123", "+88216123456", "+85366123456"] {
            assert!(!served.contains(&phone(outside)), "{outside}");
        }
        for bad in ["8", "88", "85", "0", "086", "CN", "86x", "12345678", "8 6"] {
            assert!(Countries::parse(bad).unwrap_err().contains("calling code"), "{bad}");
        }
        assert!(!Countries::parse("").unwrap().contains(&phone("13800138000")), "an empty list serves no country");
    }
}
