//! Taking a key out of service.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use stele_app::settings;
use stele_core::event::Act;
use stele_core::ports::{Dropped, KeyRecord};
use stele_core::time::Offset;
use stele_keys::{Family, MAC, SEALING};
use stele_service::{ConfigError, Settings};
use zeroize::Zeroizing;

use super::{Desk, working};
use crate::commands::{CommandError, say};

/// How far apart the clocks of two instances may be.
const APART: Duration = Duration::from_secs(60);

pub(super) async fn run(desk: &Desk, settings: &Settings, key: &str) -> Result<(), CommandError> {
    let name = if key.parse::<u32>().is_ok() { format!("{}-{key}", SEALING.name) } else { key.to_owned() };
    let records = desk.administration.keys().await?;
    let found = records.iter().find(|record| record.name == name);
    let record = found.ok_or_else(|| CommandError::Refused(format!("no key {name} is in service")))?;
    let retired = retire(desk, settings, &records, record).await;
    desk.record(Act::RetireKey, Some(record.into()), retired).await
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
    let aside = Aside::prepare(desk, name)?;
    let refusal = match desk.administration.drop_key(name).await {
        Ok(Dropped::Done) => return put_aside(name, aside),
        Ok(Dropped::Unknown) => format!("no key {name} is in service"),
        Ok(Dropped::InUse(rows)) => {
            format!("{name} is needed: {rows} rows are sealed under it; run `stele keys reseal` first")
        }
        Err(fault) => fault.to_string(),
    };
    if let Some(aside) = aside {
        aside.undo();
    }
    Err(CommandError::Refused(refusal))
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

/// A key's file and the name that it is kept under, which is not read: a backup from before needs it.
struct Aside {
    file: PathBuf,
    kept: PathBuf,
    /// Whether it has the second name from this command.
    made: bool,
}

impl Aside {
    /// Gives the file its second name, so that what hinders it is told while the key is still in service. `None` if
    /// there is no file, or if it stays.
    fn prepare(desk: &Desk, name: &str) -> Result<Option<Self>, CommandError> {
        let mut families = [SEALING].into_iter().chain(desk.signing.iter().copied());
        let ending = families.find(|family| name.starts_with(family.name)).map_or("key", |family| family.extension);
        let file = desk.folder.join(format!("{name}.{ending}"));
        let kept = desk.folder.join(format!("{name}.{ending}.retired"));
        if name == MAC.0 || !file.exists() {
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
        Ok(Some(Self { file, kept, made }))
    }

    fn undo(self) {
        if self.made {
            // What is left over is found to be the same the next time.
            let _ = fs::remove_file(&self.kept);
        }
    }
}

fn put_aside(name: &str, aside: Option<Aside>) -> Result<(), CommandError> {
    say(&format!("{name} is out of service"))?;
    let Some(Aside { file, kept, .. }) = aside else { return Ok(()) };
    fs::remove_file(&file).map_err(|e| {
        ConfigError::new(format!("{}: cannot be removed: {e}; do so by hand, it is kept beside", file.display()))
    })?;
    say(&format!("{} is needed only for backups from before; remove it, here and elsewhere, with them", kept.display()))
}
