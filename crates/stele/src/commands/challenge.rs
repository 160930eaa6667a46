//! `stele challenge`: salted logins, ended or allowed again.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use stele_app::context;
use stele_core::event::Act;
use stele_core::ports::SaltedUse;
use stele_core::time::Offset;
use stele_core::usecase::administration::Administration;
use stele_service::{ConfigError, Settings};

use super::progress::Progress;
use super::{CommandError, admin, say};
use crate::args::Challenge;

/// What counts as lately.
const LATELY: Duration = Duration::from_secs(30 * 86_400);

pub(crate) async fn run(settings: &Settings, command: Challenge) -> Result<(), CommandError> {
    let (administration, trail) = context::administration(settings).await?;
    match command {
        Challenge::Off { yes, json } => {
            let seals = announce(&administration, json).await?;
            let ended = off(&administration, seals, yes, json).await;
            admin::record(&administration, &trail, Act::EndSalted, None, ended).await
        }
        Challenge::On => {
            let allowed = on(&administration).await;
            admin::record(&administration, &trail, Act::AllowSalted, None, allowed).await
        }
    }
}

async fn on(administration: &Administration) -> Result<(), CommandError> {
    match administration.allow_salted().await? {
        true => say("salted logins are allowed: each user's work after their next login with the password itself"),
        false => say("salted logins were not ended"),
    }
}

/// Says who will be locked out; gives how many digests are sealed.
async fn announce(administration: &Administration, json: bool) -> Result<u64, CommandError> {
    let (found, seals) = administration.salted_use(administration.now().before(LATELY)).await?;
    if json {
        let last = found.last.map(|at| at.rfc3339(Offset::UTC));
        let told =
            serde_json::json!({ "salted_users": found.users, "lately": found.lately, "last": last, "seals": seals });
        say(&told.to_string())?;
    } else {
        say(&told(found))?;
        say(&format!("{seals} sealed digests are erased for good; only each user's password can make a new one"))?;
    }
    Ok(seals)
}

async fn off(administration: &Administration, seals: u64, yes: bool, json: bool) -> Result<(), CommandError> {
    if !yes && !confirmed()? {
        return Err(CommandError::Refused("nothing was changed".to_owned()));
    }
    let mut progress = Progress::new(json, "erased", seals);
    administration
        .end_salted(&mut |rows| progress.add(rows))
        .await
        .map_err(|cause| CommandError::Refused(format!("broken off: {cause}; `stele challenge off` goes on")))?;
    progress.finish()
}

fn told(SaltedUse { users, lately, last }: SaltedUse) -> String {
    match last {
        None => "nobody is known to have logged in by a salted proof".to_owned(),
        Some(last) => {
            let last = last.rfc3339(Offset::UTC);
            format!(
                "{users} users have logged in by salted proofs, {lately} of them in the last 30 days, the last at {last}"
            )
        }
    }
}

/// Asks whoever sits there.
fn confirmed() -> Result<bool, CommandError> {
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
