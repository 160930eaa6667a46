//! Lookups of users, apps and keys for dialects and commands.

use zeroize::Zeroizing;

use super::add_app::SECRET_LENGTH;
use crate::app::App;
use crate::identifier::{Identifier, Phone};
use crate::password::{NewPassword, PasswordLengthError, RawPassword};
use crate::ports::UserStore;
use crate::user::{User, UserRef};
use crate::{Error, Result, UseCases};

impl UseCases {
    /// Finds the user with this phone number (MeFP document, 验证用户名). A user name that can be read as this number also
    /// finds its user.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn find_user_by_phone(&self, phone: &Phone) -> Result<Option<User>> {
        Ok(self.deps.users.find_by_identifier(phone.key()).await?.map(|account| account.user))
    }

    /// Finds a user by name, phone number or e-mail address, else by id or user number.
    ///
    /// # Errors
    /// `UnknownUser`; `Unavailable`, `Internal`.
    pub async fn find_user(&self, text: &str) -> Result<User> {
        find_user(self.deps.users.as_ref(), text).await
    }

    /// Up to `limit` users with numbers above `after`, in the order of these numbers.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn list_users(&self, after: i64, limit: u32) -> Result<Vec<User>> {
        self.deps.users.list(after, limit).await
    }

    /// Finds the app of this name and opens its secret. For an unknown name the work is the same, and the secret is a
    /// dummy (timing side channel).
    ///
    /// # Errors
    /// `Unavailable`; `Internal` if the sealing key is missing or wrong.
    pub async fn find_app_with_secret(&self, name: &str) -> Result<(Option<App>, Zeroizing<[u8; SECRET_LENGTH]>)> {
        let app = self.deps.users.find_app(App::lookup_name(name)).await?;
        let opened = match &app {
            Some(app) => self.deps.open(&App::seal_context(&app.name), &app.secret).await?,
            None => self.deps.sealer.open_dummy(),
        };
        let secret = opened.as_slice().try_into().map(Zeroizing::new).map_err(Error::internal)?;
        Ok((app, secret))
    }

    /// Checks the length of a password that a user chose against the policy.
    ///
    /// # Errors
    /// [`PasswordLengthError`] if it is too short or too long.
    pub fn validate_new_password(&self, password: &RawPassword) -> Result<NewPassword, PasswordLengthError> {
        NewPassword::from_user_choice(password, self.deps.policy.min_password_length)
    }

    /// Loads the signing key of this name if another process has registered it since the last refresh.
    ///
    /// # Errors
    /// `Internal` if the key is registered but this process cannot read its file.
    pub async fn load_key(&self, key: &str) -> Result<()> {
        self.deps.keys.refresh_if_due().await;
        match self.deps.keys.is_key_missing(key) {
            true => Err(Error::internal(format!(
                "the signing key {key} is registered, but missing here; copy its file from another instance"
            ))),
            false => Ok(()),
        }
    }
}

/// Finds a user by name, phone number or e-mail address, else by id or user number; `UnknownUser` if there is none.
pub(super) async fn find_user(users: &dyn UserStore, text: &str) -> Result<User> {
    let by_identifier = match Identifier::parse(text) {
        Some(identifier) => users.find_by_identifier(identifier.key()).await?,
        None => None,
    };
    let found = match (by_identifier, UserRef::parse(text)) {
        (None, Some(user)) => users.find_by_ref(user).await?,
        (by_identifier, _) => by_identifier,
    };
    found.map(|account| account.user).ok_or(Error::UnknownUser)
}
