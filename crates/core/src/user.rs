//! The user schema: users with their roles and profiles, credentials, accounts. The fields are those that the dialects'
//! responses contain.

mod id;
mod legacy;

use std::fmt;

use strum::{EnumString, IntoStaticStr};

use crate::identifier::{Email, Identifier, Phone, Recipient, Username};
use crate::seal::SealedSecret;
use crate::text::find_invisible_in_text;
use crate::time::Timestamp;

pub use id::{FIRST_USER_NUMBER, UserId, UserRef, displaced_id, sequential_id};
pub use legacy::{ClientUserId, LegacyIds, legacy_key};

/// A user's role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Role {
    /// An administrator. TMS has a login for this role only.
    Admin,
    /// An ordinary user.
    #[default]
    User,
}

impl Role {
    /// `admin` or `user`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Parses `admin` or `user`.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Whether a user may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserStatus {
    /// The user may log in.
    Active,
    /// An administrator has disabled the user.
    Disabled,
}

/// A gender, as the API documents write it: 男 or 女.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
pub enum Gender {
    /// 男
    #[strum(serialize = "男")]
    Male,
    /// 女
    #[strum(serialize = "女")]
    Female,
}

impl Gender {
    /// `男` or `女`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Parses `男` or `女`.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Personal data of a user. A text field is empty if the user has no value for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// cloudbox `user_real_name`, JWT `realName`.
    pub real_name: String,
    /// cloudbox `user_gender`, JWT `gender`.
    pub gender: Option<Gender>,
    /// cloudbox `user_nickname`.
    pub nickname: String,
    /// cloudbox `avatar_url`, JWT `avatar`.
    pub avatar_url: String,
    /// cloudbox `enterprise`: a UUID.
    pub enterprise: String,
    /// cloudbox `group`.
    pub group: String,
    /// JWT `organizationName`.
    pub organization: String,
    /// JWT `departmentName`.
    pub department: String,
    /// JWT `description`.
    pub description: String,
    /// portal `orgId`; a user who has an organization id is an 组织用户 (`user_type` 1).
    pub org_id: String,
    /// portal `memo`.
    pub memo: String,
}

impl Profile {
    /// The command-line name of the first field that has an invisible character ([`find_invisible_in_text`]); `None` if
    /// no field has one.
    pub fn field_with_invisible_character(&self) -> Option<&'static str> {
        let fields = [
            ("real-name", &self.real_name),
            ("nickname", &self.nickname),
            ("avatar-url", &self.avatar_url),
            ("enterprise", &self.enterprise),
            ("group", &self.group),
            ("organization", &self.organization),
            ("department", &self.department),
            ("description", &self.description),
            ("org-id", &self.org_id),
            ("memo", &self.memo),
        ];
        fields.into_iter().find(|(_, text)| find_invisible_in_text(text).is_some()).map(|(name, _)| name)
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The sequential number, at least [`FIRST_USER_NUMBER`].
    pub number: i64,
    /// The user name, as it was entered.
    pub name: Option<String>,
    /// The phone number, as it was entered.
    pub phone: Option<String>,
    /// The e-mail address, as it was entered.
    pub email: Option<String>,
    /// The identifier that the user registered with, as it was entered; `None` for a user whom an administrator added.
    pub registered_with: Option<String>,
    /// The app that the user registered through (MeFP `reg_app`); empty if none.
    pub registered_through: String,
    /// When the user was added.
    pub registered_at: Timestamp,
    /// cloudbox `user_alias_id`: 32 hex digits.
    pub alias_id: String,
    /// The role.
    pub role: Role,
    /// Whether an administrator has disabled the user.
    pub disabled: bool,
    /// Personal data.
    pub profile: Profile,
}

impl User {
    /// The name to show where a dialect has a single name field: the user name, else the identifier registered with,
    /// else the phone number, else the e-mail address.
    pub fn display_name(&self) -> &str {
        [&self.name, &self.registered_with, &self.phone, &self.email]
            .into_iter()
            .find_map(|field| field.as_deref())
            .unwrap_or_default()
    }

    /// Whether `to` is the user's own phone number or e-mail address. That a lookup by `to` finds the user is not
    /// enough, because a user name may look like a phone number.
    pub fn owns_recipient(&self, to: &Recipient) -> bool {
        let own_recipient = match to {
            Recipient::Phone(_) => &self.phone,
            Recipient::Email(_) => &self.email,
        };
        own_recipient.as_deref().and_then(Identifier::parse).is_some_and(|own| own.key() == to.key())
    }
}

/// The stored data by which password proofs are verified. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The verifier of raw and digest proofs (see [`crate::verifier`]).
    pub verifier: String,
    /// The sealed digest `D`, against which salted proofs are verified; `None` if salted logins are disabled, and for
    /// imported hashes before their first use. While an imported hash waits for argon2id, its sealed bytes.
    pub sealed: Option<SealedSecret>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// A user with the credential and the epoch that sessions, tickets and codes are bound to.
#[derive(Clone, Debug)]
pub struct Account {
    /// The user.
    pub user: User,
    /// The credential.
    pub credential: Credential,
    /// The credential's epoch: 0 for a new user. Every change or reset of the password, and disabling or enabling the
    /// user, sets a new random value, which revokes all sessions, tickets and codes of the old epoch. Epochs have no
    /// order. A negative epoch says that the password was taken over from an old server.
    pub epoch: i64,
    /// When the user last logged in with a salted proof, to within a day; `None` if no such login is recorded.
    pub salted_at: Option<Timestamp>,
    /// The user's ids in the old system of the dialect that the account was read for; `None` if the user has none there,
    /// and if it was read for no dialect.
    pub legacy: Option<LegacyIds>,
}

impl Account {
    /// Whether the password was never set here: it was imported, or taken over from an old server. Disabling and enabling
    /// the user counts as setting it.
    pub fn has_password_of_old_server(&self) -> bool {
        self.epoch <= 0
    }
}

/// A user to be stored.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The id.
    pub id: UserId,
    /// The user name.
    pub name: Option<Username>,
    /// The phone number.
    pub phone: Option<Phone>,
    /// The e-mail address.
    pub email: Option<Email>,
    /// The identifier that the user registers with, as it was entered; `None` if an administrator adds the user.
    pub registered_with: Option<String>,
    /// The app that the user registers through; empty if none.
    pub registered_through: String,
    /// When the user is added.
    pub registered_at: Timestamp,
    /// cloudbox `user_alias_id`: 32 hex digits.
    pub alias_id: String,
    /// The role.
    pub role: Role,
    /// Personal data.
    pub profile: Profile,
    /// The credential.
    pub credential: Credential,
}

impl NewUser {
    /// The canonical keys of the user's identifiers, sorted, each once.
    pub fn identifier_keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = [
            self.name.as_ref().map(Username::key),
            self.phone.as_ref().map(Phone::key),
            self.email.as_ref().map(Email::key),
        ]
        .into_iter()
        .flatten()
        .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A user without a name.
    pub(crate) fn user(id: UserId) -> User {
        User {
            id,
            number: FIRST_USER_NUMBER,
            name: None,
            phone: Some("+8613800000000".to_owned()),
            email: Some("A@example.com".to_owned()),
            registered_with: None,
            registered_through: String::new(),
            registered_at: Timestamp::from_secs(0),
            alias_id: String::new(),
            role: Role::User,
            disabled: false,
            profile: Profile::default(),
        }
    }

    #[test]
    fn roles_and_genders_round_trip() {
        assert_eq!([Role::Admin, Role::User].map(Role::as_str), ["admin", "user"]);
        assert_eq!(["admin", "user", "Admin", ""].map(Role::parse), [Some(Role::Admin), Some(Role::User), None, None]);
        assert_eq!([Gender::Male, Gender::Female].map(Gender::as_str), ["男", "女"]);
        assert_eq!(["男", "女", "", "male"].map(Gender::parse), [Some(Gender::Male), Some(Gender::Female), None, None]);
    }

    #[test]
    fn display_name_and_recipient_ownership_follow_the_users_identifiers() {
        let nameless = user(UserId::from_bytes([1; 16]));
        assert_eq!(nameless.display_name(), "+8613800000000");
        let registered = User { registered_with: nameless.email.clone(), ..nameless.clone() };
        assert_eq!(registered.display_name(), "A@example.com");
        assert_eq!(User { name: Some("alice".to_owned()), ..registered }.display_name(), "alice");
        for (to, is_own) in
            [("13800000000", true), ("13800000001", false), ("a@example.com", true), ("b@example.com", false)]
        {
            assert_eq!(nameless.owns_recipient(&Recipient::parse(to).unwrap()), is_own, "{to}");
        }
        // A user name that looks like a phone number is not the user's phone.
        let named = User { phone: None, email: None, name: Some("13800000000".to_owned()), ..nameless };
        assert!(!named.owns_recipient(&Recipient::parse("13800000000").unwrap()));
    }

    #[test]
    fn a_new_user_has_each_identifier_key_once() {
        let user_named = |name: &str| NewUser {
            id: UserId::from_bytes([1; 16]),
            name: Username::parse(name),
            phone: Phone::parse_provisioned("13800000000"),
            email: Email::parse_provisioned("A@example.com"),
            registered_with: None,
            registered_through: String::new(),
            registered_at: Timestamp::from_secs(0),
            alias_id: String::new(),
            role: Role::User,
            profile: Profile::default(),
            credential: Credential { verifier: String::new(), sealed: None },
        };
        assert_eq!(user_named("alice").identifier_keys(), ["13800000000", "a@example.com", "alice"]);
        assert_eq!(user_named("13800000000").identifier_keys(), ["13800000000", "a@example.com"]);
    }

    #[test]
    fn the_field_with_an_invisible_character_is_named() {
        assert_eq!(Profile::default().field_with_invisible_character(), None);
        let hidden = "a\u{202e}b".to_owned();
        assert_eq!(
            Profile { memo: hidden.clone(), ..Profile::default() }.field_with_invisible_character(),
            Some("memo")
        );
        assert_eq!(
            Profile { nickname: hidden, ..Profile::default() }.field_with_invisible_character(),
            Some("nickname")
        );
    }
}
