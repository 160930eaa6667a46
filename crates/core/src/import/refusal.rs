//! Why a row is not imported: a closed list, with a code for scripts and a sentence for people.

use std::fmt;

use strum::{EnumString, IntoStaticStr, VariantArray};

/// A field of a row, by the name of its key in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Field {
    /// The id in the old system.
    Id,
    /// The UUID that the user gets.
    Uuid,
    /// cloudbox `user_alias_id`.
    AliasId,
    /// The number that the user gets: portal `gid`.
    Number,
    /// The user name.
    Username,
    /// The phone number.
    Phone,
    /// The e-mail address.
    Email,
    /// The role.
    Role,
    /// Whether the user is disabled.
    Disabled,
    /// When the user registered.
    RegisteredAt,
    /// The real name.
    RealName,
    /// The gender.
    Gender,
    /// The nickname.
    Nickname,
    /// The URL of the user's picture.
    AvatarUrl,
    /// The enterprise.
    Enterprise,
    /// The group.
    Group,
    /// The organisation.
    Organization,
    /// The department.
    Department,
    /// The description.
    Description,
    /// The organisation's id.
    OrgId,
    /// The memo.
    Memo,
    /// The password or its hash.
    Secret,
    /// The salt of the hash.
    Salt,
}

impl Field {
    /// The name of the key in the map.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a row is not imported. The other rows are imported nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The record has more or fewer fields than the header.
    WrongFieldCount,
    /// The record repeats the header, as in files that were joined.
    RepeatedHeader,
    /// A quoted field of the record is not closed, so that it goes on over the following lines. These are read by themselves.
    UnclosedQuote,
    /// The record is longer than the limit.
    RecordTooLong,
    /// The record is not an object, or is not valid JSON.
    NotAnObject,
    /// The bytes of a field are not text in the declared encoding, or have a NUL.
    NotText(Field),
    /// A field is longer than it may be.
    TooLong(Field),
    /// A field has a value that its column cannot have.
    Malformed(Field),
    /// A field has a control or invisible character.
    InvisibleCharacter(Field),
    /// The row has no old id, although the map names a column for it.
    NoOldId,
    /// The row has no user name, phone number or e-mail address.
    NoIdentifier,
    /// The row has no secret, although the map names a column for it.
    NoSecret,
    /// The secret is the hash of the empty password, which no login accepts.
    EmptyPassword,
    /// The secret is not of the kind that the map names.
    WrongSecretKind,
    /// The secret is of the right kind, but damaged.
    DamagedSecret,
    /// The salted hash has no salt: it is a plain md5.
    EmptySalt,
    /// Verifying the hash would take more memory or time than is allowed.
    TooCostly,
    /// A user who is not of this source has the identifier.
    IdentifierTaken(Field),
    /// An earlier row of this source has the identifier.
    IdentifierRepeated(Field),
    /// Another user has the UUID.
    UuidTaken,
    /// Another user has the old id in the dialect whose clients know it.
    IdTaken,
    /// Another user has the number, or the portal answers it for another user.
    NumberTaken,
    /// An earlier row of this source has the old id, with other content.
    OldIdRepeated,
    /// The row was imported before, with other content.
    Changed,
}

/// The code of each refusal without a field, and its sentence.
const PLAIN: [(Refusal, &str, &str); 17] = [
    (
        Refusal::WrongFieldCount,
        "wrong_field_count",
        "the number of fields is not that of the header; quote fields that contain the delimiter",
    ),
    (Refusal::RepeatedHeader, "repeated_header", "the record is the header once more; nothing is lost"),
    (
        Refusal::UnclosedQuote,
        "unclosed_quote",
        "a quoted field goes on over the end of the line and is not closed; close it, and double the quotes in it",
    ),
    (Refusal::RecordTooLong, "record_too_long", "the record is longer than 1 MiB; look for a quote that is not closed"),
    (Refusal::NotAnObject, "not_an_object", "the line is not a JSON object; write one object a line"),
    (Refusal::NoOldId, "no_old_id", "the old id is empty; give the row an id, or map id to another column"),
    (Refusal::NoIdentifier, "no_identifier", "there is no user name, phone number or e-mail address; fill one in"),
    (
        Refusal::NoSecret,
        "no_secret",
        "the password is empty; fill it in, or set empty = \"none\" in [secret] to import the user without one",
    ),
    (
        Refusal::EmptyPassword,
        "empty_password",
        "this is the hash of the empty password, which no login accepts; set another password",
    ),
    (
        Refusal::WrongSecretKind,
        "wrong_secret_kind",
        "the secret is of none of the kinds that the map names; correct kind in [secret]",
    ),
    (Refusal::DamagedSecret, "damaged_secret", "the hash is damaged; copy the complete hash"),
    (
        Refusal::EmptySalt,
        "empty_salt",
        "the salt is empty, so this is the plain md5 of the password; add \"md5\" to kind in [secret]",
    ),
    (
        Refusal::TooCostly,
        "too_costly",
        "verifying the hash would take more memory or time than is allowed (argon2: 256 MiB, 16 passes and 16 lanes; \
         bcrypt: cost 14; PBKDF2: 2,000,000 iterations; phpass: 2^17 rounds); set another password",
    ),
    (Refusal::UuidTaken, "uuid_taken", "another user has this UUID; map uuid for one source only"),
    (
        Refusal::IdTaken,
        "id_taken",
        "clients of this dialect know another user by this old id; import one of the two sources without its dialect",
    ),
    (
        Refusal::NumberTaken,
        "number_taken",
        "another user has this number; import the source that sets numbers before any other and before new users register",
    ),
    (
        Refusal::OldIdRepeated,
        "old_id_repeated",
        "an earlier row has this old id and other content; remove one of the two",
    ),
];

/// The code and the sentence of [`Refusal::Changed`].
const CHANGED: (&str, &str) =
    ("changed", "the row was imported before and has changed since; change the user in Stele, or undo the earlier run");

impl Refusal {
    /// The code before the field, and the field.
    fn parts(self) -> (&'static str, Option<Field>) {
        match self {
            Self::NotText(field) => ("not_text", Some(field)),
            Self::TooLong(field) => ("too_long", Some(field)),
            Self::Malformed(field) => ("malformed", Some(field)),
            Self::InvisibleCharacter(field) => ("invisible_character", Some(field)),
            Self::IdentifierTaken(field) => ("identifier_taken", Some(field)),
            Self::IdentifierRepeated(field) => ("identifier_repeated", Some(field)),
            Self::Changed => (CHANGED.0, None),
            plain => (PLAIN.iter().find(|(refusal, ..)| *refusal == plain).map_or("", |(_, code, _)| code), None),
        }
    }

    /// The field at fault; `None` if the whole row is.
    pub fn field(self) -> Option<Field> {
        self.parts().1
    }

    /// The code, such as `no_identifier` or `malformed:phone`.
    pub fn code(self) -> String {
        match self.parts() {
            (code, None) => code.to_owned(),
            (code, Some(field)) => format!("{code}:{}", field.as_str()),
        }
    }

    /// Parses a code.
    pub fn parse(code: &str) -> Option<Self> {
        let Some((code, field)) = code.split_once(':') else {
            let plain = PLAIN.iter().find(|(_, name, _)| *name == code).map(|(refusal, ..)| *refusal);
            return plain.or_else(|| (code == CHANGED.0).then_some(Self::Changed));
        };
        let field = field.parse().ok()?;
        [
            Self::NotText(field),
            Self::TooLong(field),
            Self::Malformed(field),
            Self::InvisibleCharacter(field),
            Self::IdentifierTaken(field),
            Self::IdentifierRepeated(field),
        ]
        .into_iter()
        .find(|refusal| refusal.parts().0 == code)
    }
}

impl fmt::Display for Refusal {
    /// The fault, then the remedy. Never a value of the row.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, field) = self.parts();
        let name = field.map_or("", Field::as_str);
        match self {
            Self::NotText(_) => write!(f, "{name} is not text; set encoding in the map to that of the file"),
            Self::TooLong(_) => write!(f, "{name} is too long; shorten it"),
            Self::Malformed(field) => write!(f, "{name} {}", expectation(*field)),
            Self::InvisibleCharacter(_) => write!(f, "{name} has a control or invisible character; remove it"),
            Self::IdentifierTaken(_) => {
                write!(f, "another user has this {name}; set merge in the map if it is the same person")
            }
            Self::IdentifierRepeated(_) => write!(f, "an earlier row has this {name}; remove one of the two"),
            Self::Changed => f.write_str(CHANGED.1),
            _ => f.write_str(PLAIN.iter().find(|(_, name, _)| *name == code).map_or("", |(.., sentence)| sentence)),
        }
    }
}

/// What a malformed field should be.
fn expectation(field: Field) -> &'static str {
    match field {
        Field::Id => "is not an id; an old id has 1 to 128 visible characters",
        Field::Uuid => "is not a UUID; write 32 hex digits",
        Field::Number => "is not a user number; a number is a whole number from 1 to 999999999999",
        Field::AliasId => "is not an alias; write 32 hex digits",
        Field::Username => "is not a user name; a user name has 1 to 64 visible characters and no @",
        Field::Phone => "is not a phone number; a phone has 5 to 15 digits, or is E.164 with +",
        Field::Email => "is not an e-mail address; write it as name@example.com",
        Field::RegisteredAt => "is not a time in the format of the map; correct format and zone",
        Field::Gender => "is not a gender; name the values in the map: { column, male, female }",
        Field::Enterprise => "is not a UUID; an enterprise is a UUID",
        _ => "has a value that cannot be read; correct it",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn all() -> Vec<Refusal> {
        let with_field = Field::VARIANTS.iter().flat_map(|&field| {
            [
                Refusal::NotText(field),
                Refusal::TooLong(field),
                Refusal::Malformed(field),
                Refusal::InvisibleCharacter(field),
                Refusal::IdentifierTaken(field),
                Refusal::IdentifierRepeated(field),
            ]
        });
        PLAIN.iter().map(|(refusal, ..)| *refusal).chain([Refusal::Changed]).chain(with_field).collect()
    }

    #[test]
    fn every_refusal_has_its_own_code_and_a_remedy() {
        let all = all();
        let codes: HashSet<_> = all.iter().map(|refusal| refusal.code()).collect();
        assert_eq!(codes.len(), all.len());
        for refusal in all {
            assert_eq!(Refusal::parse(&refusal.code()), Some(refusal), "{}", refusal.code());
            let sentence = refusal.to_string();
            assert!(sentence.contains(';') || sentence.contains("correct"), "{sentence}");
            assert!(refusal.field().is_none_or(|field| sentence.contains(field.as_str())), "{sentence}");
        }
        for unknown in ["", "nothing", "malformed", "malformed:nothing", "changed:phone"] {
            assert_eq!(Refusal::parse(unknown), None, "{unknown}");
        }
    }
}
