//! The clock check against real PostgreSQL and Redis servers: an instance whose clock is wrong warns, or is not ready.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use stele_app::readiness::ReadinessCheck;
use stele_app::{Context, Environment};
use stele_core::time::{Clock, SystemClock, Timestamp};
use stele_service::Settings;
use stele_testservers as servers;

/// The machine's clock if it were some seconds fast, or slow.
#[derive(Default)]
struct OffsetClock(AtomicI64);

impl Clock for OffsetClock {
    fn now(&self) -> Timestamp {
        let offset = Timestamp::from_secs(self.0.load(Ordering::SeqCst));
        Timestamp::from_micros(SystemClock.now().as_micros() + offset.as_micros())
    }
}

struct Instance {
    context: Context,
    clock: Arc<OffsetClock>,
    _folder: tempfile::TempDir,
}

impl Instance {
    /// An instance on these stores whose clock is `offset` seconds fast.
    async fn start(stores: &[(&'static str, String)], offset: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(OffsetClock(offset.into()));
        let environment = Environment { clock: clock.clone(), ..Environment::default() };
        let settings = Settings::default()
            .with_values([
                ("STELE_DATA", folder.path().to_str().unwrap().to_owned()),
                ("STELE_HASH_COST", "64,1,1,weak".to_owned()),
            ])
            .with_values(stores.to_vec());
        stele_app::provision(&settings, &[], environment.random.as_ref()).await.unwrap();
        let context = stele_app::open(settings, environment).await.unwrap();
        Self { context, clock, _folder: folder }
    }

    /// Sets the clock, and checks it.
    async fn set_offset(&self, seconds: i64) {
        self.clock.0.store(seconds, Ordering::SeqCst);
        self.context.clock_check.check().await;
    }

    async fn readiness(&self) -> Result<(), String> {
        ReadinessCheck::for_context(&self.context).check().await
    }

    /// The metric of a store, rounded to tenths of a second; `None` if it is not exposed.
    fn metric(&self, store: &str) -> Option<f64> {
        let text = self.context.metrics.render().unwrap();
        let prefix = format!("stele_store_clock_offset_seconds{{store=\"{store}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&prefix))?;
        Some((value.parse::<f64>().unwrap() * 10.0).round() / 10.0)
    }

    fn metrics(&self) -> [Option<f64>; 2] {
        ["users", "state"].map(|store| self.metric(store))
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_instance_with_a_wrong_clock_is_not_ready_until_it_is_set() {
    let instance = Instance::start(&servers::store_settings(), 600).await;
    // The first readiness check includes the first clock check.
    let reason = instance.readiness().await.unwrap_err();
    assert!(
        reason.contains("600.0 s ahead of the user store's server and 600.0 s ahead of the state store's server")
            && reason.contains("the limit is 150 s")
            && reason.contains("agree with each other, so this one is wrong: synchronize it by NTP"),
        "{reason}"
    );
    assert_eq!(instance.metrics(), [Some(600.0); 2]);

    instance.set_offset(3).await;
    assert_eq!(instance.readiness().await, Ok(()));
    assert_eq!(instance.metrics(), [Some(3.0); 2]);
    let warnings = instance.context.clock_check.warnings();
    assert!(warnings.len() == 2 && warnings[0].contains("3.0 s ahead of the user store's server"), "{warnings:?}");

    instance.set_offset(-600).await;
    assert!(instance.readiness().await.unwrap_err().contains("600.0 s behind the state store's server"));
    assert_eq!(instance.metrics(), [Some(-600.0); 2]);

    instance.set_offset(0).await;
    assert_eq!(instance.readiness().await, Ok(()));
    assert_eq!((instance.metrics(), instance.context.clock_check.warnings()), ([Some(0.0); 2], Vec::new()));
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn one_store_server_is_enough_and_an_embedded_store_is_not_compared() {
    let [database, redis] = servers::store_settings();
    for (stores, metrics) in
        [(vec![database], [Some(600.0), None]), (vec![redis], [None, Some(600.0)]), (vec![], [None, None])]
    {
        let instance = Instance::start(&stores, 600).await;
        let readiness = instance.readiness().await;
        assert_eq!(readiness.is_ok(), stores.is_empty(), "{readiness:?}");
        assert_eq!(instance.metrics(), metrics);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_store_that_does_not_respond_keeps_its_last_offset() {
    let redis = servers::Redis::start();
    let instance = Instance::start(&[("STELE_REDIS_URL", redis.url())], 600).await;
    assert!(instance.readiness().await.is_err());
    redis.stop();
    instance.set_offset(0).await;
    assert!(instance.readiness().await.unwrap_err().contains("the state store does not respond"));
    assert_eq!(instance.metric("state"), Some(600.0));
    redis.restart();
    let started = std::time::Instant::now();
    while instance.readiness().await.is_err() {
        assert!(started.elapsed() < std::time::Duration::from_secs(10));
        instance.context.clock_check.check().await;
    }
    assert_eq!(instance.metric("state"), Some(0.0));
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn at_a_skew_of_0_an_offset_only_warns() {
    let mut stores = servers::store_settings().to_vec();
    stores.push(("STELE_TIMESTAMP_SKEW", "0".to_owned()));
    let instance = Instance::start(&stores, 86_400).await;
    assert_eq!(instance.readiness().await, Ok(()));
    assert_eq!(instance.context.clock_check.warnings().len(), 2);
}
