//! Creation of the first keys by `stele up` and `stele migrate`, never by a service.

use std::path::Path;

use stele_core::ports::{KeyRecord, KeyStore};
use stele_core::random::Random;
use stele_core::seal::{DigestSealing, KeyId, Sealer};
use stele_core::time::{Clock as _, SystemClock, Timestamp};
use stele_core::usecase::reseal;
use stele_service::ConfigError;

use super::{ActiveKey, config_error, to_sealing_key};
use crate::files::{self, KeyKind, MAC_KEY_NAME, SEALING_KEYS};

/// Creates the first keys that every service needs, where they are missing, and puts them in service. Keys that an
/// earlier version registered without a fingerprint get one, if they open what is sealed under them.
///
/// # Errors
/// One line that names the key's file and the remedy.
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
            let text = "does not open what is sealed under it; restore the right one from a backup";
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

/// Puts the first keys of a kind in service: those in the folder, or a new one.
///
/// # Errors
/// One line that names the key's file.
pub async fn bootstrap_kind(
    store: &dyn KeyStore,
    folder: &Path,
    kind: &KeyKind,
    random: &dyn Random,
) -> Result<(), ConfigError> {
    let records = store.keys().await.map_err(config_error)?;
    if records.iter().any(|record| record.number(kind.name).is_some()) {
        return Ok(());
    }
    if kind.list_numbers(folder)?.is_empty() {
        create_key_file(folder, kind, 1, random)?;
    }
    for number in kind.list_numbers(folder)? {
        add_active_key(store, kind.key_name(number), kind.read(folder, number)?.1).await?;
    }
    Ok(())
}

/// Creates a key's file, if it does not exist.
///
/// # Errors
/// One line that names the file.
pub fn create_key_file(folder: &Path, kind: &KeyKind, number: KeyId, random: &dyn Random) -> Result<(), ConfigError> {
    let text = (kind.generate)(random);
    let text =
        text.ok_or_else(|| ConfigError::new(format!("the key {} could not be generated", kind.key_name(number))))?;
    files::create_once(&kind.key_path(folder, number), || text)
}

/// Puts a key in service that is active from the beginning.
async fn add_active_key(
    store: &dyn KeyStore,
    name: String,
    fingerprint: files::KeyFingerprint,
) -> Result<(), ConfigError> {
    let (fingerprint, added_at, works_from) = (Some(fingerprint.to_vec()), SystemClock.now(), Timestamp::from_secs(0));
    store.add_key(&KeyRecord { name, fingerprint, added_at, works_from }).await.map(drop).map_err(config_error)
}
