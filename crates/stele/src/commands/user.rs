//! `stele user`.

use serde_json::{Value, json};
use stele_core::identifier::Identifier;
use stele_core::password::{NewPassword, RawPassword};
use stele_core::ports::UserStore;
use stele_core::time::Offset;
use stele_core::usecase::add_user::{self, Provided};
use stele_core::usecase::{provision_password, set_disabled};
use stele_core::user::{Account, User as Person, UserRef};
use stele_core::{Deps, Error, verifier};
use stele_web::{ConfigError, Context};

use super::admin::secret_from_stdin;
use super::{CommandError, cell, say, say_next};
use crate::args::{AddUser, User};

/// How many users are read at once.
const PAGE: u32 = 500;

pub(crate) async fn run(context: &Context, command: User) -> Result<(), CommandError> {
    let deps = &context.deps;
    match command {
        User::Add(options) => add(deps, *options).await,
        User::List { json } => list(deps, json).await,
        User::Show { user } => {
            let account = find(deps.users.as_ref(), &user).await?;
            say(&format!("{:#}", describe(&account.user)))
        }
        User::Disable { user } => disable(deps, &user, true).await,
        User::Enable { user } => disable(deps, &user, false).await,
        User::Passwd { user, .. } => {
            let account = find(deps.users.as_ref(), &user).await?;
            let password = password()?;
            Ok(provision_password::provision_password(deps, UserRef::Id(account.user.id), &password).await?)
        }
    }
}

async fn add(deps: &Deps, options: AddUser) -> Result<(), CommandError> {
    let secret = if options.hash_stdin {
        Provided::Foreign(verifier::import(&secret_from_stdin()?).map_err(ConfigError::new)?)
    } else {
        Provided::Password(password()?)
    };
    let profile = options.profile();
    let AddUser { username, phone, email, role, .. } = options;
    let request = add_user::AddUser { name: username, phone, email, role, profile, secret };
    let user = add_user::add_user(deps, request).await?;
    say(&user.id.to_string())
}

fn password() -> Result<NewPassword, CommandError> {
    let raw = RawPassword::new(secret_from_stdin()?.to_string());
    NewPassword::provisioned(&raw).ok_or_else(|| ConfigError::new("the password is empty").into())
}

async fn list(deps: &Deps, json: bool) -> Result<(), CommandError> {
    let mut after = 0;
    loop {
        let page = deps.users.list(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.number;
        for user in &page {
            if json {
                say_next(&describe(user).to_string())?;
            } else {
                let or_dash = |text: &Option<String>| cell(text.as_deref().unwrap_or("-")).into_owned();
                let (name, phone, email) = (or_dash(&user.name), or_dash(&user.phone), or_dash(&user.email));
                let status = if user.disabled { "disabled" } else { "active" };
                let (id, number, role) = (user.id, user.number, user.role.as_str());
                say_next(&format!("{id}\t{number}\t{name}\t{phone}\t{email}\t{role}\t{status}"))?;
            }
        }
    }
}

async fn disable(deps: &Deps, user: &str, disabled: bool) -> Result<(), CommandError> {
    let account = find(deps.users.as_ref(), user).await?;
    Ok(set_disabled::set_disabled(deps, UserRef::Id(account.user.id), disabled).await?)
}

/// A user by name, phone or e-mail address, else by id or number.
pub(super) async fn find(users: &dyn UserStore, text: &str) -> Result<Account, CommandError> {
    let named = match Identifier::parse(text) {
        Some(identifier) => users.find(identifier.key()).await?,
        None => None,
    };
    let found = match (named, UserRef::parse(text)) {
        (Some(account), _) => Some(account),
        (None, Some(user)) => users.find_ref(user).await?,
        (None, None) => None,
    };
    found.ok_or_else(|| Error::UnknownUser.into())
}

fn describe(user: &Person) -> Value {
    let profile = &user.profile;
    json!({
        "id": user.id.to_string(),
        "number": user.number,
        "name": user.name,
        "phone": user.phone,
        "email": user.email,
        "role": user.role.as_str(),
        "disabled": user.disabled,
        "registered_at": user.registered_at.rfc3339(Offset::UTC),
        "registered_with": user.registered_with,
        "registered_through": user.registered_through,
        "real_name": profile.real_name,
        "gender": profile.gender.map(|gender| gender.as_str()),
        "nickname": profile.nickname,
        "avatar_url": profile.avatar_url,
        "enterprise": profile.enterprise,
        "group": profile.group,
        "organization": profile.organization,
        "department": profile.department,
        "description": profile.description,
        "org_id": profile.org_id,
        "memo": profile.memo,
    })
}
