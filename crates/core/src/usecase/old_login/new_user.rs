//! The user whom a confirmed login adds, as the old server's answer describes it.

use crate::identifier::{Email, Identifier, Phone, Username};
use crate::old_server::OldProfile;
use crate::usecase::credential;
use crate::user::{Credential, NewUser, Profile, Role, UserId};
use crate::verifier::{self, PresentedSecret};
use crate::{Dependencies, Result};

/// The user whom an answer describes. The user has the identifier that was sent, and those of the answer.
pub(super) async fn new_user(
    deps: &Dependencies,
    identifier: &Identifier,
    taught: Option<&PresentedSecret>,
    answer: &OldProfile,
) -> Result<NewUser> {
    let id = UserId::from_random(deps.random.bits128());
    let credential = match taught {
        Some(secret) => credential::create(deps, id, &secret.digest()).await?,
        None => Credential { verifier: verifier::NO_PASSWORD.to_owned(), sealed: None },
    };
    let mut profile = Profile::default();
    answer.fill_in(&mut profile);
    let is_alias = |alias: &&String| alias.len() == 32 && alias.bytes().all(|b| b.is_ascii_hexdigit());
    let alias_id = answer.alias_id.as_ref().filter(is_alias).map(|alias| alias.to_lowercase());
    let new = NewUser {
        id,
        name: answer.username(),
        phone: answer.phone(),
        email: answer.email(),
        registered_with: answer.registered_with.clone().filter(|text| Identifier::parse(text).is_some()),
        registered_through: String::new(),
        registered_at: answer.registered_at.unwrap_or_else(|| deps.now()),
        alias_id: alias_id.unwrap_or_else(|| deps.random.hex128()),
        role: Role::User,
        profile,
        credential,
    };
    let has_identifier = new.identifier_keys().contains(&identifier.key());
    Ok(if has_identifier { new } else { with_identifier_alone(new, identifier) })
}

/// The same user with one identifier: the one that was sent.
pub(super) fn with_identifier_alone(new: NewUser, identifier: &Identifier) -> NewUser {
    let text = identifier.text();
    let phone = Phone::parse(text);
    let email = Email::parse_provisioned(text).filter(|_| phone.is_none());
    let name = Username::parse(text).filter(|_| phone.is_none() && email.is_none());
    NewUser { name, phone, email, ..new }
}
