//! `stele keys list`: the registered keys, with their states, the rows that are sealed under them, and their files.

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
        let state = describe_state(key_admin, &records, record);
        let file = check_file(key_admin, record);
        let sealed_rows = record.number(SEALING_KEYS.name).map(|number| {
            usages.iter().find(|usage| usage.key == number).map_or((0, 0), |usage| (usage.users, usage.apps))
        });
        let since = (record.added_at > Timestamp::from_secs(0)).then(|| record.added_at.to_rfc3339(Offset::UTC));
        match format {
            OutputFormat::Json => {
                let (users, apps) = sealed_rows.unzip();
                let active_from = record.active_from.to_rfc3339(Offset::UTC);
                print_listing_line(
                    &json!({ "key": record.name, "state": state, "in_service_since": since, "works_from": active_from,
                             "users": users, "apps": apps, "here": file })
                    .to_string(),
                )?;
            }
            OutputFormat::Text => {
                let sealed =
                    sealed_rows.map_or_else(|| "-".to_owned(), |(users, apps)| format!("{users} users, {apps} apps"));
                let (name, since) = (&record.name, since.as_deref().unwrap_or("before 0.2"));
                print_listing_line(&format!("{name}\t{state}\tsince {since}\t{sealed}\t{file}"))?;
            }
        }
    }
    Ok(())
}

/// The key's use: now, or from the time on at which it becomes active.
fn describe_state(key_admin: &KeyAdmin, records: &[KeyRecord], record: &KeyRecord) -> String {
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

/// Checks the key's file. Returns `here` if it is present and has the registered fingerprint, otherwise the error; the
/// file of an algorithm that is not configured here is not looked for.
fn check_file(key_admin: &KeyAdmin, record: &KeyRecord) -> String {
    let result = match key_admin.kind_of(record) {
        Some((kind, number)) => kind.read_verified(&key_admin.folder, record, number).map(drop),
        None if record.name == MAC_KEY_NAME => {
            files::load_mac_key(&key_admin.folder, std::slice::from_ref(record)).map(drop)
        }
        None => return "not looked for".to_owned(),
    };
    result.err().map_or_else(|| "here".to_owned(), |error| error.to_string())
}
