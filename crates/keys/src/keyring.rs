//! Key ring: the registered keys of a running process, and their refresh (key rotation).
//!
//! The database records which keys are registered and from when each seals or signs; the key material is in files in
//! the key folder. A process loads newly registered keys every few seconds, on SIGHUP, and when a row or token names a
//! key that is not loaded. Every process has therefore loaded a new key before any process seals or signs with it.

mod bootstrap;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stele_core::mac::MacKey;
use stele_core::ports::{KeyRecord, KeyRefresher, KeyStore};
use stele_core::salted_logins::SaltedLoginRecorder;
use stele_core::seal::{DigestSealing, KeyId, Sealer, SealingKey};
use stele_core::time::{Clock, Timestamp};
use stele_service::ConfigError;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::files::{self, KeyKind, SEALING_KEYS};
pub use bootstrap::{bootstrap_keys, bootstrap_kind, create_key_file};

/// How often a process loads newly registered keys.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// Refreshes are at least this far apart, whatever triggers them.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// A registered key.
pub struct RegisteredKey {
    /// The key's number.
    pub number: KeyId,
    /// From when on the key seals or signs.
    pub active_from: Timestamp,
    /// The content of the key's file; `None` for a key that the consumer has loaded already.
    pub key_material: Option<Zeroizing<String>>,
}

/// A component that uses the keys of one kind, such as the signing keys of JWTs.
pub trait KeyConsumer: Send + Sync {
    /// The kind of the keys that this component uses.
    fn kind(&self) -> KeyKind;

    /// Whether this component has loaded the key `number`.
    fn has_key(&self, number: KeyId) -> bool;

    /// Replaces all keys by `keys`. For a key without key material, the loaded key of its number is retained.
    fn set_keys(&self, keys: Vec<RegisteredKey>);
}

/// The registered keys, loaded from the key folder; the database's records are read again at each refresh.
pub struct KeyRing {
    folder: PathBuf,
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    sealer: Arc<Sealer>,
    mac: Arc<MacKey>,
    salted_logins: Arc<SaltedLoginRecorder>,
    consumers: Mutex<Vec<Arc<dyn KeyConsumer>>>,
    records: Mutex<Vec<KeyRecord>>,
    /// The names of keys that could not be read, and how each was logged, so that each is logged once.
    unreadable: Mutex<BTreeMap<String, LoggedAs>>,
    last_refresh: tokio::sync::Mutex<Option<Instant>>,
}

/// How an unreadable key was logged: as a warning before the key is active, and as an error afterwards, because
/// requests then fail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LoggedAs {
    Warning,
    Error,
}

/// The keys of one kind that could be read, and the records and errors of those that could not.
struct LoadedKeys {
    keys: Vec<RegisteredKey>,
    errors: Vec<(KeyRecord, ConfigError)>,
}

impl KeyRing {
    /// Loads the registered sealing keys and the key of keyed hashes, and verifies their fingerprints.
    ///
    /// # Errors
    /// One line that names the key's file and the remedy, or the database's error.
    pub async fn open(
        folder: PathBuf,
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, ConfigError> {
        let records = store.keys().await.map_err(config_error)?;
        let loaded = load_keys(&folder, &SEALING_KEYS, &records, &[], |_| false);
        let no_key_error =
            ConfigError::new(format!("{}: no sealing key is registered; run `stele migrate`", folder.display()));
        if loaded.keys.is_empty() && loaded.errors.is_empty() {
            return Err(no_key_error);
        }
        let keys = require_readable_active_keys(loaded, clock.now())?;
        let digest_sealing = to_digest_sealing(store.salted_logins_disabled_at().await.map_err(config_error)?);
        let sealer =
            Arc::new(Sealer::from_keys(keys.into_iter().map(to_sealing_key), digest_sealing).ok_or(no_key_error)?);
        let mac = Arc::new(files::load_mac_key(&folder, &records)?);
        Ok(Arc::new(Self {
            folder,
            store,
            clock,
            sealer,
            mac,
            salted_logins: Arc::default(),
            consumers: Mutex::default(),
            records: Mutex::new(records),
            unreadable: Mutex::default(),
            last_refresh: tokio::sync::Mutex::default(),
        }))
    }

    /// The sealing keys.
    pub fn sealer(&self) -> Arc<Sealer> {
        Arc::clone(&self.sealer)
    }

    /// The key of keyed hashes.
    pub fn mac(&self) -> Arc<MacKey> {
        Arc::clone(&self.mac)
    }

    /// The recorder of salted logins; [`KeyRefresher::run_refresh_loop`] stores what it collects.
    pub fn salted_logins(&self) -> Arc<SaltedLoginRecorder> {
        Arc::clone(&self.salted_logins)
    }

    /// Passes the registered keys of its kind to `consumer`, now and at every refresh.
    ///
    /// # Errors
    /// One line that names the key's file and the remedy, if an active key cannot be read or no key of the kind is
    /// registered.
    pub fn register_consumer(&self, consumer: Arc<dyn KeyConsumer>) -> Result<(), ConfigError> {
        let kind = consumer.kind();
        let loaded = load_keys(&self.folder, &kind, &lock(&self.records), &[], |_| false);
        let keys = require_readable_active_keys(loaded, self.clock.now())?;
        if keys.is_empty() {
            let file = kind.key_path(&self.folder, 1);
            let reason = "no such key is registered; `stele migrate` creates it, and all instances must share one set";
            return Err(ConfigError::new(format!("{}: {reason}", file.display())));
        }
        consumer.set_keys(keys);
        lock(&self.consumers).push(consumer);
        Ok(())
    }

    /// Loads newly registered keys, drops retired ones, and updates whether digests may be sealed. A key that cannot be
    /// read is logged once, and again when it becomes active.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`: the database's records cannot be read.
    pub async fn refresh(&self) -> stele_core::Result<()> {
        let records = self.store.keys().await?;
        let digest_sealing = to_digest_sealing(self.store.salted_logins_disabled_at().await?);
        let previous = lock(&self.records).clone();
        let LoadedKeys { keys, mut errors } =
            load_keys(&self.folder, &SEALING_KEYS, &records, &previous, |key| self.sealer.has_key(key));
        self.sealer.replace_keys(keys.into_iter().map(to_sealing_key), digest_sealing);
        let consumers = lock(&self.consumers).clone();
        for consumer in consumers {
            let loaded = load_keys(&self.folder, &consumer.kind(), &records, &previous, |key| consumer.has_key(key));
            if !loaded.keys.is_empty() {
                consumer.set_keys(loaded.keys);
            }
            errors.extend(loaded.errors);
        }
        self.log_unreadable_keys(&errors);
        *lock(&self.records) = records;
        Ok(())
    }

    fn log_unreadable_keys(&self, errors: &[(KeyRecord, ConfigError)]) {
        let now = self.clock.now();
        let mut unreadable = lock(&self.unreadable);
        let previous = std::mem::take(&mut *unreadable);
        for (KeyRecord { name, active_from, .. }, error) in errors {
            let logged_as = if *active_from <= now { LoggedAs::Error } else { LoggedAs::Warning };
            match logged_as {
                _ if previous.get(name) == Some(&logged_as) => {}
                LoggedAs::Error => tracing::error!(
                    key = name, cause = %error,
                    "cannot read a registered key: requests that need it fail on this instance"
                ),
                LoggedAs::Warning => tracing::warn!(
                    key = name, cause = %error,
                    "cannot read a key that will be active soon: requests that need it will fail on this instance"
                ),
            }
            unreadable.insert(name.clone(), logged_as);
        }
    }
}

#[async_trait]
impl KeyRefresher for KeyRing {
    async fn refresh_if_due(&self) {
        let mut last_refresh = self.last_refresh.lock().await;
        if last_refresh.is_some_and(|at| at.elapsed() < MIN_REFRESH_INTERVAL) {
            return;
        }
        if let Err(error) = self.refresh().await {
            tracing::warn!(cause = %error, "cannot look for new keys; trying again in a few seconds");
        }
        *last_refresh = Some(Instant::now());
    }

    fn is_key_missing(&self, key: &str) -> bool {
        lock(&self.unreadable).contains_key(key)
    }

    async fn run_refresh_loop(&self) {
        let mut ticks = tokio::time::interval(REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sighup = signal(SignalKind::hangup()).ok();
        loop {
            let sighup_received = async {
                match &mut sighup {
                    Some(sighup) => sighup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { _ = ticks.tick() => {}, _ = sighup_received => {} }
            self.refresh_if_due().await;
            if let Err(error) = self.salted_logins.flush(self.store.as_ref(), self.clock.now()).await {
                tracing::warn!(cause = %error, "cannot store which users have used salted logins; trying again");
            }
        }
    }
}

/// Reads the registered keys of one kind. A loaded key is not read again, unless its name now belongs to another key.
fn load_keys(
    folder: &Path,
    kind: &KeyKind,
    records: &[KeyRecord],
    previous: &[KeyRecord],
    is_loaded: impl Fn(KeyId) -> bool,
) -> LoadedKeys {
    let mut loaded = LoadedKeys { keys: Vec::new(), errors: Vec::new() };
    for record in records {
        let Some(number) = record.number(kind.name) else { continue };
        let is_unchanged = |old: &KeyRecord| old.name == record.name && old.fingerprint == record.fingerprint;
        if is_loaded(number) && previous.iter().any(is_unchanged) {
            loaded.keys.push(RegisteredKey { number, active_from: record.active_from, key_material: None });
            continue;
        }
        match kind.read_verified(folder, record, number) {
            Ok((content, _)) => {
                let key_material = Some(content);
                loaded.keys.push(RegisteredKey { number, active_from: record.active_from, key_material });
            }
            Err(error) => loaded.errors.push((record.clone(), error)),
        }
    }
    loaded
}

/// The keys that could be read; an error if a key that is active at `now` could not.
fn require_readable_active_keys(loaded: LoadedKeys, now: Timestamp) -> Result<Vec<RegisteredKey>, ConfigError> {
    let active_error = loaded.errors.into_iter().find(|(record, _)| record.active_from <= now);
    active_error.map_or(Ok(loaded.keys), |(_, error)| Err(error))
}

fn to_sealing_key(RegisteredKey { number, active_from, key_material }: RegisteredKey) -> SealingKey {
    let key = key_material.as_deref().and_then(|content| files::parse_key_file(content));
    SealingKey { id: number, seals_from: active_from, key }
}

/// Whether digests may be sealed, given when salted logins were disabled.
fn to_digest_sealing(disabled_at: Option<Timestamp>) -> DigestSealing {
    if disabled_at.is_some() { DigestSealing::Disabled } else { DigestSealing::Enabled }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config_error(error: impl std::fmt::Display) -> ConfigError {
    ConfigError::new(error.to_string())
}
