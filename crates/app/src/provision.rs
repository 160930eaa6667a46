//! Provisioning before the first start: data folder, key bootstrap, database schema, and key files of single services.

use stele_core::ports::KeyStore;
use stele_core::random::Random;
use stele_keys::{files, keyring};
use stele_service::{ConfigError, Settings};

use crate::service::Service;
use crate::{settings, stores};

/// Creates the data folder, the keys and the current schema if missing, and erases the sealed digests if salted logins
/// are off. Called by `stele up` and `stele migrate`.
///
/// # Errors
/// One line: what cannot be created, and where.
pub async fn provision(settings: &Settings, services: &[Service], random: &dyn Random) -> Result<(), ConfigError> {
    files::create_private_folder(&settings.data_dir())?;
    let database = stores::open_database(settings)?;
    database.migrate().await.map_err(|e| ConfigError::new(e.to_string()))?;
    let (key_store, keys_dir) = (database.keys(), settings.keys_dir());
    files::create_private_folder(&keys_dir)?;
    keyring::bootstrap_keys(key_store.as_ref(), &keys_dir, random).await?;
    for service in services {
        provision_service(key_store.as_ref(), settings, service, random).await?;
    }
    if !settings::build_policy(settings)?.salted_logins_enabled {
        let mut erased = 0;
        loop {
            match key_store.erase_sealed_digests(500).await.map_err(|e| ConfigError::new(e.to_string()))? {
                0 => break,
                batch => erased += batch,
            }
        }
        if erased > 0 {
            tracing::warn!(erased, "salted dialects are off (STELE_SALTED): sealed digests were erased");
        }
    }
    Ok(())
}

/// Creates the files that one service needs in the key folder, and registers the first signing key of each of its kinds.
///
/// # Errors
/// One line: what cannot be created, and where.
pub async fn provision_service(
    key_store: &dyn KeyStore,
    settings: &Settings,
    service: &Service,
    random: &dyn Random,
) -> Result<(), ConfigError> {
    (service.provision)(&settings.keys_dir(), settings)?;
    for kind in (service.signing_key_kinds)(settings)? {
        keyring::bootstrap_kind(key_store, &settings.keys_dir(), &kind, random).await?;
    }
    Ok(())
}
