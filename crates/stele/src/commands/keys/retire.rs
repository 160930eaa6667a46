//! Taking a key out of service.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use stele_app::settings;
use stele_core::event::Action;
use stele_core::ports::{KeyRecord, KeyRetirement};
use stele_core::time::Offset;
use stele_keys::{KeyKind, MAC_KEY_NAME, SEALING_KEYS};
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

use super::{KeyAdmin, active_number};
use crate::commands::{CommandError, print_line};

/// How far apart the clocks of two instances may be.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

pub(super) async fn run(desk: &KeyAdmin, settings: &Settings, key: &str) -> Result<(), CommandError> {
    let name = if key.parse::<u32>().is_ok() { format!("{}-{key}", SEALING_KEYS.name) } else { key.to_owned() };
    let records = desk.administration.keys().await?;
    let found = records.iter().find(|record| record.name == name);
    let record = found.ok_or_else(|| CommandError::Failed(format!("no key {name} is in service")))?;
    let retired = retire(desk, settings, &records, record).await;
    desk.record_action(Action::RetireKey, Some(record.into()), retired).await
}

async fn retire(
    desk: &KeyAdmin,
    settings: &Settings,
    records: &[KeyRecord],
    record: &KeyRecord,
) -> Result<(), CommandError> {
    let name = &record.name;
    if let Some((family, number)) = desk.kind_of(record) {
        ensure_not_active(desk, records, record, &family, number)?;
        if family.name != SEALING_KEYS.name {
            ensure_tokens_expired(desk, settings, records, &family, number)?;
        }
    }
    let aside = SetAsideKeyFile::prepare(desk, name)?;
    let refusal = match desk.administration.retire_key(name).await {
        Ok(KeyRetirement::Retired) => return remove_key_file(name, aside),
        Ok(KeyRetirement::NotFound) => format!("no key {name} is in service"),
        Ok(KeyRetirement::InUse(rows)) => {
            format!("{name} is needed: {rows} rows are sealed under it; run `stele keys reseal` first")
        }
        Err(fault) => fault.to_string(),
    };
    if let Some(aside) = aside {
        aside.rollback();
    }
    Err(CommandError::Failed(refusal))
}

/// A key that works is not taken away. One that is lost may be, if nothing was ever sealed under it.
fn ensure_not_active(
    desk: &KeyAdmin,
    records: &[KeyRecord],
    record: &KeyRecord,
    family: &KeyKind,
    number: u32,
) -> Result<(), CommandError> {
    let newest = records.iter().filter_map(|record| record.number(family.name)).max();
    let in_use = active_number(records, family, desk.now()) == Some(number) || newest == Some(number);
    if in_use && family.key_path(&desk.folder, number).exists() {
        let name = &record.name;
        return Err(CommandError::Failed(format!("{name} is the key that works; run `stele keys rotate` first")));
    }
    Ok(())
}

/// A signing key is needed for as long as a token that it signed may live.
fn ensure_tokens_expired(
    desk: &KeyAdmin,
    settings: &Settings,
    records: &[KeyRecord],
    family: &KeyKind,
    number: u32,
) -> Result<(), CommandError> {
    let newer = records.iter().filter(|record| record.number(family.name).is_some_and(|other| other > number));
    let Some(signed_until) = newer.map(|record| record.works_from).min() else { return Ok(()) };
    let until = signed_until.saturating_add(settings::policy(settings)?.session_ttl + MAX_CLOCK_SKEW);
    if until > desk.now() {
        let (key, until) = (family.key_name(number), until.to_rfc3339(Offset::UTC));
        return Err(CommandError::Failed(format!("{key} is needed: tokens it signed may live until {until}")));
    }
    Ok(())
}

/// A key's file and the name that it is kept under, which is not read: a backup from before needs it.
struct SetAsideKeyFile {
    file: PathBuf,
    backup: PathBuf,
    /// Whether it has the second name from this command.
    created_backup: bool,
}

impl SetAsideKeyFile {
    /// Gives the file its second name, so that what hinders it is told while the key is still in service. `None` if
    /// there is no file, or if it stays.
    fn prepare(desk: &KeyAdmin, name: &str) -> Result<Option<Self>, CommandError> {
        let mut families = [SEALING_KEYS].into_iter().chain(desk.signing_kinds.iter().copied());
        let ending = families.find(|family| name.starts_with(family.name)).map_or("key", |family| family.extension);
        let file = desk.folder.join(format!("{name}.{ending}"));
        let kept = desk.folder.join(format!("{name}.{ending}.retired"));
        if name == MAC_KEY_NAME || !file.exists() {
            return Ok(None);
        }
        let hindered = |what: &str| {
            let text = format!(
                "{}: {what}, so {name} is still in service; run this where the key folder can be written: as its \
                 owner, or on the machine that the other instances' folders are copied from",
                kept.display()
            );
            Err(ConfigError::new(text).into())
        };
        let made = match fs::hard_link(&file, &kept) {
            Ok(()) => true,
            // From a command that was broken off, or from a key of this number that was taken back.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let read = |path| fs::read(path).map(Zeroizing::new);
                match (read(&file), read(&kept)) {
                    (Ok(ours), Ok(there)) if ours == there => false,
                    _ => return hindered("there is something else by this name"),
                }
            }
            Err(error) => return hindered(&format!("the key cannot be put aside ({error})")),
        };
        Ok(Some(Self { file, backup: kept, created_backup: made }))
    }

    fn rollback(self) {
        if self.created_backup {
            // What is left over is found to be the same the next time.
            let _ = fs::remove_file(&self.backup);
        }
    }
}

fn remove_key_file(name: &str, aside: Option<SetAsideKeyFile>) -> Result<(), CommandError> {
    print_line(&format!("{name} is out of service"))?;
    let Some(SetAsideKeyFile { file, backup: kept, .. }) = aside else { return Ok(()) };
    fs::remove_file(&file).map_err(|e| {
        ConfigError::new(format!("{}: cannot be removed: {e}; do so by hand, it is kept beside", file.display()))
    })?;
    print_line(&format!(
        "{} is needed only for backups from before; remove it, here and elsewhere, with them",
        kept.display()
    ))
}
