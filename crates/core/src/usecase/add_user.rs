//! Adding a user, with a password or an imported hash (administrator).

use super::audit_scope::AuditScope;
use super::credential;
use super::new_password::check_new_password;
use crate::event::Action;
use crate::identifier::{Email, Phone, Username};
use crate::password::NewPassword;
use crate::user::{NewUser, Profile, Role, User, UserId};
use crate::verifier::ImportedHash;
use crate::{Dependencies, Error, Result, UseCases};

/// A user to add.
#[derive(Debug)]
pub struct AddUserRequest {
    /// The user name.
    pub name: Username,
    /// The phone number.
    pub phone: Option<Phone>,
    /// The e-mail address.
    pub email: Option<Email>,
    /// The role.
    pub role: Role,
    /// Personal data.
    pub profile: Profile,
    /// The password, or a hash of the password from another system.
    pub secret: ProvidedSecret,
}

/// The password or hash that the administrator provides for the user. Never printed.
pub enum ProvidedSecret {
    /// The password.
    Password(NewPassword),
    /// A hash from another system.
    Hash(ImportedHash),
}

impl std::fmt::Debug for ProvidedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(…)",
            Self::Hash(_) => "Hash(…)",
        })
    }
}

impl UseCases {
    /// Adds a user. An imported hash is not checked against the lists of common passwords.
    ///
    /// # Errors
    /// `CommonPassword`; `Invalid` for a profile field with an invisible character; `IdentifierTaken`; `Busy`,
    /// `Unavailable`, `Internal`.
    pub async fn add_user(&self, request: AddUserRequest) -> Result<User> {
        let mut audit = AuditScope::start_for_administrator(&self.deps, Action::AddUser);
        let outcome = create_user(&self.deps, request, &mut audit).await;
        if let Ok(user) = &outcome {
            audit.set_subject(user.id);
        }
        audit.finish(outcome)
    }
}

async fn create_user(deps: &Dependencies, request: AddUserRequest, audit: &mut AuditScope<'_>) -> Result<User> {
    let AddUserRequest { name, phone, email, role, profile, secret } = request;
    if let Some(field) = profile.field_with_invisible_character() {
        return Err(Error::Invalid(field));
    }
    let id = UserId::from_random(deps.random.bits128());
    let credential = match secret {
        ProvidedSecret::Password(password) => {
            check_new_password(deps, &password, audit).await?;
            credential::create(deps, id, password.as_digest()).await?
        }
        // Users keep the passwords that they bring along: the check is for new passwords only.
        ProvidedSecret::Hash(hash) => credential::import(deps, id, hash).await?,
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
