//! Working on the user base beside running services.

use std::io::BufRead as _;
use std::sync::Arc;

use stele_app::hashing::Hashing;
use stele_app::trail::Trail;
use stele_app::{Context, Surroundings, context, stores};
use stele_core::event::{Act, Outcome, Subject};
use stele_core::ports::{Delivery, Message};
use stele_core::random::OsRandom;
use stele_core::usecase::administration::Administration;
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

use super::progress::Progress;
use super::{CommandError, say};
use crate::services;

/// Does `work` on the user base; what it did is in the audit trail when this returns. Makes nothing that is missing.
pub(crate) async fn work(
    settings: Settings,
    work: impl AsyncFnOnce(&Context) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let context = stele_app::open_with(settings, Surroundings::default(), no_delivery()).await?;
    let done = work(&context).await;
    // What went wrong before matters more.
    let flushed = written(&context.trail).await;
    done.and(flushed)
}

/// Takes down what an administrator did to keys, and writes it.
pub(crate) async fn record<T>(
    administration: &Administration,
    trail: &Trail,
    act: Act,
    subject: Option<Subject>,
    done: Result<T, CommandError>,
) -> Result<T, CommandError> {
    let outcome = match &done {
        Ok(_) | Err(CommandError::Enough) => Outcome::Done,
        Err(CommandError::Setup(_)) => Outcome::Invalid,
        Err(CommandError::Refused(_)) => Outcome::NotAllowed,
    };
    administration.record(act, subject, outcome);
    let flushed = written(trail).await;
    done.and_then(|done| flushed.map(|()| done))
}

async fn written(trail: &Trail) -> Result<(), CommandError> {
    trail.flush().await.map_err(|cause| {
        CommandError::Refused(format!("what was done is done, but could not be written to the audit trail: {cause}"))
    })
}

/// What commands deliver codes by: they send none.
pub(crate) fn no_delivery() -> Arc<dyn Delivery> {
    Arc::new(NoDelivery)
}

/// Makes missing keys, brings the schema up to date, and wraps imported hashes that earlier builds stored as they came.
/// Instances of such a build cannot read a wrapped hash; where the schema was older they may still be running, so hashes
/// are left to the next run.
pub(crate) async fn migrate(settings: Settings) -> Result<(), CommandError> {
    let was_older = stores::has_older_schema(&settings).await?;
    stele_app::provision(&settings, &services::ALL, &OsRandom).await?;
    // As whatever runs will: what is wrong with a key is told now.
    let (administration, _) = context::administration(&settings).await?;
    context::key_ring(&settings).await?;
    let pending = administration.pending_wraps().await?;
    let left = was_older && pending > 0;
    if pending > 0 && !was_older {
        wrap_earlier_hashes(&settings, &administration, pending).await?;
    }
    let next =
        "\nimported hashes: run `stele migrate` again, once every instance runs this version, to wrap them in argon2id";
    let next = if left { next } else { "" };
    say(&format!("keys in {}: ready\nschema: current{next}", settings.keys().display()))
}

async fn wrap_earlier_hashes(
    settings: &Settings,
    administration: &Administration,
    pending: u64,
) -> Result<(), CommandError> {
    let hashing = Hashing::read(settings)?;
    let hasher = hashing.hasher(&OsRandom)?;
    let mut progress = Progress::new(false, "imported hashes wrapped:", pending);
    let done = administration
        .wrap_hashes(&hasher, hashing.slots, &mut |rows| progress.add(rows))
        .await
        .map_err(|cause| CommandError::Refused(format!("broken off: {cause}; `stele migrate` goes on")))?;
    progress.finish()?;
    match done.unreadable {
        0 => Ok(()),
        rows => {
            say(&format!("{rows} imported hashes cannot be read; set these users' passwords (`stele user passwd`)"))
        }
    }
}

/// The first line of standard input.
pub(crate) fn secret_from_stdin() -> Result<Zeroizing<String>, CommandError> {
    let mut line = Zeroizing::new(String::new());
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|e| ConfigError::new(format!("standard input cannot be read: {e}")))?;
    let line = Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned());
    if line.is_empty() {
        return Err(
            ConfigError::new("standard input is empty; write the secret to it, as in: printf %s SECRET | …").into()
        );
    }
    Ok(line)
}

struct NoDelivery;

impl Delivery for NoDelivery {
    fn dispatch(&self, _: Message) -> stele_core::Result<()> {
        Err(stele_core::Error::unavailable("this command delivers nothing"))
    }
}
