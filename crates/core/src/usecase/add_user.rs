//! Adding a user as an administrator.

use super::credential;
use super::watch::Watch;
use crate::event::Act;
use crate::identifier::{Email, Name, Phone};
use crate::password::NewPassword;
use crate::user::{NewUser, Profile, Role, User, UserId};
use crate::verifier::Imported;
use crate::{Deps, Error, Result, UseCases};

/// A user to add.
#[derive(Debug)]
pub struct AddUser {
    /// The name.
    pub name: Name,
    /// The phone.
    pub phone: Option<Phone>,
    /// The e-mail address.
    pub email: Option<Email>,
    /// What they may do.
    pub role: Role,
    /// About the person.
    pub profile: Profile,
    /// What proves them.
    pub secret: Provided,
}

/// What an administrator has of a user's password. Never printed.
pub enum Provided {
    /// The password.
    Password(NewPassword),
    /// A hash made elsewhere.
    Foreign(Imported),
}

impl std::fmt::Debug for Provided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(…)",
            Self::Foreign(_) => "Foreign(…)",
        })
    }
}

impl UseCases {
    /// Adds a user.
    ///
    /// # Errors
    /// `IdentifierTaken`; `Busy` and faults of ours.
    pub async fn add_user(&self, request: AddUser) -> Result<User> {
        let mut watch = Watch::administrative(&self.deps, Act::AddUser);
        let outcome = add(&self.deps, request).await;
        if let Ok(user) = &outcome {
            watch.concerns(user.id);
        }
        watch.end(outcome)
    }
}

async fn add(deps: &Deps, request: AddUser) -> Result<User> {
    let AddUser { name, phone, email, role, profile, secret } = request;
    if let Some(field) = profile.hidden_in() {
        return Err(Error::Invalid(field));
    }
    let id = UserId::from_random(deps.random.bits128());
    let credential = match secret {
        Provided::Password(password) => credential::make(deps, id, password.as_digest()).await?,
        Provided::Foreign(hash) => credential::import(deps, id, hash).await?,
    };
    let new = NewUser {
        id,
        name: Some(name),
        phone,
        email,
        registered_with: None,
        registered_through: String::new(),
        registered_at: deps.now(),
        alias_id: deps.random.hex128(),
        role,
        profile,
        credential,
    };
    deps.users.add(&new).await?.ok_or(Error::IdentifierTaken)
}
