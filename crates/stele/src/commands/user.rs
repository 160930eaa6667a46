//! `stele user`: adds, lists, shows, disables and enables users, sets passwords.

use serde_json::{Value, json};
use stele_app::Context;
use stele_core::password::{NewPassword, RawPassword};
use stele_core::time::Offset;
use stele_core::usecase::add_user::{self, ProvidedSecret};
use stele_core::user::{User, UserRef, UserStatus};
use stele_core::{UseCases, verifier};
use stele_service::ConfigError;

use super::admin::read_secret_from_stdin;
use super::{CommandError, OutputFormat, escape_cell, print_line, print_listing_line};
use crate::args::{AddUserOptions, UserCommand};

/// Users per query.
const PAGE_SIZE: u32 = 500;

pub(crate) async fn run(context: &Context, command: UserCommand) -> Result<(), CommandError> {
    let use_cases = &context.use_cases;
    match command {
        UserCommand::Add(options) => add(use_cases, *options).await,
        UserCommand::List { json } => list(use_cases, OutputFormat::from_json_flag(json)).await,
        UserCommand::Show { user } => {
            let user = use_cases.find_user(&user).await?;
            print_line(&format!("{:#}", to_json(&user)))
        }
        UserCommand::Disable { user } => set_status(use_cases, &user, UserStatus::Disabled).await,
        UserCommand::Enable { user } => set_status(use_cases, &user, UserStatus::Active).await,
        UserCommand::Passwd { user, .. } => {
            let user = use_cases.find_user(&user).await?;
            let password = read_password()?;
            Ok(use_cases.provision_password(UserRef::Id(user.id), &password).await?)
        }
    }
}

async fn add(use_cases: &UseCases, options: AddUserOptions) -> Result<(), CommandError> {
    let secret = if options.hash_stdin {
        ProvidedSecret::Hash(
            verifier::parse_imported(&read_secret_from_stdin()?).map_err(|e| ConfigError::new(e.to_string()))?,
        )
    } else {
        ProvidedSecret::Password(read_password()?)
    };
    let profile = options.profile();
    let AddUserOptions { username, phone, email, role, .. } = options;
    let request = add_user::AddUserRequest { name: username, phone, email, role, profile, secret };
    let user = use_cases.add_user(request).await?;
    print_line(&user.id.to_string())
}

fn read_password() -> Result<NewPassword, CommandError> {
    let raw = RawPassword::new(read_secret_from_stdin()?.to_string());
    NewPassword::from_administrator(&raw)
        .ok_or_else(|| ConfigError::new("the password is empty; write it to standard input").into())
}

async fn list(use_cases: &UseCases, format: OutputFormat) -> Result<(), CommandError> {
    let mut after = 0;
    loop {
        let page = use_cases.list_users(after, PAGE_SIZE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.number;
        for user in &page {
            match format {
                OutputFormat::Json => print_listing_line(&to_json(user).to_string())?,
                OutputFormat::Text => print_listing_line(&format_line(user))?,
            }
        }
    }
}

/// One tab-separated line for people, with a dash for a missing value.
fn format_line(user: &User) -> String {
    let or_dash = |text: &Option<String>| escape_cell(text.as_deref().unwrap_or("-")).into_owned();
    let (name, phone, email) = (or_dash(&user.name), or_dash(&user.phone), or_dash(&user.email));
    let status = if user.disabled { "disabled" } else { "active" };
    let (id, number, role) = (user.id, user.number, user.role.as_str());
    format!("{id}\t{number}\t{name}\t{phone}\t{email}\t{role}\t{status}")
}

async fn set_status(use_cases: &UseCases, user: &str, status: UserStatus) -> Result<(), CommandError> {
    let user = use_cases.find_user(user).await?;
    Ok(use_cases.set_status(UserRef::Id(user.id), status).await?)
}

fn to_json(user: &User) -> Value {
    let profile = &user.profile;
    json!({
        "id": user.id.to_string(),
        "number": user.number,
        "name": user.name,
        "phone": user.phone,
        "email": user.email,
        "role": user.role.as_str(),
        "disabled": user.disabled,
        "registered_at": user.registered_at.to_rfc3339(Offset::UTC),
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
