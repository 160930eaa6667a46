//! The names of clients and resource servers.

use std::fmt;

use uuid::Uuid;

use crate::app::App;
use crate::user::UserId;

/// A client's `client_id`: 1 to 64 letters, digits, `.`, `-` and `_`, which cannot be read as a user's id. The `sub` of
/// a token for the client itself is this id, so it must not collide with a user's (RFC 9700 4.15).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(String);

impl ClientId {
    /// Parses a client id; `None` if it is not valid, or is a UUID, 32 hex digits or only digits.
    pub fn parse(text: &str) -> Option<Self> {
        is_valid(text).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a resource server, with the syntax of a [`ClientId`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName(String);

impl ResourceName {
    /// Parses a name; `None` if it is not valid, or is a UUID, 32 hex digits or only digits.
    pub fn parse(text: &str) -> Option<Self> {
        is_valid(text).then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Any text that a reader could take for a user's id, number or id in an old system is refused.
fn is_valid(text: &str) -> bool {
    let is_readable_as_user =
        UserId::parse(text).is_some() || Uuid::try_parse(text).is_ok() || text.bytes().all(|b| b.is_ascii_digit());
    App::is_valid_name(text) && !is_readable_as_user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_1_to_64_letters_digits_dots_hyphens_and_underscores() {
        let longest = "x".repeat(64);
        for good in ["a", "billing-2.EU_x", "0b922f14-d00b", "12a", "-", longest.as_str()] {
            assert_eq!(ClientId::parse(good).unwrap().as_str(), good);
            assert_eq!(ResourceName::parse(good).unwrap().to_string(), good);
        }
        let too_long = "x".repeat(65);
        for bad in ["", "a b", "a:b", "a/b", "a%", "é", "a\n", "a\0", " a", too_long.as_str()] {
            assert_eq!((ClientId::parse(bad), ResourceName::parse(bad)), (None, None), "{bad:?}");
        }
    }

    /// A client named as a user could get tokens that a resource server takes for that user's (RFC 9700 4.15).
    #[test]
    fn names_that_can_be_read_as_a_user_id_are_refused() {
        let id = "0b922f14-d00b-11e7-aafd-525400bbac8e";
        for bad in [
            id,
            &id.to_uppercase(),
            &id.replace('-', ""),
            &id.replace('-', "").to_uppercase(),
            "0B-92-2F-14-D0-0B-11-E7-AA-FD-52-54-00-BB-AC-8E",
            "100001",
            "0",
            "1234567890123456789012345678901234567890",
        ] {
            assert_eq!((ClientId::parse(bad), ResourceName::parse(bad)), (None, None), "{bad}");
        }
    }
}
