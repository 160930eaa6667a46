//! Tests of the closures of a process: what was read last stays in force.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use stele_core::Error;
use stele_core::dialect_closure::{DialectClosure, NewClosure};
use stele_core::time::{SystemClock, Timestamp};

use super::*;

/// A store in memory that can be made to fail.
struct FakeClosureStore(Mutex<Option<Vec<DialectClosure>>>);

#[async_trait]
impl ClosureStore for FakeClosureStore {
    async fn scheduled_closures(&self, _: Timestamp) -> Result<Vec<DialectClosure>> {
        self.0.lock().unwrap().clone().ok_or_else(|| Error::unavailable("made to fail"))
    }

    async fn list_closures(&self, _: Option<i64>, _: u32) -> Result<Vec<DialectClosure>> {
        Ok(Vec::new())
    }

    async fn add_closure(&self, _: &NewClosure, _: usize) -> Result<Option<i64>> {
        Ok(None)
    }

    async fn cancel_closure(&self, _: i64, _: Timestamp) -> Result<Option<DialectClosure>> {
        Ok(None)
    }
}

fn brownout(length: Duration) -> DialectClosure {
    let now = SystemClock.now();
    let closure = NewClosure {
        kind: ClosureKind::Brownout,
        dialect: "tms".to_owned(),
        client: None,
        starts_at: now,
        ends_at: Some(now.saturating_add(length)),
        created_at: now,
        operator: String::new(),
    };
    DialectClosure { id: 1, closure, canceled_at: None }
}

async fn open_monitor(closures: Option<Vec<DialectClosure>>) -> (Option<Arc<ClosureMonitor>>, Arc<FakeClosureStore>) {
    let store = Arc::new(FakeClosureStore(Mutex::new(closures)));
    let monitor = ClosureMonitor::open(store.clone(), Arc::new(SystemClock), &Metrics::default()).await;
    (monitor.ok(), store)
}

#[tokio::test]
async fn the_schedule_that_was_read_last_stays_in_force_while_the_store_fails() {
    let (monitor, store) = open_monitor(Some(vec![brownout(Duration::from_secs(600))])).await;
    let monitor = monitor.unwrap();
    assert!(monitor.check("tms", None).is_some_and(|seconds| (1..=600).contains(&seconds)));
    assert_eq!(monitor.check("jwt", None), None);
    *store.0.lock().unwrap() = None;
    assert!(monitor.refresh().await.is_err());
    assert!(monitor.check("tms", None).is_some(), "the window is still open");
    *store.0.lock().unwrap() = Some(Vec::new());
    monitor.refresh().await.unwrap();
    assert_eq!(monitor.check("tms", None), None);
}

#[tokio::test]
async fn a_service_does_not_start_without_the_schedule() {
    assert!(open_monitor(None).await.0.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_schedule_is_read_every_five_seconds() {
    let (monitor, store) = open_monitor(Some(Vec::new())).await;
    let monitor = monitor.unwrap();
    let task = tokio::spawn({
        let monitor = monitor.clone();
        async move { monitor.run().await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    *store.0.lock().unwrap() = Some(vec![brownout(Duration::from_secs(600))]);
    tokio::time::sleep(Duration::from_millis(4_990)).await;
    assert_eq!(monitor.check("tms", None), None);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(monitor.check("tms", None).is_some());
    task.abort();
}
