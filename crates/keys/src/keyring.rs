//! The keys in service in a running process.
//!
//! Which keys there are and from when each seals or signs is in the database; the keys themselves are in the folder.
//! A process looks for keys that were put in service every few seconds, on SIGHUP, and when it meets one that it does
//! not know; so each knows a new key before any works with it.

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
/// How often it looks at most, whoever asks.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// A key in service.
pub struct ActiveKey {
    /// Its number.
    pub number: KeyId,
    /// From when on it seals or signs.
    pub works_from: Timestamp,
    /// The text of its file; `None` for a key that the consumer has already.
    pub text: Option<Zeroizing<String>>,
}

/// What works with the keys of a family, other than the sealing keys.
pub trait KeyConsumer: Send + Sync {
    /// The family.
    fn kind(&self) -> KeyKind;

    /// Whether the key is held.
    fn has_key(&self, number: KeyId) -> bool;

    /// Holds these keys and no others.
    fn set_keys(&self, keys: Vec<ActiveKey>);
}

/// The keys in service.
pub struct KeyRing {
    folder: PathBuf,
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    sealer: Arc<Sealer>,
    mac: Arc<MacKey>,
    salted_logins: Arc<SaltedLoginRecorder>,
    consumers: Mutex<Vec<Arc<dyn KeyConsumer>>>,
    records: Mutex<Vec<KeyRecord>>,
    /// The keys that cannot be read here, and whether it was their time when that was complained about.
    unreadable: Mutex<BTreeMap<String, bool>>,
    last_refresh: tokio::sync::Mutex<Option<Instant>>,
}

/// The keys of a family, and what is wrong with those that cannot be read.
struct LoadedKeys {
    keys: Vec<ActiveKey>,
    errors: Vec<(KeyRecord, ConfigError)>,
}

impl KeyRing {
    /// Reads the keys in service and checks that each is the one.
    ///
    /// # Errors
    /// One line that names the key and its file.
    pub async fn open(
        folder: PathBuf,
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, ConfigError> {
        let records = store.keys().await.map_err(config_error)?;
        let gathered = load_keys(&folder, &SEALING_KEYS, &records, &[], |_| false);
        let none = ConfigError::new(format!("{}: no sealing key is in service; run `stele migrate`", folder.display()));
        if gathered.keys.is_empty() && gathered.errors.is_empty() {
            return Err(none);
        }
        let keys = require_readable_active_keys(gathered, clock.now())?;
        let digests = digest_sealing(store.salted_ended_at().await.map_err(config_error)?);
        let sealer = Arc::new(Sealer::with_key_schedule(keys.into_iter().map(to_sealing_key), digests).ok_or(none)?);
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

    /// Who logged in by salted proofs, until it is stored.
    pub fn salted_logins(&self) -> Arc<SaltedLoginRecorder> {
        Arc::clone(&self.salted_logins)
    }

    /// Gives `holder` the keys in service of its family, now and whenever they change.
    ///
    /// # Errors
    /// One line that names the key and its file; or that there is none.
    pub fn register_consumer(&self, holder: Arc<dyn KeyConsumer>) -> Result<(), ConfigError> {
        let family = holder.kind();
        let gathered = load_keys(&self.folder, &family, &lock(&self.records), &[], |_| false);
        let keys = require_readable_active_keys(gathered, self.clock.now())?;
        if keys.is_empty() {
            let file = family.key_path(&self.folder, 1);
            let text = "no such key is in service; `stele migrate` makes it, and all instances must share one set";
            return Err(ConfigError::new(format!("{}: {text}", file.display())));
        }
        holder.set_keys(keys);
        lock(&self.consumers).push(holder);
        Ok(())
    }

    /// Takes up what has changed. A key that cannot be read is complained about, once.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn refresh(&self) -> stele_core::Result<()> {
        let records = self.store.keys().await?;
        let digests = digest_sealing(self.store.salted_ended_at().await?);
        let before = lock(&self.records).clone();
        let LoadedKeys { keys, errors: mut faults } =
            load_keys(&self.folder, &SEALING_KEYS, &records, &before, |key| self.sealer.has_key(key));
        self.sealer.replace_keys(keys.into_iter().map(to_sealing_key), digests);
        let holders = lock(&self.consumers).clone();
        for holder in holders {
            let gathered = load_keys(&self.folder, &holder.kind(), &records, &before, |key| holder.has_key(key));
            if !gathered.keys.is_empty() {
                holder.set_keys(gathered.keys);
            }
            faults.extend(gathered.errors);
        }
        self.log_unreadable_keys(&faults);
        *lock(&self.records) = records;
        Ok(())
    }

    fn log_unreadable_keys(&self, faults: &[(KeyRecord, ConfigError)]) {
        let now = self.clock.now();
        let mut lacking = lock(&self.unreadable);
        let before = std::mem::take(&mut *lacking);
        for (KeyRecord { name, works_from, .. }, cause) in faults {
            let due = *works_from <= now;
            match before.get(name) {
                Some(was_due) if *was_due == due => {}
                _ if due => tracing::error!(key = name, %cause, "a key cannot be taken up: what needs it fails here"),
                _ => tracing::warn!(key = name, %cause, "a new key is to work soon and cannot be taken up here"),
            }
            lacking.insert(name.clone(), due);
        }
    }
}

#[async_trait]
impl KeyRefresher for KeyRing {
    async fn refresh_if_due(&self) {
        let mut looked = self.last_refresh.lock().await;
        if looked.is_some_and(|at| at.elapsed() < MIN_REFRESH_INTERVAL) {
            return;
        }
        if let Err(cause) = self.refresh().await {
            tracing::warn!(%cause, "it could not be looked for new keys");
        }
        *looked = Some(Instant::now());
    }

    fn is_key_missing(&self, key: &str) -> bool {
        lock(&self.unreadable).contains_key(key)
    }

    async fn run_refresh_loop(&self) {
        let mut ticks = tokio::time::interval(REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut hangup = signal(SignalKind::hangup()).ok();
        loop {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { _ = ticks.tick() => {}, _ = hung_up => {} }
            self.refresh_if_due().await;
            if let Err(cause) = self.salted_logins.flush(self.store.as_ref(), self.clock.now()).await {
                tracing::warn!(%cause, "who logged in by salted proofs could not be noted");
            }
        }
    }
}

/// The keys of a family in service. Those that are `held` are not read again, unless another key has their name now.
fn load_keys(
    folder: &Path,
    family: &KeyKind,
    records: &[KeyRecord],
    before: &[KeyRecord],
    held: impl Fn(KeyId) -> bool,
) -> LoadedKeys {
    let mut gathered = LoadedKeys { keys: Vec::new(), errors: Vec::new() };
    for record in records {
        let Some(number) = record.number(family.name) else { continue };
        let same = |old: &KeyRecord| old.name == record.name && old.fingerprint == record.fingerprint;
        if held(number) && before.iter().any(same) {
            gathered.keys.push(ActiveKey { number, works_from: record.works_from, text: None });
            continue;
        }
        match family.read_verified(folder, record, number) {
            Ok(text) => gathered.keys.push(ActiveKey { number, works_from: record.works_from, text: Some(text) }),
            Err(error) => gathered.errors.push((record.clone(), error)),
        }
    }
    gathered
}

/// The keys, if all that work already can be read.
fn require_readable_active_keys(gathered: LoadedKeys, now: Timestamp) -> Result<Vec<ActiveKey>, ConfigError> {
    let fatal = gathered.errors.into_iter().find(|(record, _)| record.works_from <= now);
    fatal.map_or(Ok(gathered.keys), |(_, error)| Err(error))
}

fn to_sealing_key(ActiveKey { number, works_from, text }: ActiveKey) -> SealingKey {
    SealingKey { id: number, seals_from: works_from, key: text.as_deref().and_then(|text| files::parse_key_file(text)) }
}

/// Whether digests are sealed, given when salted logins were ended.
fn digest_sealing(ended: Option<Timestamp>) -> DigestSealing {
    if ended.is_some() { DigestSealing::Ended } else { DigestSealing::Allowed }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config_error(error: impl std::fmt::Display) -> ConfigError {
    ConfigError::new(error.to_string())
}
