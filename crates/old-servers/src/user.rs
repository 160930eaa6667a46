//! Users of an old server, and where they are kept.

use async_trait::async_trait;
use time::OffsetDateTime;
use time::macros::datetime;

use crate::password::{PasswordFormat, StoredPassword};

/// A user of an old server: the fields of all five documents. A server answers and keeps those of its own document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldUser {
    /// cloudbox's and JWT's `user_id` (a UUID), TMS's, the portal's and .NET's number.
    pub id: String,
    /// cloudbox's and TMS's `user_alias_id`: 32 hexadecimal digits or empty.
    pub alias_id: String,
    /// The portal's `gid`, 金桐号.
    pub gid: String,
    /// The login name.
    pub name: String,
    /// The phone number, or empty.
    pub phone: String,
    /// The e-mail address, or empty.
    pub email: String,
    /// The password.
    pub password: StoredPassword,
    /// An administrator.
    pub is_admin: bool,
    /// Locked: does not log in.
    pub is_disabled: bool,
    /// `user_real_name`, `realName`.
    pub real_name: String,
    /// `男`, `女` or empty.
    pub gender: String,
    /// `user_nickname`.
    pub nickname: String,
    /// `avatar_url`, `avatar`.
    pub avatar_url: String,
    /// cloudbox's `group`.
    pub group: String,
    /// cloudbox's `enterprise`, a UUID or empty.
    pub enterprise: String,
    /// JWT's `organizationName`.
    pub organization: String,
    /// JWT's `departmentName`.
    pub department: String,
    /// JWT's `description`.
    pub description: String,
    /// The portal's `orgId`.
    pub org_id: String,
    /// The portal's `memo`.
    pub memo: String,
    /// The time of the registration.
    pub registered_at: OffsetDateTime,
    /// MeFP's `reg_app`.
    pub registered_app: String,
}

impl OldUser {
    /// An ordinary user without phone and e-mail, registered at the time in cloudbox's document.
    pub fn new(id: &str, name: &str, password: StoredPassword) -> Self {
        Self {
            id: id.to_owned(),
            alias_id: String::new(),
            gid: String::new(),
            name: name.to_owned(),
            phone: String::new(),
            email: String::new(),
            password,
            is_admin: false,
            is_disabled: false,
            real_name: String::new(),
            gender: String::new(),
            nickname: String::new(),
            avatar_url: String::new(),
            group: String::new(),
            enterprise: String::new(),
            organization: String::new(),
            department: String::new(),
            description: String::new(),
            org_id: String::new(),
            memo: String::new(),
            registered_at: datetime!(2017-11-23 04:59:11.544126 UTC),
            registered_app: String::new(),
        }
    }
}

/// By which column a user is found. Names and e-mails are compared without regard to letter case. An empty value finds
/// no user.
#[derive(Clone, Copy, Debug)]
pub enum Lookup<'a> {
    /// By the id.
    Id(&'a str),
    /// By the name.
    Name(&'a str),
    /// By the phone.
    Phone(&'a str),
    /// By phone or e-mail.
    Contact(&'a str),
    /// By name, phone or e-mail.
    Login(&'a str),
}

impl Lookup<'_> {
    /// The value that is looked for.
    pub fn value(&self) -> &str {
        match self {
            Self::Id(value) | Self::Name(value) | Self::Phone(value) | Self::Contact(value) | Self::Login(value) => {
                value
            }
        }
    }
}

/// The table cannot be read or written: the server answers with status 500.
#[derive(Debug)]
pub struct TableError(pub String);

impl std::fmt::Display for TableError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TableError {}

/// The users of an old server, read at each request.
#[async_trait]
pub trait UserTable: Send + Sync {
    /// The form in which the table keeps passwords.
    fn password_format(&self) -> PasswordFormat;

    /// The user whose column has the value of `lookup`.
    ///
    /// # Errors
    /// The table cannot be read.
    async fn find(&self, lookup: Lookup<'_>) -> Result<Option<OldUser>, TableError>;

    /// Replaces the password of the user with this id.
    ///
    /// # Errors
    /// The table cannot be written, has no such user, or keeps passwords in another form.
    async fn set_password(&self, id: &str, password: &StoredPassword) -> Result<(), TableError>;

    /// Adds a user, and returns the id. With an empty `user.id` the table gives the next number.
    ///
    /// # Errors
    /// The table cannot be written, or has the name, phone or e-mail already.
    async fn add(&self, user: &OldUser) -> Result<String, TableError>;
}
