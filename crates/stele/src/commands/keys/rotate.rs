//! `stele keys rotate` registers a new key (key rotation), `stele keys reseal` re-encrypts stored secrets under it.

use std::time::Duration;

use serde_json::json;
use stele_app::context;
use stele_core::ports::KeyRecord;
use stele_core::random::OsRandom;
use stele_core::time::Offset;
use stele_keys::{KeyKind, keyring};
use stele_service::Settings;

use super::KeyAdmin;
use crate::commands::progress::Progress;
use crate::commands::{CommandError, OutputFormat, print_line};

/// Registers the next key of a kind, which becomes active after `lead`. If the folder has a key file with a higher
/// number (copied there, or left by an interrupted command), that key is registered; otherwise a file is created.
///
/// # Errors
/// If no key of the kind is registered, the newest is not active yet, the key's file cannot be created or read, or
/// another command registers a key of the same number first.
pub(super) async fn register_next_key(
    key_admin: &KeyAdmin,
    kind: &KeyKind,
    lead: Duration,
) -> Result<KeyRecord, CommandError> {
    let records = key_admin.administration.keys().await?;
    let of_this_kind = records.iter().filter_map(|record| Some((record.number(kind.name)?, record)));
    let Some((newest, record)) = of_this_kind.max_by_key(|(number, _)| *number) else {
        return Err(CommandError::Failed(format!("no {} key is registered; run `stele migrate`", kind.name)));
    };
    let now = key_admin.now();
    if record.active_from > now {
        let (name, from) = (&record.name, record.active_from.to_rfc3339(Offset::UTC));
        return Err(CommandError::Failed(format!("{name} becomes active at {from}; wait until then")));
    }
    let existing_number = kind.list_numbers(&key_admin.folder)?.into_iter().find(|number| *number > newest);
    let number = existing_number.unwrap_or(newest + 1);
    keyring::create_key_file(&key_admin.folder, kind, number, &OsRandom)?;
    let fingerprint = Some(kind.read(&key_admin.folder, number)?.1.to_vec());
    let name = kind.key_name(number);
    let record = KeyRecord { name, fingerprint, added_at: now, active_from: now.saturating_add(lead) };
    if key_admin.administration.add_key(&record).await? {
        return Ok(record);
    }
    let file = kind.key_path(&key_admin.folder, number);
    let (file, name) = (file.display(), record.name);
    let text = "meanwhile; if this file is not that key, remove the file";
    Err(CommandError::Failed(format!("{file}: another command registered a key {name} {text}")))
}

pub(super) fn print_registered_key(record: &KeyRecord, format: OutputFormat) -> Result<(), CommandError> {
    let (name, from) = (&record.name, record.active_from.to_rfc3339(Offset::UTC));
    print_line(&match format {
        OutputFormat::Json => json!({ "key": name, "works_from": from }).to_string(),
        OutputFormat::Text => {
            format!("{name} is registered and becomes active at {from}; until then, copy its file to every instance")
        }
    })
}

/// Waits until the key is active.
pub(super) async fn wait_until_active(key_admin: &KeyAdmin, record: &KeyRecord) {
    loop {
        let left = record.active_from.saturating_duration_since(key_admin.now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(Duration::from_secs(1))).await;
    }
}

/// Re-encrypts under the active key the rows that are sealed under older keys.
pub(super) async fn reseal(
    key_admin: &KeyAdmin,
    settings: &Settings,
    format: OutputFormat,
) -> Result<(), CommandError> {
    let (administration, sealer) = (&key_admin.administration, context::open_key_ring(settings).await?.sealer());
    let mut progress = Progress::new(format, "resealed", administration.count_pending_reseals(&sealer).await?);
    let result = administration
        .reseal(&sealer, &mut |rows| progress.add(rows))
        .await
        .map_err(|error| CommandError::Failed(format!("interrupted: {error}; run `stele keys reseal` to resume")))?;
    progress.finish()?;
    if let Some(first) = result.unreadable.first() {
        let count = result.unreadable.len();
        return Err(CommandError::Failed(format!(
            "{count} rows cannot be decrypted with their key, the first belongs to {first}; set these users' passwords again"
        )));
    }
    let left = administration.count_pending_reseals(&sealer).await?;
    if left > 0 {
        let text = "an instance still uses an old key: see its log, then run `stele keys reseal`";
        return Err(CommandError::Failed(format!("{left} rows were sealed under older keys meanwhile; {text}")));
    }
    Ok(())
}
