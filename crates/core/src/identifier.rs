//! Identifiers that find a user: user name, phone number or e-mail address.
//!
//! All three share one namespace and are compared by a canonical key: the 11 digits of a mobile number of mainland
//! China, in whatever spelling; any other text in NFKC and lower case. A key belongs to at most one user. A user name
//! that can be read as a mobile number has the key of that number.

use unicode_normalization::UnicodeNormalization;

use crate::text::{find_invisible, is_separator};

/// China's calling code.
const CHINA_CALLING_CODE: &str = "86";
/// The prefixes of a mobile number; `86` because the `+` of an unescaped form value arrives as a space.
const CHINA_PREFIXES: [&str; 4] = ["+86", "86", "0086", ""];
/// The longest spelling of a mobile number without separators: `0086` and 11 digits.
const MAX_MOBILE_LENGTH: usize = 15;

/// The longest identifier, in bytes, both as given and as a canonical key (the longest address of RFC 5321).
pub const MAX_IDENTIFIER_LENGTH: usize = 254;

/// The content of a login field: any text that could identify a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identifier {
    key: String,
    text: String,
}

impl Identifier {
    /// Parses a login field. `None` if no user can have this identifier: it is empty, has over
    /// [`MAX_IDENTIFIER_LENGTH`] bytes as given or in canonical form, or has control characters.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let key = canonicalize(text)?;
        Some(Self { key, text: text.to_owned() })
    }

    /// The canonical key, by which users are compared and found.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The text as given, without white space around it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The canonical key of `text`; `None` if it is empty, too long, or has control characters.
fn canonicalize(text: &str) -> Option<String> {
    if text.len() > MAX_IDENTIFIER_LENGTH {
        return None;
    }
    let folded: String = text.nfkc().collect::<String>().to_lowercase().nfkc().collect::<String>().trim().to_owned();
    if folded.is_empty() || folded.len() > MAX_IDENTIFIER_LENGTH || folded.chars().any(char::is_control) {
        return None;
    }
    Some(canonical_mobile(&folded).unwrap_or(folded))
}

/// The 11 digits of a mobile number of mainland China; `None` if `text` is anything else. The calling code may precede
/// the digits, and separators ([`is_separator`]) may be anywhere.
fn canonical_mobile(text: &str) -> Option<String> {
    let mut digits = String::with_capacity(MAX_MOBILE_LENGTH);
    for character in text.chars().filter(|character| !is_separator(*character)) {
        let is_allowed = character.is_ascii_digit() || (character == '+' && digits.is_empty());
        if !is_allowed || digits.len() == MAX_MOBILE_LENGTH {
            return None;
        }
        digits.push(character);
    }
    let national = CHINA_PREFIXES.iter().filter_map(|prefix| digits.strip_prefix(prefix));
    national.map(str::to_owned).find(|national| is_mainland_mobile(national))
}

/// Whether `key` is a mobile number of mainland China as the API documents define it: `1` and ten digits.
fn is_mainland_mobile(key: &str) -> bool {
    key.len() == 11 && key.starts_with('1') && is_all_digits(key)
}

fn is_all_digits(key: &str) -> bool {
    key.bytes().all(|b| b.is_ascii_digit())
}

macro_rules! identifier_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(Identifier);

        impl $name {
            /// The canonical key, by which users are compared and found.
            pub fn key(&self) -> &str {
                self.0.key()
            }

            /// The text as it is stored and shown.
            pub fn text(&self) -> &str {
                self.0.text()
            }

            /// The value as an identifier.
            pub fn identifier(&self) -> &Identifier {
                &self.0
            }
        }
    };
}

identifier_type! {
    /// A phone number.
    Phone
}

impl Phone {
    /// Parses a phone number that a client gives: a mobile number of mainland China in any spelling, or another number
    /// in E.164 form (`+`, 7 to 15 digits, no leading 0). After China's `+86` only mobile numbers are accepted, because
    /// other numbers of mainland China receive no short messages.
    pub fn parse(text: &str) -> Option<Self> {
        let id = Identifier::parse(text)?;
        let is_e164 =
            |digits: &str| (7..=15).contains(&digits.len()) && is_all_digits(digits) && !digits.starts_with('0');
        // The canonical key of a mobile number does not have the +86.
        let is_foreign = |digits: &str| is_e164(digits) && !digits.starts_with(CHINA_CALLING_CODE);
        let is_accepted = is_mainland_mobile(id.key()) || id.key().strip_prefix('+').is_some_and(is_foreign);
        is_accepted.then(|| Self::with_display_text(id))
    }

    /// Stores and shows the text as given if it is the canonical key or `+` and digits; else the canonical key.
    fn with_display_text(id: Identifier) -> Self {
        let is_plain = id.text == id.key || id.text.strip_prefix('+').is_some_and(is_all_digits);
        Self(if is_plain { id } else { Identifier { text: id.key.clone(), key: id.key } })
    }

    /// The digits with the calling code. A number without a calling code is taken as a number of mainland China.
    pub fn e164_digits(&self) -> String {
        self.key().strip_prefix('+').map_or_else(|| format!("{CHINA_CALLING_CODE}{}", self.key()), str::to_owned)
    }

    /// Parses a phone number that an administrator stores: as [`Phone::parse`], or any 5 to 15 digits.
    pub fn parse_provisioned(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| {
            let id = Identifier::parse(text)?;
            ((5..=15).contains(&id.key().len()) && is_all_digits(id.key())).then(|| Self::with_display_text(id))
        })
    }
}

identifier_type! {
    /// An e-mail address.
    Email
}

impl Email {
    /// Parses an e-mail address that a client gives: one `@`, a local part of up to 64 bytes without white space,
    /// quotes and invisible characters, and a host name with at least one dot.
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_provisioned(text).filter(|email| {
            email.key().rsplit_once('@').is_some_and(|(_, host)| {
                host.contains('.') && host.split('.').all(|l| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-'))
            })
        })
    }

    /// Parses an e-mail address that an administrator stores: as [`Email::parse`], but without a check of the host's
    /// labels, so the host needs no dot (the sample in the TMS document is `1@hna`).
    pub fn parse_provisioned(text: &str) -> Option<Self> {
        let id = Identifier::parse(text)?;
        let (local, host) = id.key().split_once('@')?;
        if find_invisible(id.text()).is_some() {
            return None;
        }
        let is_local_valid = (1..=64).contains(&local.len()) && !local.chars().any(|c| c.is_whitespace() || c == '"');
        let is_host_valid = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-'));
        (is_local_valid && is_host_valid).then_some(Self(id))
    }
}

identifier_type! {
    /// A user name: an identifier of up to 64 visible characters without `@`.
    Username
}

impl Username {
    /// Parses a user name; `None` if it is no identifier, has over 64 or invisible characters, or has an `@`.
    pub fn parse(text: &str) -> Option<Self> {
        let id = Identifier::parse(text)?;
        let is_visible = find_invisible(id.text()).is_none();
        (is_visible && id.key().chars().count() <= 64 && !id.key().contains('@')).then_some(Self(id))
    }
}

/// Where a code can be sent: a phone or an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Recipient {
    /// The number to which a short message is sent.
    Phone(Phone),
    /// The address to which mail is sent.
    Email(Email),
}

impl Recipient {
    /// Parses a phone number or an e-mail address that a client gives: see [`Phone::parse`] and [`Email::parse`].
    pub fn parse(text: &str) -> Option<Self> {
        Phone::parse(text).map(Self::Phone).or_else(|| Email::parse(text).map(Self::Email))
    }

    /// The recipient as an identifier.
    pub fn identifier(&self) -> &Identifier {
        match self {
            Self::Phone(phone) => phone.identifier(),
            Self::Email(email) => email.identifier(),
        }
    }

    /// The canonical key.
    pub fn key(&self) -> &str {
        self.identifier().key()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identifiers_have_1_to_254_bytes_and_no_control_characters() {
        assert!(Identifier::parse(&"x".repeat(MAX_IDENTIFIER_LENGTH)).is_some());
        // Too long as given, or only in canonical form (NFKC expands ﷺ to 18 characters).
        for bad in [
            "x".repeat(MAX_IDENTIFIER_LENGTH + 1),
            "\u{fb03}".repeat(MAX_IDENTIFIER_LENGTH / 3 + 1),
            "ﷺ".repeat(80),
            " ".into(),
            "a\u{7}b".into(),
        ] {
            assert_eq!(Identifier::parse(&bad), None, "{bad:?}");
        }
        // A number that is no mobile number keeps its +86.
        assert_eq!(Identifier::parse("+862112345678").unwrap().key(), "+862112345678");
    }

    #[test]
    fn equivalent_spellings_share_one_key() {
        let keys_of = |texts: &[&str]| texts.iter().map(|t| Identifier::parse(t).unwrap().key).collect::<Vec<_>>();
        assert_eq!(keys_of(&["Mark", " mark ", "ＭＡＲＫ"]), ["mark"; 3]);
        assert_eq!(keys_of(&["13800138000", "+8613800138000", "１３８００１３８０００"]), ["13800138000"; 3]);
        assert_eq!(keys_of(&["A@QQ.com", "a@qq.COM"]), ["a@qq.com"; 2]);
    }

    /// Sources of these spellings: docs/FIELD.md.
    #[test]
    fn every_spelling_of_a_mainland_mobile_has_its_11_digit_key() {
        for text in [
            "13800138000",
            "138 0013 8000",
            "138-0013-8000",
            "+8613800138000",
            "+86 13800138000",
            "+86-138-0013-8000",
            "+86\u{a0}138\u{a0}0013\u{a0}8000",
            "\u{202d}+86 138 0013 8000\u{202c}",
            "\u{202a}13800138000\u{202c}",
            "8613800138000",
            "86 138 0013 8000",
            "86-13800138000",
            " 8613800138000",
            " 86 13800138000",
            "008613800138000",
            "0086-138-0013-8000",
            "00 86 13800138000",
            "１３８００１３８０００",
            "＋８６１３８００１３８０００",
            "１３８－００１３－８０００",
            "+86\u{2011}138\u{2013}0013\u{2212}8000",
            "138\u{200b}0013\u{feff}8000",
        ] {
            let phone = Phone::parse(text).unwrap_or_else(|| panic!("{text:?}"));
            assert_eq!((phone.key(), phone.e164_digits().as_str()), ("13800138000", "8613800138000"), "{text:?}");
            let shown = phone.text();
            assert!(shown == "13800138000" || (shown == "+8613800138000" && text == shown), "{text:?}: {shown:?}");
            let provisioned = Phone::parse_provisioned(text).unwrap();
            let recipient = Recipient::parse(text).unwrap();
            assert_eq!((provisioned.key(), recipient.key()), ("13800138000", "13800138000"), "{text:?}");
        }
    }

    #[test]
    fn near_miss_mobile_numbers_are_not_canonicalized() {
        for text in [
            "013800138000",
            "+0086 13800138000",
            "868613800138000",
            "8623800138000",
            "861380013800",
            "86138001380000",
            "+1 415-555-0123",
            "++8613800138000",
            "86+13800138000",
            "138.0013.8000",
            "(138)00138000",
            "13800138000@qq.com",
            "a13800138000",
            "-",
            "2017-11-23 04:59",
            "10-86 10-86",
        ] {
            assert_eq!(Identifier::parse(text).unwrap().key(), text, "{text:?}");
        }
        // No identifier has a control character.
        assert!(Identifier::parse("138\n00138000").is_none());
    }

    #[test]
    fn a_username_that_parses_as_a_phone_has_the_phone_key() {
        let phone = Phone::parse("13800138000").unwrap();
        for name in ["8613800138000", "0086-13800138000", "+8613800138000", "138 0013 8000"] {
            let name = Username::parse(name).unwrap();
            assert_eq!(name.key(), phone.key());
            assert_ne!(name.text(), name.key(), "the text is shown as given");
        }
    }

    #[test]
    fn clients_and_administrators_may_give_different_phone_formats() {
        for good in ["13800138000", "+8613800138000", "+14155550123"] {
            assert!(Phone::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "1",
            "1380013800",
            "23800138000",
            "+0123456789",
            "+123456",
            "1380013800x",
            "a@b.c",
            "+862112345678",
            "+86",
        ] {
            assert!(Phone::parse(bad).is_none(), "{bad}");
        }
        assert!(Phone::parse_provisioned("1548736484").is_some());
        assert!(Phone::parse_provisioned("1234").is_none());
        assert_eq!(Phone::parse_provisioned("０１０８８８８").unwrap().text(), "0108888");
    }

    #[test]
    fn email_addresses_are_validated() {
        for good in ["123456@qq.cpom", "a.b+c@例子.cn"] {
            assert!(Email::parse(good).is_some(), "{good}");
        }
        for bad in ["@b.c", "a@", "a@b@c.d", "a b@c.d", "a@b..c", "a@.c", "1@hna", "a"] {
            assert!(Email::parse(bad).is_none(), "{bad}");
        }
        assert!(Email::parse_provisioned("1@hna").is_some());
    }

    #[test]
    fn new_usernames_and_emails_reject_invisible_characters() {
        for hidden in ["\u{202e}", "\u{200b}", "\u{200d}", "\u{feff}", "\u{2066}", "\u{2028}", "\u{ad}", "\u{e0001}"] {
            assert!(Username::parse(&format!("ma{hidden}rk")).is_none(), "{hidden:?}");
            assert!(Email::parse_provisioned(&format!("ma{hidden}rk@qq.com")).is_none(), "{hidden:?}");
            assert!(Recipient::parse(&format!("ma{hidden}rk@qq.com")).is_none(), "{hidden:?}");
            // Users of earlier versions may have user names with invisible characters, and can log in.
            assert!(Identifier::parse(&format!("ma{hidden}rk")).is_some(), "{hidden:?}");
        }
        assert!(Username::parse("欧阳娜娜 Mark-é").is_some());
    }

    proptest! {
        #[test]
        fn canonicalizing_a_key_is_idempotent(text in "\\PC{0,80}") {
            if let Some(id) = Identifier::parse(&text) {
                let reparsed = Identifier::parse(id.key()).unwrap();
                prop_assert_eq!(reparsed.key(), id.key());
                prop_assert!(id.key().len() <= MAX_IDENTIFIER_LENGTH);
            }
        }

        #[test]
        fn only_spellings_of_a_mobile_share_its_key(text in "[+0-9a\\- \u{a0}\u{202d}\u{ff11}]{0,20}", mobile in "1[0-9]{10}") {
            let Some(id) = Identifier::parse(&text) else { return Ok(()) };
            let digits: String = text.nfkc().filter(|c| !is_separator(*c)).collect();
            let national = digits.trim_start_matches('+');
            let national = national.strip_prefix("0086").or(national.strip_prefix("86")).unwrap_or(national);
            if is_mainland_mobile(id.key()) {
                prop_assert_eq!(id.key(), national);
            } else {
                let folded = text.nfkc().collect::<String>().to_lowercase();
                prop_assert_eq!(id.key(), folded.trim(), "nothing else changes");
            }
            let spaced: String = mobile.chars().flat_map(|digit| [digit, ' ']).collect();
            for spelling in [format!("+86{mobile}"), format!("86-{mobile}"), format!("0086 {mobile}"), spaced] {
                prop_assert_eq!(Identifier::parse(&spelling).map(|id| id.key), Some(mobile.clone()));
            }
        }
    }
}
