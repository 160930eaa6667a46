//! The first keys: made and put in service by `stele up` and `stele migrate`, never by a service.

use std::path::Path;

use stele_core::ports::{KeyRecord, KeyStore};
use stele_core::random::Random;
use stele_core::seal::{DigestSealing, KeyId, Sealer};
use stele_core::time::{Clock as _, SystemClock, Timestamp};
use stele_core::usecase::reseal;
use stele_service::ConfigError;

use super::{fault, sealing};
use crate::files::{self, Family, MAC, SEALING};

/// Puts the first keys that every service needs in service, making those that are not there, and sees that those from
/// before keys were put in service open what is sealed under them.
///
/// # Errors
/// One line that names the key and its file.
pub async fn begin(store: &dyn KeyStore, folder: &Path, random: &dyn Random) -> Result<(), ConfigError> {
    begin_family(store, folder, &SEALING, random).await?;
    let records = store.keys().await.map_err(fault)?;
    for record in records.iter().filter(|record| record.probe.is_none()) {
        let Some(number) = record.number(SEALING.name) else { continue };
        let text = SEALING.read_as(folder, record, number)?;
        let sealer = Sealer::of([sealing((number, record.works_from, Some(text)))], DigestSealing::Ended);
        let opens = match &sealer {
            Some(sealer) => reseal::opens(store, sealer, number).await.map_err(fault)?,
            None => false,
        };
        if !opens {
            let file = SEALING.file(folder, number);
            let text = "does not open what is sealed under it; put the right one back from a backup";
            return Err(ConfigError::new(format!("{}: the key {} {text}", file.display(), record.name)));
        }
        store.set_probe(&record.name, &SEALING.read(folder, number)?.1).await.map_err(fault)?;
    }
    if !records.iter().any(|record| record.name == MAC.0) {
        files::make_mac(folder, random)?;
        enter(store, MAC.0.to_owned(), files::read_mac(folder)?.1).await?;
    }
    Ok(())
}

/// Puts the first keys of a family in service: those in the folder, or a new one.
///
/// # Errors
/// One line that names the key's file.
pub async fn begin_family(
    store: &dyn KeyStore,
    folder: &Path,
    family: &Family,
    random: &dyn Random,
) -> Result<(), ConfigError> {
    let records = store.keys().await.map_err(fault)?;
    if records.iter().any(|record| record.number(family.name).is_some()) {
        return Ok(());
    }
    if family.numbers(folder)?.is_empty() {
        make(folder, family, 1, random)?;
    }
    for number in family.numbers(folder)? {
        enter(store, family.key(number), family.read(folder, number)?.1).await?;
    }
    Ok(())
}

/// Makes a key's file, if it is not there.
///
/// # Errors
/// One line that names it.
pub fn make(folder: &Path, family: &Family, number: KeyId, random: &dyn Random) -> Result<(), ConfigError> {
    let text = (family.make)(random);
    let text = text.ok_or_else(|| ConfigError::new(format!("the key {} could not be made", family.key(number))))?;
    files::make_once(&family.file(folder, number), || text)
}

/// A key that works from the first.
async fn enter(store: &dyn KeyStore, name: String, probe: files::Probe) -> Result<(), ConfigError> {
    let (probe, added_at, works_from) = (Some(probe.to_vec()), SystemClock.now(), Timestamp::from_secs(0));
    store.add_key(&KeyRecord { name, probe, added_at, works_from }).await.map(drop).map_err(fault)
}
