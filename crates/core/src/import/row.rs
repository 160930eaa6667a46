//! The rows of a source: their identity, their content, and what the source says about a user.

use std::fmt;

use strum::{EnumString, IntoStaticStr};

use super::Refusal;
use super::refusal::Field;
use crate::identifier::{Email, Identifier, Phone, Username};
use crate::mac::MacKey;
use crate::text::find_invisible;
use crate::time::Timestamp;
use crate::user::{Profile, Role, UserId, UserStatus};
use crate::verifier::ImportedHash;

/// The name of a source, by which its rows are identified: 1 to 32 characters of `a` to `z`, `0` to `9`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceName(String);

impl SourceName {
    /// Parses a name; `None` if it has other characters or another length.
    pub fn parse(text: &str) -> Option<Self> {
        let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        ((1..=32).contains(&text.len()) && text.bytes().all(is_allowed)).then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a user in the old system, as its clients have stored it: 1 to 128 visible characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OldId(String);

impl OldId {
    /// Parses an id, without the white space around it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_valid = (1..=128).contains(&text.chars().count()) && find_invisible(text).is_none();
        is_valid.then(|| Self(text.to_owned()))
    }

    /// The id of a row of a source without ids: one of the row's identifiers by its canonical key.
    pub fn from_identifier(identifier: &Identifier) -> Self {
        Self(identifier.key().to_owned())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// By which identifier a row is joined to an existing user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum MergeRule {
    /// Rows are never joined: a taken identifier is a refusal.
    #[default]
    None,
    /// By the phone number.
    Phone,
    /// By the e-mail address.
    Email,
    /// By the user name.
    Username,
}

impl MergeRule {
    /// The field by which rows are joined; `None` for [`MergeRule::None`].
    pub fn field(self) -> Option<Field> {
        match self {
            Self::None => None,
            Self::Phone => Some(Field::Phone),
            Self::Email => Some(Field::Email),
            Self::Username => Some(Field::Username),
        }
    }
}

/// The highest number that an import can give a user. The numbers of later users count up from there, and stay exact in
/// JavaScript.
pub const MAX_USER_NUMBER: i64 = 999_999_999_999;

/// A keyed hash of a row's content. It has a key, because a row contains a password digest, which could be guessed from
/// a hash without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHash(pub [u8; 16]);

/// What a source says about a user. It has at least one identifier. The secret is zeroized on drop.
#[derive(Debug)]
pub struct ImportRow {
    /// The id in the old system.
    pub old_id: OldId,
    /// The UUID that the user gets; `None` for a random one.
    pub id: Option<UserId>,
    /// cloudbox `user_alias_id`, 32 hex digits; `None` for a random one.
    pub alias_id: Option<String>,
    /// The user's number (portal `gid`), 1 to [`MAX_USER_NUMBER`]; `None` for the next one.
    pub number: Option<i64>,
    /// The user name.
    pub name: Option<Username>,
    /// The phone number.
    pub phone: Option<Phone>,
    /// The e-mail address.
    pub email: Option<Email>,
    /// The role.
    pub role: Role,
    /// Whether the user may log in.
    pub status: UserStatus,
    /// When the user registered; `None` if the source does not say.
    pub registered_at: Option<Timestamp>,
    /// Personal data.
    pub profile: Profile,
    /// The hash of the password; `None` if the source has none. A clear password is hashed when it is read.
    pub secret: Option<ImportedHash>,
}

impl ImportRow {
    /// The identifiers that the row has, each with its field, in the order of the fields.
    pub fn identifiers(&self) -> impl Iterator<Item = (Field, &Identifier)> {
        [
            self.name.as_ref().map(|name| (Field::Username, name.identifier())),
            self.phone.as_ref().map(|phone| (Field::Phone, phone.identifier())),
            self.email.as_ref().map(|email| (Field::Email, email.identifier())),
        ]
        .into_iter()
        .flatten()
    }

    /// The keyed hash of everything that the row says, with the dialect whose clients know its old id.
    pub fn content_hash(&self, key: &MacKey, dialect: Option<&str>) -> ContentHash {
        let profile = &self.profile;
        let text = |identifier: Option<&Identifier>| identifier.map_or("", Identifier::text).to_owned();
        let registered_at = self.registered_at.map(|at| at.as_micros().to_string()).unwrap_or_default();
        let id = self.id.map(|id| id.to_string()).unwrap_or_default();
        let (spec, secret) = self.secret.as_ref().map(ImportedHash::content).unwrap_or_default();
        let (name, phone, email) = (
            text(self.name.as_ref().map(Username::identifier)),
            text(self.phone.as_ref().map(Phone::identifier)),
            text(self.email.as_ref().map(Email::identifier)),
        );
        let number = self.number.map(|number| number.to_string()).unwrap_or_default();
        let parts: [&[u8]; 25] = [
            b"import row",
            self.old_id.as_str().as_bytes(),
            id.as_bytes(),
            self.alias_id.as_deref().unwrap_or_default().as_bytes(),
            name.as_bytes(),
            phone.as_bytes(),
            email.as_bytes(),
            self.role.as_str().as_bytes(),
            if self.status == UserStatus::Active { b"active" } else { b"disabled" },
            registered_at.as_bytes(),
            profile.real_name.as_bytes(),
            profile.gender.map_or("", crate::user::Gender::as_str).as_bytes(),
            profile.nickname.as_bytes(),
            profile.avatar_url.as_bytes(),
            profile.enterprise.as_bytes(),
            profile.group.as_bytes(),
            profile.organization.as_bytes(),
            profile.department.as_bytes(),
            profile.description.as_bytes(),
            profile.org_id.as_bytes(),
            profile.memo.as_bytes(),
            spec.as_bytes(),
            &secret,
            number.as_bytes(),
            dialect.unwrap_or_default().as_bytes(),
        ];
        let tag = key.tag(&parts);
        let mut hash = [0; 16];
        hash.copy_from_slice(&tag[..16]);
        ContentHash(hash)
    }
}

/// A record of a source: where it is, and what it says or why it cannot be read.
#[derive(Debug)]
pub struct SourceRow {
    /// The record's number in the source, from 1.
    pub position: u64,
    /// The line of a file on which the record starts, from 1; `None` for a database.
    pub line: Option<u64>,
    /// The old id as the record has it, at most 128 characters; empty if it cannot be read.
    pub old_id: String,
    /// What the record says, or why it is refused.
    pub row: Result<ImportRow, Refusal>,
}
