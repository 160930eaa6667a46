//! `stele challenge`: salted logins, ended or allowed again.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use stele_app::context;
use stele_core::event::Action;
use stele_core::ports::SaltedUsage;
use stele_core::time::Offset;
use stele_core::usecase::administration::Administration;
use stele_service::{ConfigError, Settings};

use super::progress::Progress;
use super::{CommandError, admin, print_line};
use crate::args::ChallengeCommand;

/// What counts as lately.
const RECENT_WINDOW: Duration = Duration::from_secs(30 * 86_400);

pub(crate) async fn run(settings: &Settings, command: ChallengeCommand) -> Result<(), CommandError> {
    let (administration, trail) = context::administration(settings).await?;
    match command {
        ChallengeCommand::Off { yes, json } => {
            let seals = warn_affected_users(&administration, json).await?;
            let ended = disable(&administration, seals, yes, json).await;
            admin::record_action(&administration, &trail, Action::EndSalted, None, ended).await
        }
        ChallengeCommand::On => {
            let allowed = enable(&administration).await;
            admin::record_action(&administration, &trail, Action::AllowSalted, None, allowed).await
        }
    }
}

async fn enable(administration: &Administration) -> Result<(), CommandError> {
    match administration.allow_salted().await? {
        true => {
            print_line("salted logins are allowed: each user's work after their next login with the password itself")
        }
        false => print_line("salted logins were not ended"),
    }
}

/// Says who will be locked out; gives how many digests are sealed.
async fn warn_affected_users(administration: &Administration, json: bool) -> Result<u64, CommandError> {
    let (found, seals) = administration.salted_usage(administration.now().saturating_sub(RECENT_WINDOW)).await?;
    if json {
        let last = found.last_login.map(|at| at.to_rfc3339(Offset::UTC));
        let output = serde_json::json!({ "salted_users": found.users, "lately": found.recent_users, "last": last, "seals": seals });
        print_line(&output.to_string())?;
    } else {
        print_line(&describe_salted_use(found))?;
        print_line(&format!(
            "{seals} sealed digests are erased for good; only each user's password can make a new one"
        ))?;
    }
    Ok(seals)
}

async fn disable(administration: &Administration, seals: u64, yes: bool, json: bool) -> Result<(), CommandError> {
    if !yes && !confirm()? {
        return Err(CommandError::Failed("nothing was changed".to_owned()));
    }
    let mut progress = Progress::new(json, "erased", seals);
    administration
        .end_salted(&mut |rows| progress.add(rows))
        .await
        .map_err(|cause| CommandError::Failed(format!("broken off: {cause}; `stele challenge off` goes on")))?;
    progress.finish()
}

fn describe_salted_use(SaltedUsage { users, recent_users: lately, last_login: last }: SaltedUsage) -> String {
    match last {
        None => "nobody is known to have logged in by a salted proof".to_owned(),
        Some(last) => {
            let last = last.to_rfc3339(Offset::UTC);
            format!(
                "{users} users have logged in by salted proofs, {lately} of them in the last 30 days, the last at {last}"
            )
        }
    }
}

/// Asks whoever sits there.
fn confirm() -> Result<bool, CommandError> {
    if !std::io::stdin().is_terminal() {
        return Err(ConfigError::new("nobody is there to ask; --yes does it without asking").into());
    }
    let unread = |e: std::io::Error| ConfigError::new(format!("standard input cannot be read: {e}"));
    let mut out = std::io::stderr();
    write!(out, "End salted logins now? Type yes: ").and_then(|()| out.flush()).map_err(unread)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(unread)?;
    Ok(line.trim() == "yes")
}
