//! The first keys: made and put in service by `stele up` and `stele migrate`, never by a service.

use std::path::Path;

use stele_core::ports::{KeyRecord, KeyStore};
use stele_core::random::Random;
use stele_core::seal::{DigestSealing, KeyId, Sealer};
use stele_core::time::{Clock as _, SystemClock, Timestamp};
use stele_core::usecase::reseal;
use stele_service::ConfigError;

use super::{ActiveKey, config_error, to_sealing_key};
use crate::files::{self, KeyKind, MAC_KEY_NAME, SEALING_KEYS};

/// Puts the first keys that every service needs in service, making those that are not there, and sees that those from
/// before keys were put in service open what is sealed under them.
///
/// # Errors
/// One line that names the key and its file.
pub async fn bootstrap_keys(store: &dyn KeyStore, folder: &Path, random: &dyn Random) -> Result<(), ConfigError> {
    bootstrap_kind(store, folder, &SEALING_KEYS, random).await?;
    let records = store.keys().await.map_err(config_error)?;
    for record in records.iter().filter(|record| record.fingerprint.is_none()) {
        let Some(number) = record.number(SEALING_KEYS.name) else { continue };
        let text = SEALING_KEYS.read_verified(folder, record, number)?;
        let sealer = Sealer::with_key_schedule(
            [to_sealing_key(ActiveKey { number, works_from: record.works_from, text: Some(text) })],
            DigestSealing::Ended,
        );
        let opens = match &sealer {
            Some(sealer) => reseal::opens_sealed_rows(store, sealer, number).await.map_err(config_error)?,
            None => false,
        };
        if !opens {
            let file = SEALING_KEYS.key_path(folder, number);
            let text = "does not open what is sealed under it; put the right one back from a backup";
            return Err(ConfigError::new(format!("{}: the key {} {text}", file.display(), record.name)));
        }
        store.set_fingerprint(&record.name, &SEALING_KEYS.read(folder, number)?.1).await.map_err(config_error)?;
    }
    if !records.iter().any(|record| record.name == MAC_KEY_NAME) {
        files::create_mac_key(folder, random)?;
        add_active_key(store, MAC_KEY_NAME.to_owned(), files::read_mac_key(folder)?.1).await?;
    }
    Ok(())
}

/// Puts the first keys of a family in service: those in the folder, or a new one.
///
/// # Errors
/// One line that names the key's file.
pub async fn bootstrap_kind(
    store: &dyn KeyStore,
    folder: &Path,
    family: &KeyKind,
    random: &dyn Random,
) -> Result<(), ConfigError> {
    let records = store.keys().await.map_err(config_error)?;
    if records.iter().any(|record| record.number(family.name).is_some()) {
        return Ok(());
    }
    if family.list_numbers(folder)?.is_empty() {
        create_key_file(folder, family, 1, random)?;
    }
    for number in family.list_numbers(folder)? {
        add_active_key(store, family.key_name(number), family.read(folder, number)?.1).await?;
    }
    Ok(())
}

/// Makes a key's file, if it is not there.
///
/// # Errors
/// One line that names it.
pub fn create_key_file(folder: &Path, family: &KeyKind, number: KeyId, random: &dyn Random) -> Result<(), ConfigError> {
    let text = (family.generate)(random);
    let text =
        text.ok_or_else(|| ConfigError::new(format!("the key {} could not be made", family.key_name(number))))?;
    files::create_once(&family.key_path(folder, number), || text)
}

/// A key that works from the first.
async fn add_active_key(store: &dyn KeyStore, name: String, probe: files::KeyFingerprint) -> Result<(), ConfigError> {
    let (probe, added_at, works_from) = (Some(probe.to_vec()), SystemClock.now(), Timestamp::from_secs(0));
    store.add_key(&KeyRecord { name, fingerprint: probe, added_at, works_from }).await.map(drop).map_err(config_error)
}
