//! Key ring: the keys in service of a running process, and their refresh (key rotation).
//!
//! The database says which keys there are and from when each seals or signs; the keys are files in the key folder. A
//! process looks for new keys every few seconds, on SIGHUP, and when it meets an unknown one. So every process has
//! loaded a new key before any seals or signs with it.

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

/// How often a process looks for new keys.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// Refreshes are at least this far apart, whatever triggers them.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// A key in service.
pub struct ActiveKey {
    /// Its number.
    pub number: KeyId,
    /// From when on it seals or signs.
    pub works_from: Timestamp,
    /// The text of its file; `None` for a key that the consumer has loaded already.
    pub text: Option<Zeroizing<String>>,
}

/// A component that uses the keys of a kind, such as the signing keys of JWTs.
pub trait KeyConsumer: Send + Sync {
    /// The kind of its keys.
    fn kind(&self) -> KeyKind;

    /// Whether the key is loaded.
    fn has_key(&self, number: KeyId) -> bool;

    /// Replaces all keys by these. A key without text keeps what is loaded.
    fn set_keys(&self, keys: Vec<ActiveKey>);
}

/// The keys in service, loaded from the key folder and refreshed from the database.
pub struct KeyRing {
    folder: PathBuf,
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    sealer: Arc<Sealer>,
    mac: Arc<MacKey>,
    salted_logins: Arc<SaltedLoginRecorder>,
    consumers: Mutex<Vec<Arc<dyn KeyConsumer>>>,
    records: Mutex<Vec<KeyRecord>>,
    /// Keys that could not be read, with how each was logged, so that it is logged once.
    unreadable: Mutex<BTreeMap<String, LoggedAs>>,
    last_refresh: tokio::sync::Mutex<Option<Instant>>,
}

/// How an unreadable key was logged: as an error once it is active, because requests fail then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LoggedAs {
    Warning,
    Error,
}

/// The keys of a kind, and the errors of those that could not be read.
struct LoadedKeys {
    keys: Vec<ActiveKey>,
    errors: Vec<(KeyRecord, ConfigError)>,
}

impl KeyRing {
    /// Loads the keys in service and verifies their fingerprints.
    ///
    /// # Errors
    /// One line that names the key's file and the remedy.
    pub async fn open(
        folder: PathBuf,
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, ConfigError> {
        let records = store.keys().await.map_err(config_error)?;
        let loaded = load_keys(&folder, &SEALING_KEYS, &records, &[], |_| false);
        let no_key =
            ConfigError::new(format!("{}: no sealing key is in service; run `stele migrate`", folder.display()));
        if loaded.keys.is_empty() && loaded.errors.is_empty() {
            return Err(no_key);
        }
        let keys = require_readable_active_keys(loaded, clock.now())?;
        let digests = digest_sealing(store.salted_ended_at().await.map_err(config_error)?);
        let sealer = Arc::new(Sealer::with_key_schedule(keys.into_iter().map(to_sealing_key), digests).ok_or(no_key)?);
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

    /// Users whose salted logins are not stored yet.
    pub fn salted_logins(&self) -> Arc<SaltedLoginRecorder> {
        Arc::clone(&self.salted_logins)
    }

    /// Passes the keys in service to `consumer`, now and whenever they change.
    ///
    /// # Errors
    /// One line that names the key's file and the remedy, if a key cannot be read or there is none.
    pub fn register_consumer(&self, consumer: Arc<dyn KeyConsumer>) -> Result<(), ConfigError> {
        let kind = consumer.kind();
        let loaded = load_keys(&self.folder, &kind, &lock(&self.records), &[], |_| false);
        let keys = require_readable_active_keys(loaded, self.clock.now())?;
        if keys.is_empty() {
            let file = kind.key_path(&self.folder, 1);
            let text = "no such key is in service; `stele migrate` creates it, and all instances must share one set";
            return Err(ConfigError::new(format!("{}: {text}", file.display())));
        }
        consumer.set_keys(keys);
        lock(&self.consumers).push(consumer);
        Ok(())
    }

    /// Loads what has changed. A key that cannot be read is logged once.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn refresh(&self) -> stele_core::Result<()> {
        let records = self.store.keys().await?;
        let digests = digest_sealing(self.store.salted_ended_at().await?);
        let before = lock(&self.records).clone();
        let LoadedKeys { keys, mut errors } =
            load_keys(&self.folder, &SEALING_KEYS, &records, &before, |key| self.sealer.has_key(key));
        self.sealer.replace_keys(keys.into_iter().map(to_sealing_key), digests);
        let consumers = lock(&self.consumers).clone();
        for consumer in consumers {
            let loaded = load_keys(&self.folder, &consumer.kind(), &records, &before, |key| consumer.has_key(key));
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
        let before = std::mem::take(&mut *unreadable);
        for (KeyRecord { name, works_from, .. }, error) in errors {
            let logged_as = if *works_from <= now { LoggedAs::Error } else { LoggedAs::Warning };
            match logged_as {
                _ if before.get(name) == Some(&logged_as) => {}
                LoggedAs::Error => tracing::error!(
                    key = name, cause = %error,
                    "cannot read a key in service: requests that need it fail on this instance"
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

/// The keys of a kind in service. Loaded keys are not read again, unless their name belongs to another key now.
fn load_keys(
    folder: &Path,
    kind: &KeyKind,
    records: &[KeyRecord],
    before: &[KeyRecord],
    is_loaded: impl Fn(KeyId) -> bool,
) -> LoadedKeys {
    let mut loaded = LoadedKeys { keys: Vec::new(), errors: Vec::new() };
    for record in records {
        let Some(number) = record.number(kind.name) else { continue };
        let is_unchanged = |old: &KeyRecord| old.name == record.name && old.fingerprint == record.fingerprint;
        if is_loaded(number) && before.iter().any(is_unchanged) {
            loaded.keys.push(ActiveKey { number, works_from: record.works_from, text: None });
            continue;
        }
        match kind.read_verified(folder, record, number) {
            Ok(text) => loaded.keys.push(ActiveKey { number, works_from: record.works_from, text: Some(text) }),
            Err(error) => loaded.errors.push((record.clone(), error)),
        }
    }
    loaded
}

/// The keys, if all that are active at `now` could be read.
fn require_readable_active_keys(loaded: LoadedKeys, now: Timestamp) -> Result<Vec<ActiveKey>, ConfigError> {
    let active_error = loaded.errors.into_iter().find(|(record, _)| record.works_from <= now);
    active_error.map_or(Ok(loaded.keys), |(_, error)| Err(error))
}

fn to_sealing_key(ActiveKey { number, works_from, text }: ActiveKey) -> SealingKey {
    SealingKey { id: number, seals_from: works_from, key: text.as_deref().and_then(|text| files::parse_key_file(text)) }
}

/// Whether digests may be sealed, given when salted logins ended.
fn digest_sealing(ended: Option<Timestamp>) -> DigestSealing {
    if ended.is_some() { DigestSealing::Ended } else { DigestSealing::Allowed }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config_error(error: impl std::fmt::Display) -> ConfigError {
    ConfigError::new(error.to_string())
}
