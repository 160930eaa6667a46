//! `stele keys list`: the registered keys, their states, and how many rows are sealed under each.

use serde_json::json;
use stele_core::ports::KeyRecord;
use stele_core::time::{Offset, Timestamp};
use stele_keys::{MAC_KEY_NAME, SEALING_KEYS, files};

use super::{KeyAdmin, active_number};
use crate::commands::{CommandError, OutputFormat, print_listing_line};

pub(super) async fn run(key_admin: &KeyAdmin, format: OutputFormat) -> Result<(), CommandError> {
    let records = key_admin.administration.keys().await?;
    let usages = key_admin.administration.count_rows_by_key().await?;
    for record in &records {
        let state = key_state(key_admin, &records, record);
        let file = file_state(key_admin, record);
        let number = record.number(SEALING_KEYS.name);
        let sealed = number
            .map(|id| usages.iter().find(|usage| usage.key == id).map_or((0, 0), |usage| (usage.users, usage.apps)));
        let since = (record.added_at > Timestamp::from_secs(0)).then(|| record.added_at.to_rfc3339(Offset::UTC));
        match format {
            OutputFormat::Json => {
                let (users, apps) = sealed.unzip();
                let active_from = record.active_from.to_rfc3339(Offset::UTC);
                print_listing_line(
                    &json!({ "key": record.name, "state": state, "in_service_since": since, "works_from": active_from,
                             "users": users, "apps": apps, "here": file })
                    .to_string(),
                )?;
            }
            OutputFormat::Text => {
                let sealed =
                    sealed.map_or_else(|| "-".to_owned(), |(users, apps)| format!("{users} users, {apps} apps"));
                let (name, since) = (&record.name, since.as_deref().unwrap_or("before 0.2"));
                print_listing_line(&format!("{name}\t{state}\tsince {since}\t{sealed}\t{file}"))?;
            }
        }
    }
    Ok(())
}

/// What the key is used for now, or from when on.
fn key_state(key_admin: &KeyAdmin, records: &[KeyRecord], record: &KeyRecord) -> String {
    let now = key_admin.now();
    let Some((kind, number)) = key_admin.kind_of(record) else {
        return if record.name == MAC_KEY_NAME { "hashes codes" } else { "of another algorithm" }.to_owned();
    };
    let (active, inactive) = if kind.name == SEALING_KEYS.name { ("seals", "opens") } else { ("signs", "verifies") };
    if record.active_from > now {
        return format!("{active} from {}", record.active_from.to_rfc3339(Offset::UTC));
    }
    if active_number(records, &kind, now) == Some(number) { active } else { inactive }.to_owned()
}

/// Checks the key's file: `here` if it is present and the right one, otherwise the error.
fn file_state(key_admin: &KeyAdmin, record: &KeyRecord) -> String {
    let result = match key_admin.kind_of(record) {
        Some((kind, number)) => kind.read_verified(&key_admin.folder, record, number).map(drop),
        None if record.name == MAC_KEY_NAME => {
            files::load_mac_key(&key_admin.folder, std::slice::from_ref(record)).map(drop)
        }
        None => return "not looked for".to_owned(),
    };
    result.err().map_or_else(|| "here".to_owned(), |error| error.to_string())
}
