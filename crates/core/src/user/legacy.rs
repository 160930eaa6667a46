//! Legacy ids: the ids that users have in the old system of a dialect, as the dialect's clients have stored them.

use super::UserId;
use super::id::parse_number;
use crate::import::OldId;

/// The ids of a user in the old system of one dialect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegacyIds {
    /// The id, as the old system wrote it; for a portal user without one, the [`displaced_id`](super::displaced_id).
    pub id: String,
    /// cloudbox `user_alias_id`; `None` if it is the user's own.
    pub alias_id: Option<String>,
    /// portal `gid`; `None` if it is the user's number.
    pub number: Option<i64>,
}

/// The text by which a legacy id is found: the canonical form of a UUID, which clients write in several ways; any other
/// id as it is.
pub fn legacy_key(text: &str) -> String {
    let text = text.trim();
    UserId::parse(text).map_or_else(|| text.to_owned(), |id| id.to_string())
}

/// How a client names a user: by a legacy id of its own dialect or by UUID, and where [`ClientUserId::parse_with_number`]
/// has read it, by the user's number. Which of these a text is, only the store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientUserId {
    key: String,
    id: Option<UserId>,
    number: Option<i64>,
}

impl ClientUserId {
    /// Parses a UUID as [`UserId::parse`] does, or any text that can be an [`OldId`]; `None` for other texts. A number
    /// finds a user only as a legacy id: user numbers are sequential, so without authentication they must not find a
    /// user (user enumeration).
    pub fn parse(text: &str) -> Option<Self> {
        let key = legacy_key(OldId::parse(text)?.as_str());
        Some(Self { id: UserId::parse(text), number: None, key })
    }

    /// As [`ClientUserId::parse`], for authenticated clients: a decimal number that is no legacy id is the user's
    /// number.
    pub fn parse_with_number(text: &str) -> Option<Self> {
        Self::parse(text).map(|parsed| Self { number: parse_number(text), ..parsed })
    }

    /// The key of the legacy id ([`legacy_key`]), under which failures for an unknown user are counted as well.
    pub fn legacy_key(&self) -> &str {
        &self.key
    }

    /// The UUID that the text is.
    pub fn id(&self) -> Option<UserId> {
        self.id
    }

    /// The user number that the text is, if numbers are read.
    pub fn number(&self) -> Option<i64> {
        self.number
    }
}

impl From<UserId> for ClientUserId {
    fn from(id: UserId) -> Self {
        Self { key: id.to_string(), id: Some(id), number: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0b922f14-d00b-11e7-aafd-525400bbac8e";

    #[test]
    fn every_form_of_a_uuid_has_one_key() {
        for text in [ID, &ID.to_uppercase(), &ID.replace('-', ""), &format!(" {ID}\n")] {
            let parsed = ClientUserId::parse(text).unwrap();
            assert_eq!((parsed.legacy_key(), parsed.id()), (ID, UserId::parse(ID)), "{text}");
            assert_eq!(parsed, UserId::parse(ID).unwrap().into());
        }
    }

    #[test]
    fn other_ids_are_kept_as_they_are_and_a_number_is_read_only_where_asked_for() {
        for text in ["4", "0004", "u_1", "张三", "{0b922f14}", "1 OR 1=1"] {
            let parsed = ClientUserId::parse(text).unwrap();
            assert_eq!((parsed.legacy_key(), parsed.id(), parsed.number()), (text, None, None));
        }
        assert_eq!(ClientUserId::parse_with_number(" 4 ").unwrap().number(), Some(4));
        assert_eq!(ClientUserId::parse_with_number("u4").unwrap().number(), None);
        for none in ["", " ", "a\0b", "a\u{202e}b", &"x".repeat(129)] {
            assert_eq!(ClientUserId::parse(none), None, "{none:?}");
        }
    }
}
