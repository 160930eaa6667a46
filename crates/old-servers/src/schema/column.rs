//! Which field of a user a column holds, and in which form.

use time::format_description::BorrowedFormatItem;
use time::macros::{format_description, offset};
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

use crate::user::OldUser;

const MICROSECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:6]");
const SECONDS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// A field of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Id,
    AliasId,
    Gid,
    Name,
    /// The name in upper case, which is written only.
    NormalizedName,
    Phone,
    Email,
    Password,
    Salt,
    Admin {
        yes: &'static str,
        no: &'static str,
    },
    Disabled {
        yes: &'static str,
        no: &'static str,
    },
    RealName,
    Gender {
        male: &'static str,
        female: &'static str,
    },
    Nickname,
    AvatarUrl,
    Group,
    Enterprise,
    Organization,
    Department,
    Description,
    OrgId,
    Memo,
    RegisteredAt(TimeForm),
    RegisteredApp,
}

/// How a column holds a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeForm {
    /// `DATETIME(6)` in UTC.
    Utc,
    /// `DATETIME(6)` at +08:00.
    Shanghai,
    /// `DATETIME` at +08:00.
    ShanghaiSeconds,
    UnixSeconds,
}

impl Field {
    /// The column's text for a user; `None` is `NULL`.
    pub(crate) fn write(self, user: &OldUser) -> Option<String> {
        let or_null = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let choose = |is: bool, yes: &str, no: &str| Some(if is { yes } else { no }.to_owned());
        match self {
            // Without an id, MariaDB gives the next number.
            Self::Id => or_null(&user.id),
            Self::Name => or_null(&user.name),
            Self::NormalizedName => Some(user.name.to_uppercase()),
            Self::Phone => or_null(&user.phone),
            Self::Email => or_null(&user.email),
            Self::Password => Some(user.password.value.clone()),
            Self::Salt => Some(user.password.salt.clone()),
            Self::Admin { yes, no } => choose(user.is_admin, yes, no),
            Self::Disabled { yes, no } => choose(user.is_disabled, yes, no),
            Self::Gender { male, female } => match user.gender.as_str() {
                "男" => Some(male.to_owned()),
                "女" => Some(female.to_owned()),
                _ => unknown_gender(male, female).map(str::to_owned),
            },
            Self::RegisteredAt(form) => Some(form.write(user.registered_at)),
            Self::AliasId
            | Self::Gid
            | Self::RealName
            | Self::Nickname
            | Self::AvatarUrl
            | Self::Group
            | Self::Enterprise
            | Self::Organization
            | Self::Department
            | Self::Description
            | Self::OrgId
            | Self::Memo
            | Self::RegisteredApp => self.text(&mut user.clone()).cloned(),
        }
    }

    /// Sets the field of a user to what a column's text means; `NULL` is read as empty.
    pub(crate) fn read(self, user: &mut OldUser, text: String) {
        match self {
            Self::NormalizedName => {}
            Self::Admin { yes, .. } => user.is_admin = text == yes,
            Self::Disabled { yes, .. } => user.is_disabled = text == yes,
            Self::Gender { male, female } => {
                let gender = [(male, "男"), (female, "女")].into_iter().find(|(value, _)| *value == text);
                user.gender = gender.map_or("", |(_, gender)| gender).to_owned();
            }
            Self::RegisteredAt(form) => user.registered_at = form.read(&text),
            _ => *self.text(user).unwrap() = text,
        }
    }

    /// The field of a user that is a text.
    fn text(self, user: &mut OldUser) -> Option<&mut String> {
        Some(match self {
            Self::Id => &mut user.id,
            Self::AliasId => &mut user.alias_id,
            Self::Gid => &mut user.gid,
            Self::Name => &mut user.name,
            Self::Phone => &mut user.phone,
            Self::Email => &mut user.email,
            Self::Password => &mut user.password.value,
            Self::Salt => &mut user.password.salt,
            Self::RealName => &mut user.real_name,
            Self::Nickname => &mut user.nickname,
            Self::AvatarUrl => &mut user.avatar_url,
            Self::Group => &mut user.group,
            Self::Enterprise => &mut user.enterprise,
            Self::Organization => &mut user.organization,
            Self::Department => &mut user.department,
            Self::Description => &mut user.description,
            Self::OrgId => &mut user.org_id,
            Self::Memo => &mut user.memo,
            Self::RegisteredApp => &mut user.registered_app,
            Self::NormalizedName
            | Self::Admin { .. }
            | Self::Disabled { .. }
            | Self::Gender { .. }
            | Self::RegisteredAt(_) => return None,
        })
    }
}

/// An unknown gender is 0 beside 1 and 2, `NULL` beside 1 and 0, and otherwise an empty text.
fn unknown_gender(male: &str, female: &str) -> Option<&'static str> {
    match (male, female) {
        ("1", "2") => Some("0"),
        ("1", "0") => None,
        _ => Some(""),
    }
}

impl TimeForm {
    fn offset(self) -> UtcOffset {
        match self {
            Self::Utc | Self::UnixSeconds => UtcOffset::UTC,
            Self::Shanghai | Self::ShanghaiSeconds => offset!(+8),
        }
    }

    fn write(self, time: OffsetDateTime) -> String {
        let local = time.to_offset(self.offset());
        match self {
            Self::Utc | Self::Shanghai => local.format(MICROSECONDS).unwrap(),
            Self::ShanghaiSeconds => local.format(SECONDS).unwrap(),
            Self::UnixSeconds => time.unix_timestamp().to_string(),
        }
    }

    fn read(self, text: &str) -> OffsetDateTime {
        let local = match self {
            Self::Utc | Self::Shanghai => PrimitiveDateTime::parse(text, MICROSECONDS),
            Self::ShanghaiSeconds => PrimitiveDateTime::parse(text, SECONDS),
            Self::UnixSeconds => return OffsetDateTime::from_unix_timestamp(text.parse().unwrap()).unwrap(),
        };
        local.unwrap().assume_offset(self.offset())
    }
}
