//! Which keys are in service.

use serde_json::json;
use stele_core::ports::KeyRecord;
use stele_core::time::{Offset, Timestamp};
use stele_keys::{MAC_KEY_NAME, SEALING_KEYS, files};

use super::{KeyAdmin, active_number};
use crate::commands::{CommandError, print_listing_line};

pub(super) async fn run(desk: &KeyAdmin, json: bool) -> Result<(), CommandError> {
    let records = desk.administration.keys().await?;
    let usages = desk.administration.count_rows_by_key().await?;
    for record in &records {
        let state = key_state(desk, &records, record);
        let here = file_state(desk, record);
        let number = record.number(SEALING_KEYS.name);
        let sealed = number
            .map(|id| usages.iter().find(|usage| usage.key == id).map_or((0, 0), |usage| (usage.users, usage.apps)));
        let since = (record.added_at > Timestamp::from_secs(0)).then(|| record.added_at.to_rfc3339(Offset::UTC));
        if json {
            let (users, apps) = sealed.unzip();
            let works_from = record.works_from.to_rfc3339(Offset::UTC);
            print_listing_line(
                &json!({ "key": record.name, "state": state, "in_service_since": since, "works_from": works_from,
                         "users": users, "apps": apps, "here": here })
                .to_string(),
            )?;
        } else {
            let sealed = sealed.map_or_else(|| "-".to_owned(), |(users, apps)| format!("{users} users, {apps} apps"));
            let name = &record.name;
            print_listing_line(&format!(
                "{name}\t{state}\tsince {}\t{sealed}\t{here}",
                since.as_deref().unwrap_or("before 0.2")
            ))?;
        }
    }
    Ok(())
}

/// What the key does.
fn key_state(desk: &KeyAdmin, records: &[KeyRecord], record: &KeyRecord) -> String {
    let now = desk.now();
    let Some((family, number)) = desk.kind_of(record) else {
        return if record.name == MAC_KEY_NAME { "hashes codes" } else { "of another algorithm" }.to_owned();
    };
    let (works, kept) = if family.name == SEALING_KEYS.name { ("seals", "opens") } else { ("signs", "verifies") };
    if record.works_from > now {
        return format!("{works} from {}", record.works_from.to_rfc3339(Offset::UTC));
    }
    if active_number(records, &family, now) == Some(number) { works } else { kept }.to_owned()
}

/// Whether the key is in the folder: `here`, or what is wrong with its file.
fn file_state(desk: &KeyAdmin, record: &KeyRecord) -> String {
    let read = match desk.kind_of(record) {
        Some((family, number)) => family.read_verified(&desk.folder, record, number).map(drop),
        None if record.name == MAC_KEY_NAME => {
            files::load_mac_key(&desk.folder, std::slice::from_ref(record)).map(drop)
        }
        None => return "not looked for".to_owned(),
    };
    read.err().map_or_else(|| "here".to_owned(), |fault| fault.to_string())
}
