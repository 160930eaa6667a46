//! Unknown keys are looked for at most once a second, however many tokens name them (docs/THREATS.md 27).

#![expect(clippy::unwrap_used, reason = "a test's set-up may panic")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stele_core::app::App;
use stele_core::ports::{
    KeyRecord, KeyRefresher as _, KeyRetirement, KeyStore, KeyUsage, ResealedUser, SaltedLoginUsage, SealedUser,
};
use stele_core::random::OsRandom;
use stele_core::seal::{KeyId, SealedSecret};
use stele_core::time::{SystemClock, Timestamp};
use stele_core::user::UserId;
use stele_core::{Error, Result};
use stele_keys::{KeyRing, keyring};

/// A registry in memory that counts how often it is read. It stores no rows.
#[derive(Default)]
struct CountingRegistry {
    records: Mutex<Vec<KeyRecord>>,
    reads: AtomicUsize,
}

/// The methods in braces as written; all others fail.
macro_rules! key_store {
    ({ $($implemented:tt)* } $($name:ident($($argument:ty),*) -> $value:ty;)*) => {
        #[async_trait]
        impl KeyStore for CountingRegistry {
            $($implemented)*
            $(async fn $name(&self, $(_: $argument),*) -> Result<$value> {
                Err(Error::unavailable("not stored"))
            })*
        }
    };
}

key_store! {
    {
        async fn keys(&self) -> Result<Vec<KeyRecord>> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            Ok(self.records.lock().unwrap().clone())
        }
        async fn add_key(&self, key: &KeyRecord) -> Result<bool> {
            self.records.lock().unwrap().push(key.clone());
            Ok(true)
        }
        async fn salted_logins_disabled_at(&self) -> Result<Option<Timestamp>> {
            Ok(None)
        }
    }
    set_fingerprint(&str, &[u8]) -> ();
    retire_key(&str) -> KeyRetirement;
    count_rows_by_key() -> Vec<KeyUsage>;
    sealed_users(KeyId, i64, u32) -> Vec<SealedUser>;
    sealed_apps(KeyId) -> Vec<App>;
    reseal_users(&[ResealedUser]) -> u64;
    reseal_app(&str, &SealedSecret, &SealedSecret) -> bool;
    disable_salted_logins(Timestamp) -> bool;
    enable_salted_logins() -> bool;
    count_sealed_digests() -> u64;
    erase_sealed_digests(u32) -> u64;
    record_salted_logins(&[UserId], Timestamp) -> ();
    salted_login_usage(Timestamp) -> SaltedLoginUsage;
}

#[tokio::test(start_paused = true)]
async fn many_requests_for_unknown_keys_read_the_registry_once_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(CountingRegistry::default());
    keyring::bootstrap_keys(store.as_ref(), folder.path(), &OsRandom).await.unwrap();
    let ring = KeyRing::open(folder.path().to_owned(), store.clone(), Arc::new(SystemClock)).await.unwrap();
    let reads_of_many_requests = async || {
        let before = store.reads.load(Ordering::SeqCst);
        for _ in 0..1_000 {
            ring.refresh_if_due().await;
        }
        store.reads.load(Ordering::SeqCst) - before
    };
    assert_eq!(reads_of_many_requests().await, 1, "the first request looks");
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!(reads_of_many_requests().await, 0);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(reads_of_many_requests().await, 1);
}
