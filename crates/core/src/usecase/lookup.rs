//! Reading users and apps, and what a dialect needs of rules and keys.

use zeroize::Zeroizing;

use super::add_app::SECRET_LENGTH;
use crate::app::App;
use crate::identifier::{Identifier, Phone};
use crate::password::{NewPassword, RawPassword, Weak};
use crate::ports::UserStore;
use crate::user::{User, UserRef};
use crate::{Error, Result, UseCases};

impl UseCases {
    /// The user with this phone (MeFP document, 验证用户名).
    ///
    /// # Errors
    /// Faults of ours.
    pub async fn user_with_phone(&self, phone: &Phone) -> Result<Option<User>> {
        Ok(self.deps.users.find(phone.key()).await?.map(|account| account.user))
    }

    /// A user by name, phone or e-mail address, else by id or number.
    ///
    /// # Errors
    /// `UnknownUser`; faults of ours.
    pub async fn find_user(&self, text: &str) -> Result<User> {
        find_user(self.deps.users.as_ref(), text).await
    }

    /// Up to `limit` users with numbers above `after`, in order.
    ///
    /// # Errors
    /// Faults of ours.
    pub async fn list_users(&self, after: i64, limit: u32) -> Result<Vec<User>> {
        self.deps.users.list(after, limit).await
    }

    /// The app of this name and its secret. A name that no app has costs the same, and the secret is of no app.
    ///
    /// # Errors
    /// Faults of ours: a sealing key that is missing or wrong.
    pub async fn app(&self, name: &str) -> Result<(Option<App>, Zeroizing<[u8; SECRET_LENGTH]>)> {
        let app = self.deps.users.app(App::lookup_name(name)).await?;
        let opened = match &app {
            Some(app) => self.deps.open(&App::seal_context(&app.name), &app.secret).await?,
            None => self.deps.sealer.open_decoy(),
        };
        let secret = opened.as_slice().try_into().map(Zeroizing::new).map_err(Error::internal)?;
        Ok((app, secret))
    }

    /// A password that a user chose, if the policy allows it.
    ///
    /// # Errors
    /// [`Weak`], which says at which end it fails.
    pub fn choose_password(&self, password: &RawPassword) -> Result<NewPassword, Weak> {
        NewPassword::chosen(password, self.deps.policy.password_min)
    }

    /// Takes up the key of this name if another process put it in service since this one looked.
    ///
    /// # Errors
    /// The key is in service and missing here.
    pub async fn take_up_key(&self, key: &str) -> Result<()> {
        self.deps.keys.look().await;
        match self.deps.keys.lacks(key) {
            true => Err(Error::internal(format!("the signing key {key} is missing here"))),
            false => Ok(()),
        }
    }
}

/// A user by name, phone or e-mail address, else by id or number.
pub(super) async fn find_user(users: &dyn UserStore, text: &str) -> Result<User> {
    let named = match Identifier::parse(text) {
        Some(identifier) => users.find(identifier.key()).await?,
        None => None,
    };
    let found = match (named, UserRef::parse(text)) {
        (None, Some(user)) => users.find_ref(user).await?,
        (named, _) => named,
    };
    found.map(|account| account.user).ok_or(Error::UnknownUser)
}
