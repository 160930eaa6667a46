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
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
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

/// portal `id` of a user who has no id of an old portal: counts up from 1 where numbers count up from
/// [`FIRST_USER_NUMBER`]. A number below that, which only an import gives, has a [`displaced_id`].
pub fn sequential_id(number: i64) -> i64 {
    if number < FIRST_USER_NUMBER { displaced_id(number) } else { number - FIRST_USER_NUMBER + 1 }
}

/// portal `id` of a user whose [`sequential_id`] is the old id of another user: beyond what old portals have counted to,
/// and below 2^31 for numbers up to 147,483,647.
pub fn displaced_id(number: i64) -> i64 {
    number.saturating_add(2_000_000_000)
}

/// How an administrator refers to a user: by UUID, its 32 hex digits, or the user's number. Clients refer to users by
/// a [`ClientUserId`](super::ClientUserId).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserRef {
    /// The user's UUID.
    Id(UserId),
    /// The user's number.
    Number(i64),
}

impl UserRef {
    /// Refers to no user. A store reads as much for it as for a user (ADR 26).
    pub const DECOY: Self = Self::Number(0);

    /// Parses a UUID as [`UserId::parse`] does, or a decimal number.
    pub fn parse(text: &str) -> Option<Self> {
        UserId::parse(text).map(Self::Id).or_else(|| parse_number(text).map(Self::Number))
    }
}

/// Parses 1 to 18 decimal digits with optional white space around them.
pub(super) fn parse_number(text: &str) -> Option<i64> {
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
            assert_eq!(UserId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_random_id_has_version_4() {
        for bytes in [[0; 16], [255; 16]] {
            assert_eq!(UserId::from_random(bytes).0.get_version_num(), 4);
        }
    }

    #[test]
    fn sequential_ids_count_up_from_1() {
        let ids = [1, 2, 2_000_000_007, 2_000_100_000];
        assert_eq!([100_001, 100_002, 7, 100_000].map(sequential_id), ids);
    }
}
