//! Putting a new key in service, and sealing anew under it.

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
use crate::commands::{CommandError, print_line};

/// Puts the next key of a family in service, to work after `lead`: one that lies in the folder already (copied there,
/// or made by a command that was broken off), else a new one.
pub(super) async fn activate_next_key(
    desk: &KeyAdmin,
    family: &KeyKind,
    lead: Duration,
) -> Result<KeyRecord, CommandError> {
    let records = desk.administration.keys().await?;
    let own = records.iter().filter_map(|record| Some((record.number(family.name)?, record)));
    let Some((newest, record)) = own.max_by_key(|(number, _)| *number) else {
        return Err(CommandError::Failed(format!("no {} key is in service; run `stele migrate`", family.name)));
    };
    let now = desk.now();
    if record.works_from > now {
        let (name, from) = (&record.name, record.works_from.to_rfc3339(Offset::UTC));
        return Err(CommandError::Failed(format!("{name} is to work only from {from}; wait until it does")));
    }
    let waiting = family.list_numbers(&desk.folder)?.into_iter().find(|number| *number > newest);
    let number = waiting.unwrap_or(newest + 1);
    keyring::create_key_file(&desk.folder, family, number, &OsRandom)?;
    let probe = Some(family.read(&desk.folder, number)?.1.to_vec());
    let name = family.key_name(number);
    let record = KeyRecord { name, fingerprint: probe, added_at: now, works_from: now.saturating_add(lead) };
    if desk.administration.add_key(&record).await? {
        return Ok(record);
    }
    let file = family.key_path(&desk.folder, number);
    let text = "was put in service by someone else meanwhile; if it is not this one, remove it";
    Err(CommandError::Failed(format!("{}: a key {} {text}", file.display(), record.name)))
}

pub(super) fn print_activation(record: &KeyRecord, json: bool) -> Result<(), CommandError> {
    let (name, from) = (&record.name, record.works_from.to_rfc3339(Offset::UTC));
    if json {
        return print_line(&json!({ "key": name, "works_from": from }).to_string());
    }
    print_line(&format!("{name} is in service; every instance must have its file, and works with it from {from}"))
}

/// Waits until the key works.
pub(super) async fn wait_until_active(desk: &KeyAdmin, record: &KeyRecord) {
    loop {
        let left = record.works_from.saturating_duration_since(desk.now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(Duration::from_secs(1))).await;
    }
}

/// Seals anew what is sealed under older keys.
pub(super) async fn reseal(desk: &KeyAdmin, settings: &Settings, json: bool) -> Result<(), CommandError> {
    let (administration, sealer) = (&desk.administration, context::key_ring(settings).await?.sealer());
    let mut progress = Progress::new(json, "resealed", administration.count_pending_reseals(&sealer).await?);
    let done = administration
        .reseal(&sealer, &mut |rows| progress.add(rows))
        .await
        .map_err(|cause| CommandError::Failed(format!("broken off: {cause}; `stele keys reseal` goes on")))?;
    progress.finish()?;
    if let Some(first) = done.unreadable.first() {
        let count = done.unreadable.len();
        return Err(CommandError::Failed(format!(
            "{count} rows cannot be opened by their key, the first is of {first}: set these users' passwords anew"
        )));
    }
    let left = administration.count_pending_reseals(&sealer).await?;
    if left > 0 {
        let text = "an instance seals with an old key: see its log, then run `stele keys reseal`";
        return Err(CommandError::Failed(format!("{left} rows were sealed under older keys meanwhile; {text}")));
    }
    Ok(())
}
