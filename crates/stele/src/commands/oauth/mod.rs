//! `stele client` and `stele resource`: registers OAuth clients and resource servers.

pub(crate) mod client;
pub(crate) mod resource;

use serde_json::{Value, json};
use stele_app::context;
use stele_core::oauth::{ClientSecret, Secrets};
use stele_core::time::{Offset, Timestamp};
use stele_core::usecase::administration::Administration;
use stele_core::usecase::oauth_registration::{RegistryError, RotatedSecret, SecretRotation};
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

use super::admin::flush_audit_log;
use super::{CommandError, print_line};
use crate::args::RotationOptions;

/// Runs `work` on the stores that the settings name, and flushes the audit log.
async fn run_with_administration(
    settings: &Settings,
    work: impl AsyncFnOnce(&Administration) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let (administration, audit_log) = context::open_administration(settings).await?;
    let result = work(&administration).await;
    // If both fail, the error of the work is reported.
    result.and(flush_audit_log(&audit_log).await)
}

impl From<RegistryError> for CommandError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Failed(error) => error.into(),
            RegistryError::NoGrant
            | RegistryError::NoResource
            | RegistryError::NoSubjectType
            | RegistryError::NoExchangeGrant
            | RegistryError::OneTimeToken(_) => Self::Setup(ConfigError::new(error.to_string())),
            refused => Self::Failed(refused.to_string()),
        }
    }
}

impl From<RotationOptions> for SecretRotation {
    fn from(RotationOptions { overlap, replace_newest }: RotationOptions) -> Self {
        if replace_newest { Self::ReplaceNewest { overlap } } else { Self::Add { overlap } }
    }
}

/// Prints `lines`, then the secret as the last word. A script takes the last word, so that lines can be added.
fn print_secret(lines: &str, name: &str, secret: &ClientSecret) -> Result<(), CommandError> {
    print_line(&Zeroizing::new(format!("{lines}{name} {}", secret.expose()))).map_err(|error| match error {
        CommandError::Failed(reason) => CommandError::Failed(format!(
            "{reason}; the new secret is lost: replace it by `rotate --overlap 0s`, or, if an older one is in use, by \
             `rotate --replace-newest`"
        )),
        other => other,
    })
}

/// Prints the result of a rotation.
fn print_rotated_secret(name: &str, rotated: &RotatedSecret) -> Result<(), CommandError> {
    let previous = match rotated.previous_expires_at {
        Some(until) => format!("previous secret valid until {}\n", to_text(until)),
        None => "previous secret ended\n".to_owned(),
    };
    print_secret(&previous, name, &rotated.secret)
}

/// The ages of the valid secrets, the newest first. Never the secrets or their hashes.
fn secrets_to_json(secrets: &Secrets, now: Timestamp) -> Value {
    let newest = json!({ "created_at": to_text(secrets.created_at), "expires_at": null });
    let previous = secrets.live_previous(now).map(
        |previous| json!({ "created_at": to_text(previous.created_at), "expires_at": to_text(previous.expires_at) }),
    );
    std::iter::once(newest).chain(previous).collect()
}

/// As [`secrets_to_json`], as lines of `show`.
fn secrets_to_lines(secrets: &Secrets, now: Timestamp) -> String {
    let previous = secrets.live_previous(now).map_or_else(String::new, |previous| {
        let (since, until) = (to_text(previous.created_at), to_text(previous.expires_at));
        format!("\nprevious secret\tsince {since}, valid until {until}")
    });
    format!("secret\tsince {}{previous}", to_text(secrets.created_at))
}

fn to_text(at: Timestamp) -> String {
    at.to_rfc3339(Offset::UTC)
}

/// A list as one word of text; `-` if it is empty.
fn join_or_dash(words: impl IntoIterator<Item = impl ToString>) -> String {
    let words: Vec<_> = words.into_iter().map(|word| word.to_string()).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}
