//! Cache of registered clients and resource servers, so that a request does not read them from the database each time.
//!
//! A record is used for at most [`MAX_AGE`]: so long a removed client or a rotated secret stays valid. Once a record is
//! older, it is read again, and if the database does not answer, the lookup fails.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Audience, ClientId, OAuthClient, Resource, ResourceName};
use crate::Result;
use crate::ports::OAuthRegistry;
use crate::time::{Clock, Timestamp};

/// How long a record is used before it is read again.
pub const MAX_AGE: Duration = Duration::from_secs(5);

/// The most records of a kind, and the most unknown names of a kind. When a table is full, it is emptied.
const CAPACITY: usize = 1_024;

/// The registry behind a cache, for the services. Commands use the registry itself.
pub struct OAuthRegistryCache {
    registry: Arc<dyn OAuthRegistry>,
    clock: Arc<dyn Clock>,
    clients: RecordCache<ClientId, OAuthClient>,
    resources: RecordCache<ResourceName, Resource>,
    audiences: RecordCache<Audience, Resource>,
}

impl OAuthRegistryCache {
    /// An empty cache of `registry`.
    pub fn new(registry: Arc<dyn OAuthRegistry>, clock: Arc<dyn Clock>) -> Self {
        let (clients, resources, audiences) = (RecordCache::new(), RecordCache::new(), RecordCache::new());
        Self { registry, clock, clients, resources, audiences }
    }

    /// The client with this id.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn find_client(&self, id: &ClientId) -> Result<Option<Arc<OAuthClient>>> {
        self.clients.find(id, self.clock.now(), self.registry.find_client(id)).await
    }

    /// The resource server of this name.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn find_resource(&self, name: &ResourceName) -> Result<Option<Arc<Resource>>> {
        self.resources.find(name, self.clock.now(), self.registry.find_resource(name)).await
    }

    /// The resource server with this audience.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn find_resource_by_audience(&self, audience: &Audience) -> Result<Option<Arc<Resource>>> {
        let read = self.registry.find_resource_by_audience(audience);
        self.audiences.find(audience, self.clock.now(), read).await
    }
}

/// Records of one kind. Unknown names have a table of their own, so that they cannot displace records.
struct RecordCache<K, V> {
    records: TimedTable<K, Arc<V>>,
    unknown: TimedTable<K, ()>,
}

impl<K: Clone + Eq + Hash, V> RecordCache<K, V> {
    fn new() -> Self {
        Self { records: TimedTable::default(), unknown: TimedTable::default() }
    }

    /// The record of `key`, from the cache or by `read`. A record's age counts from `now`, before it is read.
    async fn find(
        &self,
        key: &K,
        now: Timestamp,
        read: impl Future<Output = Result<Option<V>>>,
    ) -> Result<Option<Arc<V>>> {
        if let Some(record) = self.records.get(key, now) {
            return Ok(Some(record));
        }
        if self.unknown.get(key, now).is_some() {
            return Ok(None);
        }
        let record = read.await?.map(Arc::new);
        match &record {
            Some(record) => self.records.insert(key.clone(), now, Arc::clone(record)),
            None => self.unknown.insert(key.clone(), now, ()),
        }
        Ok(record)
    }
}

/// Values that are valid for [`MAX_AGE`] from the time with them.
struct TimedTable<K, V>(Mutex<HashMap<K, (Timestamp, V)>>);

impl<K, V> Default for TimedTable<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, V: Clone> TimedTable<K, V> {
    fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, value) = table.get(key)?;
        // A clock that was set back makes a value invalid, not eternal.
        if now >= *read_at && now < read_at.saturating_add(MAX_AGE) {
            return Some(value.clone());
        }
        table.remove(key);
        None
    }

    fn insert(&self, key: K, read_at: Timestamp, value: V) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= CAPACITY {
            table.clear();
        }
        table.insert(key, (read_at, value));
    }
}

#[cfg(test)]
#[path = "registry_cache_tests.rs"]
mod tests;
