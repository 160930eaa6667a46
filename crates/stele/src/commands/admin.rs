//! Functions that the administrative commands share (opening the stores beside running services, recording actions in
//! the audit log, reading a secret from standard input), and `stele migrate`.

use std::io::BufRead as _;
use std::sync::Arc;

use stele_app::audit_log::AuditLogWriter;
use stele_app::password_hashing::HashingConfig;
use stele_app::stores::{self, SchemaState};
use stele_app::{Context, Environment, context};
use stele_core::event::{Action, Outcome, Subject};
use stele_core::ports::{CodeMessage, Delivery};
use stele_core::random::OsRandom;
use stele_core::usecase::administration::Administration;
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

use super::progress::Progress;
use super::{CommandError, OutputFormat, print_line};
use crate::services;

/// Opens the stores, runs `work` on them and flushes the audit log. Creates no missing keys or databases.
pub(crate) async fn run_with_context(
    settings: Settings,
    work: impl AsyncFnOnce(&Context) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let context = stele_app::open_with_delivery(settings, Environment::default(), disabled_delivery()).await?;
    let result = work(&context).await;
    // If both fail, the error of the work is reported.
    let flushed = flush_audit_log(&context.audit_log).await;
    result.and(flushed)
}

/// Records an administrator's action in the audit log with the outcome that corresponds to `result`, and flushes the
/// audit log.
pub(crate) async fn record_action<T>(
    administration: &Administration,
    audit_log: &AuditLogWriter,
    action: Action,
    subject: Option<Subject>,
    result: Result<T, CommandError>,
) -> Result<T, CommandError> {
    let outcome = match &result {
        Ok(_) | Err(CommandError::OutputClosed | CommandError::RowsRefused) => Outcome::Done,
        Err(CommandError::Setup(_)) => Outcome::Invalid,
        Err(CommandError::Failed(_)) => Outcome::NotAllowed,
    };
    administration.record(action, subject, outcome);
    let flushed = flush_audit_log(audit_log).await;
    result.and_then(|value| flushed.map(|()| value))
}

pub(crate) async fn flush_audit_log(audit_log: &AuditLogWriter) -> Result<(), CommandError> {
    audit_log.flush().await.map_err(|error| {
        CommandError::Failed(format!("the command took effect, but the audit log could not be written: {error}"))
    })
}

/// A delivery for commands, which send no codes: every dispatch fails.
pub(crate) fn disabled_delivery() -> Arc<dyn Delivery> {
    Arc::new(DisabledDelivery)
}

/// `stele migrate`: creates missing keys, migrates the schema, and wraps in argon2id the imported hashes that earlier
/// versions stored unwrapped. If the schema was older, instances of such a version may still be running. They cannot
/// read a wrapped hash, so in that case the hashes are left to the next run.
pub(crate) async fn migrate(settings: Settings) -> Result<(), CommandError> {
    let schema_before = stores::schema_state(&settings).await?;
    stele_app::provision(&settings, &services::ALL, &OsRandom).await?;
    // Opens the keys as a service does, so that an invalid key is reported now.
    let (administration, _) = context::open_administration(&settings).await?;
    context::open_key_ring(&settings).await?;
    let pending = administration.count_pending_wraps().await?;
    let schema = match schema_before {
        SchemaState::NewerCompatible | SchemaState::Newer => {
            "newer than this version's, which can use it as well; nothing was changed"
        }
        SchemaState::Older if pending > 0 => {
            "current\nimported hashes: run `stele migrate` again, once every instance runs this version, to wrap them \
             in argon2id"
        }
        SchemaState::Empty | SchemaState::Older | SchemaState::Current => {
            if pending > 0 {
                wrap_imported_hashes(&settings, &administration, pending).await?;
            }
            "current"
        }
    };
    print_line(&format!("keys in {}: ready\nschema: {schema}", settings.keys_dir().display()))
}

async fn wrap_imported_hashes(
    settings: &Settings,
    administration: &Administration,
    pending: u64,
) -> Result<(), CommandError> {
    let hashing = HashingConfig::from_settings(settings)?;
    let hasher = hashing.build_hasher(&OsRandom)?;
    let mut progress = Progress::new(OutputFormat::Text, "imported hashes wrapped:", pending);
    let result = administration
        .wrap_hashes(&hasher, hashing.max_concurrent, &mut |rows| progress.add(rows))
        .await
        .map_err(|error| CommandError::Failed(format!("interrupted: {error}; run `stele migrate` again to resume")))?;
    progress.finish()?;
    match result.unreadable {
        0 => Ok(()),
        rows => print_line(&format!(
            "{rows} imported hashes are malformed; set these users' passwords (`stele user passwd`)"
        )),
    }
}

/// Reads the first line of standard input; an empty line is an error.
pub(crate) fn read_secret_from_stdin() -> Result<Zeroizing<String>, CommandError> {
    let mut line = Zeroizing::new(String::new());
    let result = std::io::stdin().lock().read_line(&mut line);
    result.map_err(|e| ConfigError::new(format!("standard input cannot be read: {e}")))?;
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
        Err(stele_core::Error::unavailable("commands deliver no codes"))
    }
}
