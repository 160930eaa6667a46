//! User ids: UUIDs, and sequential user numbers, by which only administrators and authenticated clients refer to users.

use std::fmt;

use uuid::Uuid;

use crate::hex;

/// A user's id: a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub Uuid);

impl UserId {
    /// The UUID's 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Parses a hyphenated UUID with optional white space around it, or the UUID's 16 bytes as [`hex::decode`] reads
    /// them; `None` for anything else, including other forms that UUID libraries accept.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.len() {
            36 => Uuid::try_parse(text).ok().map(Self),
            _ => hex::decode(text).map(Self::from_bytes),
        }
    }

    /// Parses the user id of an unauthenticated request: as [`UserId::parse`], or a decimal number, which becomes an id
    /// that no user has. User numbers are sequential, so without authentication they must not find a user (user
    /// enumeration). Looking a number up costs as much as looking up an unknown UUID.
    pub fn parse_untrusted(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| parse_number(text).map(Self::unassigned_from_number))
    }

    /// An id that no user has: a UUID of version 0, which RFC 9562 §4.2 leaves unused, with `number` in its last 8
    /// bytes.
    fn unassigned_from_number(number: i64) -> Self {
        Self(Uuid::from_u64_pair(0, number.unsigned_abs()))
    }

    /// The id (UUID version 4) made of these 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first user number; numbers count up from here (portal document, 金桐号).
pub const FIRST_USER_NUMBER: i64 = 100_001;

/// How an administrator or an authenticated client refers to a user: by UUID, its 32 hex digits, or the user's number.
/// Numbers are sequential, so calls without authentication take a [`UserId`] instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserRef {
    /// The user's UUID.
    Id(UserId),
    /// The user's number.
    Number(i64),
}

impl UserRef {
    /// Parses a UUID as [`UserId::parse`] does, or a decimal number.
    pub fn parse(text: &str) -> Option<Self> {
        UserId::parse(text).map(Self::Id).or_else(|| parse_number(text).map(Self::Number))
    }
}

/// Parses 1 to 18 decimal digits with optional white space around them.
fn parse_number(text: &str) -> Option<i64> {
    let text = text.trim();
    let is_number = text.len() <= 18 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_ref_is_a_uuid_hex_digits_or_a_number() {
        let id = "0b922f14-d00b-11e7-aafd-525400bbac8e";
        let by_id = UserRef::parse(id).unwrap();
        assert_eq!(UserRef::parse(&id.replace('-', "")), Some(by_id));
        assert_eq!(UserRef::parse(&id.to_uppercase()), Some(by_id));
        assert_eq!(UserRef::parse(&format!(" {id}\n")), Some(by_id));
        assert_eq!(UserRef::parse("0B-92-2F-14-D0-0B-11-E7-AA-FD-52-54-00-BB-AC-8E"), Some(by_id));
        assert_eq!(UserRef::parse("4"), Some(UserRef::Number(4)));
        assert_eq!(UserRef::parse(" 4 "), Some(UserRef::Number(4)));
        for bad in ["", "-1", "4.0", "{0b922f14-d00b-11e7-aafd-525400bbac8e}", "urn:uuid:x", "1234567890123456789"] {
            assert_eq!(UserRef::parse(bad), None, "{bad}");
            assert_eq!((UserId::parse(bad), UserId::parse_untrusted(bad)), (None, None), "{bad}");
        }
    }

    #[test]
    fn an_untrusted_number_maps_to_an_unassigned_id() {
        let id = "0b922f14-d00b-11e7-aafd-525400bbac8e";
        assert_eq!(UserId::parse_untrusted(id), UserId::parse(id));
        assert_eq!(UserId::parse("100001"), None);
        for number in ["0", "4", "100001", "999999999999999999"] {
            let id = UserId::parse_untrusted(number).unwrap();
            assert_eq!(id.0.get_version_num(), 0, "{number}");
        }
        assert_ne!(UserId::parse_untrusted("4"), UserId::parse_untrusted("5"));
        for bytes in [[0; 16], [255; 16], *UserId::parse_untrusted("4").unwrap().as_bytes()] {
            assert_eq!(UserId::from_random(bytes).0.get_version_num(), 4);
        }
    }
}
