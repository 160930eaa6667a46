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
    files::make_folder(&settings.data())?;
    let database = stores::database(settings)?;
    database.migrate().await.map_err(|e| ConfigError::new(e.to_string()))?;
    let (store, folder) = (database.keys(), settings.keys());
    files::make_folder(&folder)?;
    keyring::begin(store.as_ref(), &folder, random).await?;
    for service in services {
        provision_service(store.as_ref(), settings, service, random).await?;
    }
    if !settings::policy(settings)?.salted {
        let mut erased = 0;
        loop {
            match store.erase_seals(500).await.map_err(|e| ConfigError::new(e.to_string()))? {
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
    (service.provision)(&settings.keys(), settings)?;
    match (service.signing)(settings)? {
        Some(family) => keyring::begin_family(store, &settings.keys(), &family, random).await,
        None => Ok(()),
    }
}
