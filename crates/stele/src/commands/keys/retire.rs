//! Taking a key out of service.

use std::fs;
use std::time::Duration;

use stele_core::event::Act;
use stele_core::ports::{Dropped, KeyRecord};
use stele_core::time::Offset;
use stele_web::keys::{Family, MAC, SEALING};
use stele_web::{ConfigError, Settings, settings};

use super::{Desk, working};
use crate::commands::{CommandError, say};

/// How far apart the clocks of two instances may be.
const APART: Duration = Duration::from_secs(60);

pub(super) async fn run(desk: &Desk, settings: &Settings, key: &str) -> Result<(), CommandError> {
    let name = if key.parse::<u32>().is_ok() { format!("{}-{key}", SEALING.name) } else { key.to_owned() };
    let records = desk.store.keys().await?;
    let found = records.iter().find(|record| record.name == name);
    let record = found.ok_or_else(|| CommandError::Refused(format!("no key {name} is in service")))?;
    let retired = retire(desk, settings, &records, record).await;
    desk.tell(Act::RetireKey, Some(record.into()), retired).await
}

async fn retire(
    desk: &Desk,
    settings: &Settings,
    records: &[KeyRecord],
    record: &KeyRecord,
) -> Result<(), CommandError> {
    let name = &record.name;
    if let Some((family, number)) = desk.family_of(record) {
        spared(desk, records, record, &family, number)?;
        if family.name != SEALING.name {
            outlived(desk, settings, records, &family, number)?;
        }
    }
    match desk.store.drop_key(name).await? {
        Dropped::Done => {}
        Dropped::Unknown => return Err(CommandError::Refused(format!("no key {name} is in service"))),
        Dropped::InUse(rows) => {
            let text = format!("{name} is needed: {rows} rows are sealed under it; run `stele keys reseal` first");
            return Err(CommandError::Refused(text));
        }
    }
    put_aside(desk, name)
}

/// A key that works is not taken away. One that is lost may be, if nothing was ever sealed under it.
fn spared(
    desk: &Desk,
    records: &[KeyRecord],
    record: &KeyRecord,
    family: &Family,
    number: u32,
) -> Result<(), CommandError> {
    let newest = records.iter().filter_map(|record| record.number(family.name)).max();
    let in_use = working(records, family, desk.now()) == Some(number) || newest == Some(number);
    if in_use && family.file(&desk.folder, number).exists() {
        let name = &record.name;
        return Err(CommandError::Refused(format!("{name} is the key that works; run `stele keys rotate` first")));
    }
    Ok(())
}

/// A signing key is needed for as long as a token that it signed may live.
fn outlived(
    desk: &Desk,
    settings: &Settings,
    records: &[KeyRecord],
    family: &Family,
    number: u32,
) -> Result<(), CommandError> {
    let newer = records.iter().filter(|record| record.number(family.name).is_some_and(|other| other > number));
    let Some(signed_until) = newer.map(|record| record.works_from).min() else { return Ok(()) };
    let until = signed_until.after(settings::policy(settings)?.session_ttl + APART);
    if until > desk.now() {
        let (key, until) = (family.key(number), until.rfc3339(Offset::UTC));
        return Err(CommandError::Refused(format!("{key} is needed: tokens it signed may live until {until}")));
    }
    Ok(())
}

/// The file is kept, under a name that is not read: a backup from before needs it.
fn put_aside(desk: &Desk, name: &str) -> Result<(), CommandError> {
    let families = [SEALING].into_iter().chain(desk.signing.iter().copied());
    let ending = families.clone().find(|family| name.starts_with(family.name)).map_or("key", |family| family.extension);
    let file = desk.folder.join(format!("{name}.{ending}"));
    let aside = desk.folder.join(format!("{name}.{ending}.retired"));
    say(&format!("{name} is out of service"))?;
    if name == MAC.0 || !file.exists() {
        return Ok(());
    }
    fs::rename(&file, &aside)
        .map_err(|e| ConfigError::new(format!("{}: cannot be renamed: {e}; do so by hand", file.display())))?;
    say(&format!(
        "{} is needed only for backups from before; remove it, here and elsewhere, with them",
        aside.display()
    ))
}
