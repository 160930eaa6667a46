//! Tests of the cache with a clock that stands still and a registry that counts its reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;
use crate::Error;
use crate::oauth::{ClientSecret, Scope, Secrets, SigningAlgorithm};
use crate::ports::{ClientAddition, ResourceAddition, ResourceRemoval};

const START: Timestamp = Timestamp::from_secs(1_700_000_000);
const LAST_MOMENT: Duration = Duration::from_micros(4_999_999);

struct ManualClock(AtomicI64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A registry in memory.
#[derive(Default)]
struct MemoryRegistry {
    clients: Mutex<BTreeMap<String, OAuthClient>>,
    resources: Mutex<BTreeMap<String, Resource>>,
    reads: AtomicUsize,
    is_down: AtomicBool,
}

impl MemoryRegistry {
    fn answer<T>(&self, value: T) -> Result<T> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        match self.is_down.load(Ordering::SeqCst) {
            true => Err(Error::unavailable("down")),
            false => Ok(value),
        }
    }
}

#[async_trait]
impl OAuthRegistry for MemoryRegistry {
    async fn find_client(&self, id: &ClientId) -> Result<Option<OAuthClient>> {
        self.answer(self.clients.lock().unwrap().get(id.as_str()).cloned())
    }

    async fn find_resource(&self, name: &ResourceName) -> Result<Option<Resource>> {
        self.answer(self.resources.lock().unwrap().get(name.as_str()).cloned())
    }

    async fn find_resource_by_audience(&self, audience: &Audience) -> Result<Option<Resource>> {
        let resources = self.resources.lock().unwrap();
        self.answer(resources.values().find(|resource| resource.audience() == *audience).cloned())
    }

    async fn list_clients(&self, _: Option<&ClientId>, _: u32) -> Result<Vec<OAuthClient>> {
        unreachable!()
    }

    async fn list_resources(&self, _: Option<&ResourceName>, _: u32) -> Result<Vec<Resource>> {
        unreachable!()
    }

    async fn add_client(&self, _: &OAuthClient) -> Result<ClientAddition> {
        unreachable!()
    }

    async fn add_resource(&self, _: &Resource) -> Result<ResourceAddition> {
        unreachable!()
    }

    async fn replace_client_secrets(&self, _: &ClientId, _: &Secrets, _: &Secrets) -> Result<bool> {
        unreachable!()
    }

    async fn replace_resource_secrets(&self, _: &ResourceName, _: &Secrets, _: &Secrets) -> Result<bool> {
        unreachable!()
    }

    async fn remove_client(&self, _: &ClientId) -> Result<bool> {
        unreachable!()
    }

    async fn remove_resource(&self, _: &ResourceName) -> Result<ResourceRemoval> {
        unreachable!()
    }
}

struct Fixture {
    registry: Arc<MemoryRegistry>,
    clock: Arc<ManualClock>,
    cache: OAuthRegistryCache,
}

impl Fixture {
    fn new() -> Self {
        let registry = Arc::new(MemoryRegistry::default());
        let clock = Arc::new(ManualClock(AtomicI64::new(START.as_micros())));
        let cache = OAuthRegistryCache::new(registry.clone(), clock.clone());
        Self { registry, clock, cache }
    }

    fn set_clock(&self, now: Timestamp) {
        self.clock.0.store(now.as_micros(), Ordering::SeqCst);
    }

    fn put_client(&self, client: OAuthClient) {
        self.registry.clients.lock().unwrap().insert(client.id.to_string(), client);
    }

    fn reads(&self) -> usize {
        self.registry.reads.load(Ordering::SeqCst)
    }
}

fn secrets(text: &str) -> Secrets {
    Secrets::new(&ClientSecret::from_request(text), START)
}

fn web() -> OAuthClient {
    OAuthClient {
        id: ClientId::parse("web").unwrap(),
        secrets: secrets("first"),
        grants: BTreeSet::new(),
        resources: BTreeSet::new(),
        subject_types: BTreeSet::new(),
        scopes: Scope::default(),
        algorithm: SigningAlgorithm::Rs256,
        redirect_uris: Vec::new(),
        created_at: START,
    }
}

fn orders() -> Resource {
    Resource {
        name: ResourceName::parse("orders").unwrap(),
        uri: None,
        secrets: secrets("first"),
        legacy_tokens: BTreeSet::new(),
        created_at: START,
    }
}

async fn first_secret_is_valid(fixture: &Fixture) -> bool {
    let client = fixture.cache.find_client(&web().id).await.unwrap().unwrap();
    Secrets::verify(Some(&client.secrets), &ClientSecret::from_request("first"), START)
}

#[tokio::test]
async fn a_record_is_read_once_in_five_seconds() {
    let fixture = Fixture::new();
    fixture.put_client(web());
    fixture.registry.resources.lock().unwrap().insert("orders".to_owned(), orders());
    for _ in 0..3 {
        assert_eq!(fixture.cache.find_client(&web().id).await.unwrap().as_deref(), Some(&web()));
        assert_eq!(fixture.cache.find_resource(&orders().name).await.unwrap().as_deref(), Some(&orders()));
        let by_audience = fixture.cache.find_resource_by_audience(&orders().audience()).await.unwrap();
        assert_eq!(by_audience.as_deref(), Some(&orders()));
    }
    assert_eq!(fixture.reads(), 3);
    fixture.set_clock(START.saturating_add(MAX_AGE));
    fixture.cache.find_client(&web().id).await.unwrap();
    assert_eq!(fixture.reads(), 4);
}

#[tokio::test]
async fn a_rotated_secret_and_a_removed_client_end_after_five_seconds() {
    let fixture = Fixture::new();
    fixture.put_client(web());
    assert!(first_secret_is_valid(&fixture).await);
    fixture.put_client(OAuthClient { secrets: secrets("second"), ..web() });
    fixture.set_clock(START.saturating_add(LAST_MOMENT));
    assert!(first_secret_is_valid(&fixture).await);
    fixture.set_clock(START.saturating_add(MAX_AGE));
    assert!(!first_secret_is_valid(&fixture).await);
    fixture.registry.clients.lock().unwrap().clear();
    assert!(fixture.cache.find_client(&web().id).await.unwrap().is_some());
    fixture.set_clock(START.saturating_add(2 * MAX_AGE));
    assert_eq!(fixture.cache.find_client(&web().id).await.unwrap(), None);
    // A client that is added is found after as long.
    fixture.put_client(web());
    fixture.set_clock(START.saturating_add(3 * MAX_AGE));
    assert!(first_secret_is_valid(&fixture).await);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_prolong_a_record() {
    let fixture = Fixture::new();
    fixture.put_client(web());
    assert!(first_secret_is_valid(&fixture).await);
    fixture.registry.clients.lock().unwrap().clear();
    fixture.set_clock(START.saturating_sub(Duration::from_secs(3_600)));
    assert_eq!(fixture.cache.find_client(&web().id).await.unwrap(), None);
}

#[tokio::test]
async fn while_the_database_is_down_no_older_record_is_served() {
    let fixture = Fixture::new();
    fixture.put_client(web());
    assert!(first_secret_is_valid(&fixture).await);
    fixture.registry.is_down.store(true, Ordering::SeqCst);
    fixture.set_clock(START.saturating_add(LAST_MOMENT));
    assert!(first_secret_is_valid(&fixture).await);
    for seconds in [5, 6, 60] {
        fixture.set_clock(START.saturating_add(Duration::from_secs(seconds)));
        let result = fixture.cache.find_client(&web().id).await;
        assert!(matches!(result, Err(Error::Unavailable(_))), "{seconds} s");
    }
    // An error is not remembered.
    fixture.registry.is_down.store(false, Ordering::SeqCst);
    assert!(first_secret_is_valid(&fixture).await);
}

#[tokio::test]
async fn unknown_names_do_not_grow_the_cache_or_displace_records() {
    let fixture = Fixture::new();
    fixture.put_client(web());
    assert!(first_secret_is_valid(&fixture).await);
    for n in 0..5 * CAPACITY {
        let unknown = ClientId::parse(&format!("unknown-{n}")).unwrap();
        assert_eq!(fixture.cache.find_client(&unknown).await.unwrap(), None);
        assert!(fixture.cache.clients.unknown.0.lock().unwrap().len() <= CAPACITY);
    }
    assert_eq!(fixture.reads(), 1 + 5 * CAPACITY);
    assert!(first_secret_is_valid(&fixture).await);
    assert_eq!(fixture.reads(), 1 + 5 * CAPACITY, "the record is still there");
    // An unknown name that is asked for again costs what a known one costs: nothing is read.
    let last = ClientId::parse(&format!("unknown-{}", 5 * CAPACITY - 1)).unwrap();
    assert_eq!(fixture.cache.find_client(&last).await.unwrap(), None);
    assert_eq!(fixture.reads(), 1 + 5 * CAPACITY);
}

#[tokio::test]
async fn known_records_do_not_grow_the_cache_without_bound() {
    let fixture = Fixture::new();
    for n in 0..2 * CAPACITY {
        let id = ClientId::parse(&format!("client-{n}")).unwrap();
        fixture.put_client(OAuthClient { id: id.clone(), ..web() });
        assert!(fixture.cache.find_client(&id).await.unwrap().is_some());
        assert!(fixture.cache.clients.records.0.lock().unwrap().len() <= CAPACITY);
    }
}
