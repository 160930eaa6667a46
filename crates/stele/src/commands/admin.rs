//! Working on the user base beside running services.

use std::io::BufRead as _;
use std::sync::Arc;

use stele_app::audit_log::AuditLogWriter;
use stele_app::password_hashing::HashingConfig;
use stele_app::{Context, Environment, context, stores};
use stele_core::event::{Action, Outcome, Subject};
use stele_core::ports::{CodeMessage, Delivery};
use stele_core::random::OsRandom;
use stele_core::usecase::administration::Administration;
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

use super::progress::Progress;
use super::{CommandError, print_line};
use crate::services;

/// Does `work` on the user base; what it did is in the audit trail when this returns. Makes nothing that is missing.
pub(crate) async fn run_with_context(
    settings: Settings,
    work: impl AsyncFnOnce(&Context) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let context = stele_app::open_with_delivery(settings, Environment::default(), disabled_delivery()).await?;
    let done = work(&context).await;
    // What went wrong before matters more.
    let flushed = flush_audit_log(&context.audit_log).await;
    done.and(flushed)
}

/// Takes down what an administrator did to keys, and writes it.
pub(crate) async fn record_action<T>(
    administration: &Administration,
    trail: &AuditLogWriter,
    act: Action,
    subject: Option<Subject>,
    done: Result<T, CommandError>,
) -> Result<T, CommandError> {
    let outcome = match &done {
        Ok(_) | Err(CommandError::OutputClosed) => Outcome::Done,
        Err(CommandError::Setup(_)) => Outcome::Invalid,
        Err(CommandError::Failed(_)) => Outcome::NotAllowed,
    };
    administration.record(act, subject, outcome);
    let flushed = flush_audit_log(trail).await;
    done.and_then(|done| flushed.map(|()| done))
}

async fn flush_audit_log(trail: &AuditLogWriter) -> Result<(), CommandError> {
    trail.flush().await.map_err(|cause| {
        CommandError::Failed(format!("what was done is done, but could not be written to the audit trail: {cause}"))
    })
}

/// What commands deliver codes by: they send none.
pub(crate) fn disabled_delivery() -> Arc<dyn Delivery> {
    Arc::new(DisabledDelivery)
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
    let pending = administration.count_pending_wraps().await?;
    let left = was_older && pending > 0;
    if pending > 0 && !was_older {
        wrap_imported_hashes(&settings, &administration, pending).await?;
    }
    let next =
        "\nimported hashes: run `stele migrate` again, once every instance runs this version, to wrap them in argon2id";
    let next = if left { next } else { "" };
    print_line(&format!("keys in {}: ready\nschema: current{next}", settings.keys_dir().display()))
}

async fn wrap_imported_hashes(
    settings: &Settings,
    administration: &Administration,
    pending: u64,
) -> Result<(), CommandError> {
    let hashing = HashingConfig::from_settings(settings)?;
    let hasher = hashing.build_hasher(&OsRandom)?;
    let mut progress = Progress::new(false, "imported hashes wrapped:", pending);
    let done = administration
        .wrap_hashes(&hasher, hashing.max_concurrent, &mut |rows| progress.add(rows))
        .await
        .map_err(|cause| CommandError::Failed(format!("broken off: {cause}; `stele migrate` goes on")))?;
    progress.finish()?;
    match done.unreadable {
        0 => Ok(()),
        rows => print_line(&format!(
            "{rows} imported hashes cannot be read; set these users' passwords (`stele user passwd`)"
        )),
    }
}

/// The first line of standard input.
pub(crate) fn read_secret_from_stdin() -> Result<Zeroizing<String>, CommandError> {
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

struct DisabledDelivery;

impl Delivery for DisabledDelivery {
    fn dispatch(&self, _: CodeMessage) -> stele_core::Result<()> {
        Err(stele_core::Error::unavailable("this command delivers nothing"))
    }
}
