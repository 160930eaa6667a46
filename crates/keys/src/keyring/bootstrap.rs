//! Key bootstrap: creates and registers the first keys. Only `stele up` and `stele migrate` do so, never a service.

use std::path::Path;

use stele_core::ports::{KeyRecord, KeyStore};
use stele_core::random::Random;
use stele_core::seal::{DigestSealing, KeyId, Sealer};
use stele_core::time::{Clock as _, SystemClock, Timestamp};
use stele_core::usecase::reseal;
use stele_service::ConfigError;

use super::{RegisteredKey, config_error, to_sealing_key};
use crate::files::{self, KeyKind, MAC_KEY_NAME, SEALING_KEYS};

/// Creates and registers the first sealing key and the key of keyed hashes, unless they are registered. A sealing key
/// that an earlier version registered without a fingerprint gets one, once it has decrypted a row sealed under it.
///
/// # Errors
/// One line that names the key's file and the remedy.
pub async fn bootstrap_keys(store: &dyn KeyStore, folder: &Path, random: &dyn Random) -> Result<(), ConfigError> {
    bootstrap_kind(store, folder, &SEALING_KEYS, random).await?;
    let records = store.keys().await.map_err(config_error)?;
    for record in records.iter().filter(|record| record.fingerprint.is_none()) {
        let Some(number) = record.number(SEALING_KEYS.name) else { continue };
        let (content, fingerprint) = SEALING_KEYS.read_verified(folder, record, number)?;
        let sealer = Sealer::from_keys(
            [to_sealing_key(RegisteredKey { number, active_from: record.active_from, key_material: Some(content) })],
            DigestSealing::Disabled,
        );
        let can_decrypt = match &sealer {
            Some(sealer) => reseal::can_decrypt_sealed_rows(store, sealer, number).await.map_err(config_error)?,
            None => false,
        };
        if !can_decrypt {
            let file = SEALING_KEYS.key_path(folder, number);
            let reason = "cannot decrypt the rows sealed under it; restore the right key from a backup";
            return Err(ConfigError::new(format!("{}: the key {} {reason}", file.display(), record.name)));
        }
        store.set_fingerprint(&record.name, &fingerprint).await.map_err(config_error)?;
    }
    if !records.iter().any(|record| record.name == MAC_KEY_NAME) {
        files::create_mac_key(folder, random)?;
        add_active_key(store, MAC_KEY_NAME.to_owned(), files::read_mac_key(folder)?.1).await?;
    }
    Ok(())
}

/// Registers the first keys of a kind: every key file of the kind in the folder, or a new key if there is none. Does
/// nothing if a key of the kind is registered.
///
/// # Errors
/// One line that names the key's file, or the database's error.
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

/// Generates a key and creates its file, if the file does not exist.
///
/// # Errors
/// One line that names the key or its file.
pub fn create_key_file(folder: &Path, kind: &KeyKind, number: KeyId, random: &dyn Random) -> Result<(), ConfigError> {
    let generated = (kind.generate)(random);
    let content = generated
        .ok_or_else(|| ConfigError::new(format!("the key {} could not be generated", kind.key_name(number))))?;
    files::create_once(&kind.key_path(folder, number), || content)
}

/// Registers a key that is active from the beginning.
async fn add_active_key(
    store: &dyn KeyStore,
    name: String,
    fingerprint: files::KeyFingerprint,
) -> Result<(), ConfigError> {
    let (fingerprint, added_at, active_from) = (Some(fingerprint.to_vec()), SystemClock.now(), Timestamp::from_secs(0));
    store.add_key(&KeyRecord { name, fingerprint, added_at, active_from }).await.map(drop).map_err(config_error)
}
