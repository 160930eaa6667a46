//! `stele challenge`: salted logins, ended or allowed again.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use stele_core::event::Act;
use stele_core::ports::{KeyStore, SaltedUse};
use stele_core::time::{Clock as _, Offset, SystemClock};
use stele_core::usecase::end_salted::end_salted;
use stele_web::{ConfigError, Settings, boot};

use super::progress::Progress;
use super::{CommandError, admin, say};
use crate::args::Challenge;

/// What counts as lately.
const LATELY: Duration = Duration::from_secs(30 * 86_400);

pub(crate) async fn run(settings: &Settings, command: Challenge) -> Result<(), CommandError> {
    let database = boot::current(settings).await?;
    let (keys, trail) = (database.keys(), boot::trail_of(&database));
    match command {
        Challenge::Off { yes, json } => {
            let seals = announce(keys.as_ref(), json).await?;
            let ended = off(keys.as_ref(), seals, yes, json).await;
            admin::tell(&trail, Act::EndSalted, None, ended).await
        }
        Challenge::On => admin::tell(&trail, Act::AllowSalted, None, on(keys.as_ref()).await).await,
    }
}

async fn on(keys: &dyn KeyStore) -> Result<(), CommandError> {
    match keys.allow_salted().await? {
        true => say("salted logins are allowed: each user's work after their next login with the password itself"),
        false => say("salted logins were not ended"),
    }
}

/// Says who will be locked out; gives how many digests are sealed.
async fn announce(keys: &dyn KeyStore, json: bool) -> Result<u64, CommandError> {
    let found = keys.salted_use(SystemClock.now().before(LATELY)).await?;
    let seals = keys.count_seals().await?;
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

async fn off(keys: &dyn KeyStore, seals: u64, yes: bool, json: bool) -> Result<(), CommandError> {
    if !yes && !confirmed()? {
        return Err(CommandError::Refused("nothing was changed".to_owned()));
    }
    let mut progress = Progress::new(json, "erased", seals);
    end_salted(keys, &SystemClock, &mut |rows| progress.add(rows))
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
