//! What is made before a first start: keys, the schema, what single services need.

use stele_core::ports::KeyStore;
use stele_core::random::Random;
use stele_keys::{files, keyring};
use stele_service::{ConfigError, Settings};

use crate::service::Service;
use crate::{settings, stores};

/// Makes what is missing: the data folder, keys, and the current schema; and erases the sealed digests if salted
/// dialects are off. What `stele up` and `stele migrate` do.
///
/// # Errors
/// One line: what cannot be made, and where.
pub async fn provision(settings: &Settings, services: &[Service], random: &dyn Random) -> Result<(), ConfigError> {
    files::create_private_folder(&settings.data_dir())?;
    let database = stores::open_database(settings)?;
    database.migrate().await.map_err(|e| ConfigError::new(e.to_string()))?;
    let (store, folder) = (database.keys(), settings.keys_dir());
    files::create_private_folder(&folder)?;
    keyring::bootstrap_keys(store.as_ref(), &folder, random).await?;
    for service in services {
        provision_service(store.as_ref(), settings, service, random).await?;
    }
    if !settings::policy(settings)?.salted_logins_enabled {
        let mut erased = 0;
        loop {
            match store.erase_sealed_digests(500).await.map_err(|e| ConfigError::new(e.to_string()))? {
                0 => break,
                some => erased += some,
            }
        }
        if erased > 0 {
            tracing::warn!(erased, "salted dialects are off (STELE_SALTED): sealed digests were erased");
        }
    }
    Ok(())
}

/// Makes what one service needs in the key folder, and puts its first signing key in service.
///
/// # Errors
/// One line: what cannot be made, and where.
pub async fn provision_service(
    store: &dyn KeyStore,
    settings: &Settings,
    service: &Service,
    random: &dyn Random,
) -> Result<(), ConfigError> {
    (service.provision)(&settings.keys_dir(), settings)?;
    match (service.signing_key_kind)(settings)? {
        Some(family) => keyring::bootstrap_kind(store, &settings.keys_dir(), &family, random).await,
        None => Ok(()),
    }
}
