//! The keys in service in a running process.
//!
//! Which keys there are and from when each seals or signs is in the database; the keys themselves are in the folder.
//! A process looks for keys that were put in service every few seconds, on SIGHUP, and when it meets one that it does
//! not know; so each knows a new key before any works with it.

mod begin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stele_core::mac::MacKey;
use stele_core::ports::{KeyRecord, KeyStore, KeyWatch};
use stele_core::salted::SaltedLogins;
use stele_core::seal::{DigestSealing, KeyId, Sealer, SealingKey};
use stele_core::time::{Clock, Timestamp};
use stele_service::ConfigError;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::files::{self, Family, SEALING};
pub use begin::{begin, begin_family, make};

/// How often a process looks for new keys.
const EVERY: Duration = Duration::from_secs(5);
/// How often it looks at most, whoever asks.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// A key in service: its number, from when on it works, and its file's text where it is not known yet.
pub type InService = (KeyId, Timestamp, Option<Zeroizing<String>>);

/// What works with the keys of a family, other than the sealing keys.
pub trait Holder: Send + Sync {
    /// The family.
    fn family(&self) -> Family;

    /// Whether the key is held.
    fn holds(&self, number: KeyId) -> bool;

    /// Holds these keys and no others.
    fn hold(&self, keys: Vec<InService>);
}

/// The keys in service.
pub struct KeyRing {
    folder: PathBuf,
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    sealer: Arc<Sealer>,
    mac: Arc<MacKey>,
    salted_logins: Arc<SaltedLogins>,
    holders: Mutex<Vec<Arc<dyn Holder>>>,
    records: Mutex<Vec<KeyRecord>>,
    /// The keys that cannot be read here, and whether it was their time when that was complained about.
    lacking: Mutex<BTreeMap<String, bool>>,
    looked: tokio::sync::Mutex<Option<Instant>>,
}

/// The keys of a family, and what is wrong with those that cannot be read.
struct Gathered {
    keys: Vec<InService>,
    faults: Vec<(KeyRecord, ConfigError)>,
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
        let records = store.keys().await.map_err(fault)?;
        let gathered = gather(&folder, &SEALING, &records, &[], |_| false);
        let none = ConfigError::new(format!("{}: no sealing key is in service; run `stele migrate`", folder.display()));
        if gathered.keys.is_empty() && gathered.faults.is_empty() {
            return Err(none);
        }
        let keys = strictly(gathered, clock.now())?;
        let digests = digest_sealing(store.salted_ended().await.map_err(fault)?);
        let sealer = Arc::new(Sealer::of(keys.into_iter().map(sealing), digests).ok_or(none)?);
        let mac = Arc::new(files::load_mac(&folder, &records)?);
        Ok(Arc::new(Self {
            folder,
            store,
            clock,
            sealer,
            mac,
            salted_logins: Arc::default(),
            holders: Mutex::default(),
            records: Mutex::new(records),
            lacking: Mutex::default(),
            looked: tokio::sync::Mutex::default(),
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
    pub fn salted_logins(&self) -> Arc<SaltedLogins> {
        Arc::clone(&self.salted_logins)
    }

    /// Gives `holder` the keys in service of its family, now and whenever they change.
    ///
    /// # Errors
    /// One line that names the key and its file; or that there is none.
    pub fn attach(&self, holder: Arc<dyn Holder>) -> Result<(), ConfigError> {
        let family = holder.family();
        let gathered = gather(&self.folder, &family, &lock(&self.records), &[], |_| false);
        let keys = strictly(gathered, self.clock.now())?;
        if keys.is_empty() {
            let file = family.file(&self.folder, 1);
            let text = "no such key is in service; `stele migrate` makes it, and all instances must share one set";
            return Err(ConfigError::new(format!("{}: {text}", file.display())));
        }
        holder.hold(keys);
        lock(&self.holders).push(holder);
        Ok(())
    }

    /// Takes up what has changed. A key that cannot be read is complained about, once.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn refresh(&self) -> stele_core::Result<()> {
        let records = self.store.keys().await?;
        let digests = digest_sealing(self.store.salted_ended().await?);
        let before = lock(&self.records).clone();
        let Gathered { keys, mut faults } =
            gather(&self.folder, &SEALING, &records, &before, |key| self.sealer.knows(key));
        self.sealer.renew(keys.into_iter().map(sealing), digests);
        let holders = lock(&self.holders).clone();
        for holder in holders {
            let gathered = gather(&self.folder, &holder.family(), &records, &before, |key| holder.holds(key));
            if !gathered.keys.is_empty() {
                holder.hold(gathered.keys);
            }
            faults.extend(gathered.faults);
        }
        self.complain(&faults);
        *lock(&self.records) = records;
        Ok(())
    }

    fn complain(&self, faults: &[(KeyRecord, ConfigError)]) {
        let now = self.clock.now();
        let mut lacking = lock(&self.lacking);
        let before = std::mem::take(&mut *lacking);
        for (KeyRecord { name, works_from, .. }, cause) in faults {
            let due = *works_from <= now;
            match before.get(name) {
                Some(told) if *told == due => {}
                _ if due => tracing::error!(key = name, %cause, "a key cannot be taken up: what needs it fails here"),
                _ => tracing::warn!(key = name, %cause, "a new key is to work soon and cannot be taken up here"),
            }
            lacking.insert(name.clone(), due);
        }
    }
}

#[async_trait]
impl KeyWatch for KeyRing {
    async fn look(&self) {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < AT_MOST_EVERY) {
            return;
        }
        if let Err(cause) = self.refresh().await {
            tracing::warn!(%cause, "it could not be looked for new keys");
        }
        *looked = Some(Instant::now());
    }

    fn lacks(&self, key: &str) -> bool {
        lock(&self.lacking).contains_key(key)
    }

    async fn keep_up(&self) {
        let mut ticks = tokio::time::interval(EVERY);
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
            self.look().await;
            if let Err(cause) = self.salted_logins.store(self.store.as_ref(), self.clock.now()).await {
                tracing::warn!(%cause, "who logged in by salted proofs could not be noted");
            }
        }
    }
}

/// The keys of a family in service. Those that are `held` are not read again, unless another key has their name now.
fn gather(
    folder: &Path,
    family: &Family,
    records: &[KeyRecord],
    before: &[KeyRecord],
    held: impl Fn(KeyId) -> bool,
) -> Gathered {
    let mut gathered = Gathered { keys: Vec::new(), faults: Vec::new() };
    for record in records {
        let Some(number) = record.number(family.name) else { continue };
        let same = |old: &KeyRecord| old.name == record.name && old.probe == record.probe;
        if held(number) && before.iter().any(same) {
            gathered.keys.push((number, record.works_from, None));
            continue;
        }
        match family.read_as(folder, record, number) {
            Ok(text) => gathered.keys.push((number, record.works_from, Some(text))),
            Err(error) => gathered.faults.push((record.clone(), error)),
        }
    }
    gathered
}

/// The keys, if all that work already can be read.
fn strictly(gathered: Gathered, now: Timestamp) -> Result<Vec<InService>, ConfigError> {
    let fatal = gathered.faults.into_iter().find(|(record, _)| record.works_from <= now);
    fatal.map_or(Ok(gathered.keys), |(_, error)| Err(error))
}

fn sealing((id, seals_from, text): InService) -> SealingKey {
    SealingKey { id, seals_from, key: text.as_deref().and_then(|text| files::parse(text)) }
}

/// Whether digests are sealed, given when salted logins were ended.
fn digest_sealing(ended: Option<Timestamp>) -> DigestSealing {
    if ended.is_some() { DigestSealing::Ended } else { DigestSealing::Allowed }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fault(error: impl std::fmt::Display) -> ConfigError {
    ConfigError::new(error.to_string())
}
