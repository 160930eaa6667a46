//! Verification codes (one-time codes): six digits, stored as keyed hashes that are bound to dialect, purpose, subject
//! and app.

use std::fmt;

use strum::IntoStaticStr;

use crate::mac::{MacKey, MacTag};
use crate::random::Random;
use crate::session::DialectName;
use crate::text;

/// How many digits a code has.
const CODE_DIGITS: usize = 6;

/// The purpose that a code may be used for. [`Action::all`](crate::event::Action::all) lists actions with the default
/// purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum CodePurpose {
    /// Registration (MeFP usage 1).
    Register,
    /// Reset of a password (MeFP usage 2, JWT).
    Reset,
    /// Any use in the dialect: a challenge, or the portal's codes, which have no stated purpose.
    #[default]
    Any,
}

impl CodePurpose {
    /// The name in stores, metrics and the audit log.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The key that a code is stored under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CodeKey(String);

impl CodeKey {
    /// The key of a code that `dialect` sent for `purpose`. `subject` is the recipient's canonical key, or the
    /// account's key where the request with the code does not repeat the recipient (JWT).
    pub fn new(dialect: DialectName, purpose: CodePurpose, subject: &str) -> Self {
        Self(format!("{dialect}:{}:{subject}", purpose.as_str()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A code as it is delivered. Never printed.
#[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct Code(String);

impl Code {
    /// Generates a code: six digits, uniformly distributed.
    pub fn generate(random: &dyn Random) -> Self {
        Self(format!("{:06}", random.uniform_below(1_000_000)))
    }

    /// Normalizes a code as a person typed it: separators and invisible characters are removed, full-width digits
    /// become ASCII, and a number of fewer than six digits is padded with the leading zeros that it has lost. Any text
    /// is accepted, but only six digits can match a code.
    pub fn from_user_input(text: &str) -> Self {
        let mut digits = text::normalize_typed(text);
        if (1..CODE_DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            digits.insert_str(0, &"0".repeat(CODE_DIGITS - digits.len()));
        }
        Self(digits)
    }

    /// The code's digits, for delivery to the recipient only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The keyed hash that is stored. `app` is the app through which the code was sent (empty if none); only that app
    /// may use the code.
    pub fn tag(&self, mac_key: &MacKey, code_key: &CodeKey, app: &str) -> MacTag {
        mac_key.tag(&[b"code", code_key.as_str().as_bytes(), app.as_bytes(), self.0.as_bytes()])
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hex;
    use crate::random::OsRandom;
    use zeroize::Zeroizing;

    #[test]
    fn a_generated_code_has_six_digits_and_parses_back() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let code = Code::generate(&OsRandom);
            assert!(code.expose().len() == 6 && code.expose().bytes().all(|byte| byte.is_ascii_digit()));
            assert_eq!(Code::from_user_input(&format!(" {}\n", code.expose())).expose(), code.expose());
            seen.insert(code.expose().to_owned());
        }
        assert!(seen.len() > 190, "codes repeat too often: {}", seen.len());
    }

    #[test]
    fn typed_codes_are_normalized_to_six_digits() {
        for text in [
            "012345",
            "012 345",
            "012-345",
            " 012\u{a0}345",
            "\u{202d}012345\u{202c}",
            "０１２３４５",
            "12345",
            " 12345 ",
        ] {
            assert_eq!(Code::from_user_input(text).expose(), "012345", "{text:?}");
        }
        assert_eq!(Code::from_user_input("7").expose(), "000007");
        for text in ["", " ", "-"] {
            assert_eq!(Code::from_user_input(text).expose(), "", "{text:?}");
        }
        for text in ["0123456", "12345x", "x", "-1.5"] {
            assert_eq!(Code::from_user_input(text).expose(), text.trim_start_matches('-'), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn normalizing_a_typed_code_is_idempotent(text in "[0-9a-zA-Z０-９ \\-\u{a0}\u{200b}]{0,40}") {
            let once = Code::from_user_input(&text);
            let twice = Code::from_user_input(once.expose());
            prop_assert_eq!(twice.expose(), once.expose());
        }
    }

    /// Computed by Python's `hmac`; the length of each part precedes it in eight bytes.
    #[test]
    fn the_code_hash_matches_a_reference_hmac() {
        let key = MacKey::new(Zeroizing::new([0xab; 32]));
        let code_key = CodeKey::new("mefp", CodePurpose::Reset, "p:+8613800138000");
        let tag = Code::from_user_input("629457").tag(&key, &code_key, "melink");
        assert_eq!(hex::encode(&tag), "09724eebbb81785b597b10513a0a5b048c46af2fea23d98263ce25d8f6c31204");
        assert_eq!(code_key.as_str(), "mefp:reset:p:+8613800138000");
    }

    #[test]
    fn the_code_hash_depends_on_every_bound_value() {
        let (key, other_key) = (MacKey::new(Zeroizing::new([1; 32])), MacKey::new(Zeroizing::new([2; 32])));
        let code_key = |dialect, purpose, subject| CodeKey::new(dialect, purpose, subject);
        let code = Code::from_user_input("629457");
        let tags = [
            code.tag(&key, &code_key("mefp", CodePurpose::Reset, "p:1"), "melink"),
            code.tag(&other_key, &code_key("mefp", CodePurpose::Reset, "p:1"), "melink"),
            code.tag(&key, &code_key("portal", CodePurpose::Reset, "p:1"), "melink"),
            code.tag(&key, &code_key("mefp", CodePurpose::Register, "p:1"), "melink"),
            code.tag(&key, &code_key("mefp", CodePurpose::Any, "p:1"), "melink"),
            code.tag(&key, &code_key("mefp", CodePurpose::Reset, "p:2"), "melink"),
            code.tag(&key, &code_key("mefp", CodePurpose::Reset, "p:1"), "wlfz"),
            code.tag(&key, &code_key("mefp", CodePurpose::Reset, "p:1"), ""),
            Code::from_user_input("629458").tag(&key, &code_key("mefp", CodePurpose::Reset, "p:1"), "melink"),
        ];
        let distinct: std::collections::BTreeSet<_> = tags.iter().collect();
        assert_eq!(distinct.len(), tags.len());
    }
}
