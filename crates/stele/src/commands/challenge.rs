//! `stele challenge`: disables salted logins and erases their sealed digests, or enables them again.

use std::time::Duration;

use stele_app::context;
use stele_core::event::Action;
use stele_core::ports::SaltedLoginUsage;
use stele_core::time::Offset;
use stele_core::usecase::administration::Administration;
use stele_service::Settings;

use super::confirm::Confirmation;
use super::progress::Progress;
use super::{CommandError, OutputFormat, admin, print_line};
use crate::args::ChallengeCommand;

/// Users whose last salted login is within this window are reported as recent.
const RECENT_WINDOW: Duration = Duration::from_secs(30 * 86_400);

pub(crate) async fn run(settings: &Settings, command: ChallengeCommand) -> Result<(), CommandError> {
    let (administration, audit_log) = context::open_administration(settings).await?;
    match command {
        ChallengeCommand::Off { yes, json } => {
            let format = OutputFormat::from_json_flag(json);
            let confirmation = Confirmation::from_yes_flag(yes);
            let sealed_digests = print_affected_users(&administration, format).await?;
            let result = disable(&administration, sealed_digests, confirmation, format).await;
            admin::record_action(&administration, &audit_log, Action::DisableSaltedLogins, None, result).await
        }
        ChallengeCommand::On => {
            let result = enable(&administration).await;
            admin::record_action(&administration, &audit_log, Action::EnableSaltedLogins, None, result).await
        }
    }
}

async fn enable(administration: &Administration) -> Result<(), CommandError> {
    match administration.enable_salted_logins().await? {
        true => {
            print_line("salted logins are enabled; each user can use them after one login with the password itself")
        }
        false => print_line("salted logins were enabled already"),
    }
}

/// Prints how many users log in with salted proofs and how many sealed digests will be erased; returns the latter.
async fn print_affected_users(administration: &Administration, format: OutputFormat) -> Result<u64, CommandError> {
    let (usage, sealed_digests) =
        administration.salted_login_usage(administration.now().saturating_sub(RECENT_WINDOW)).await?;
    match format {
        OutputFormat::Json => {
            let last = usage.last_login.map(|at| at.to_rfc3339(Offset::UTC));
            let output = serde_json::json!({
                "salted_users": usage.users, "lately": usage.recent_users, "last": last, "seals": sealed_digests
            });
            print_line(&output.to_string())?;
        }
        OutputFormat::Text => {
            print_line(&describe_salted_use(usage))?;
            print_line(&format!(
                "{sealed_digests} sealed digests will be erased and cannot be restored; after `stele challenge on`, a \
                 login with the password itself creates a new digest"
            ))?;
        }
    }
    Ok(sealed_digests)
}

async fn disable(
    administration: &Administration,
    sealed_digests: u64,
    confirmation: Confirmation,
    format: OutputFormat,
) -> Result<(), CommandError> {
    confirmation.require("Disable salted logins now?")?;
    let mut progress = Progress::new(format, "erased", sealed_digests);
    administration.disable_salted_logins(&mut |rows| progress.add(rows)).await.map_err(|error| {
        CommandError::Failed(format!("interrupted: {error}; run `stele challenge off` again to resume"))
    })?;
    progress.finish()
}

fn describe_salted_use(SaltedLoginUsage { users, recent_users, last_login }: SaltedLoginUsage) -> String {
    match last_login {
        None => "no user is known to have logged in with a salted proof".to_owned(),
        Some(last_login) => {
            let last_login = last_login.to_rfc3339(Offset::UTC);
            format!(
                "{users} users have logged in with salted proofs, {recent_users} of them in the last 30 days, the last \
                 at {last_login}"
            )
        }
    }
}
