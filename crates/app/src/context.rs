//! From settings to a running domain: keys, stores, delivery.

use std::sync::Arc;

use stele_core::ports::Delivery;
use stele_core::random::{OsRandom, Random};
use stele_core::time::{Clock, SystemClock};
use stele_core::usecase::administration::{Administration, AdministrationDeps};
use stele_core::{Deps, UseCases};
use stele_delivery::Plan;
use stele_keys::KeyRing;
use stele_service::metrics::Metrics;
use stele_service::trust::{TRUSTED_PROXIES, Trust};
use stele_service::{ConfigError, Drain, Settings};

use crate::hashing::Hashing;
use crate::metrics::{DomainMetrics, StoreMetrics};
use crate::recorder::Recorder;
use crate::trail::{Budgets, Trail};
use crate::{settings, stores, trail};

/// Time and chance, the machine's or a test's; and what is counted.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// The metrics of this process.
    pub metrics: Metrics,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), random: Arc::new(OsRandom), metrics: Metrics::default() }
    }
}

/// What a service is started with.
#[derive(Clone)]
pub struct Context {
    /// The domain.
    pub use_cases: UseCases,
    /// The settings.
    pub settings: Settings,
    /// Whose word about the client's address is taken.
    pub trust: Trust,
    /// The keys in service.
    pub keys: Arc<KeyRing>,
    /// The audit trail.
    pub trail: Arc<Trail>,
    /// Whether the program is going to stop.
    pub drain: Drain,
    /// The metrics of this process.
    pub metrics: Metrics,
    /// What is counted of the domain.
    pub domain_metrics: DomainMetrics,
}

/// Opens everything that a service works with.
///
/// # Errors
/// One line: the setting, key, file or server that is at fault, and the remedy.
pub async fn open(settings: Settings, surroundings: Surroundings) -> Result<Context, ConfigError> {
    let plan = plan(&settings, &surroundings)?;
    let (outbox, delivery) = (plan.is_outbox(), plan.open(&surroundings.metrics)?);
    let context = open_with(settings, surroundings, delivery).await?;
    if outbox {
        // Only now: an error at the start is one line, with nothing before it.
        tracing::warn!("codes go to outbox.jsonl in the data folder: for development only (STELE_DELIVERY)");
    }
    Ok(context)
}

/// What `STELE_DELIVERY` asks for.
///
/// # Errors
/// One line: what cannot be used, without the URL, which may hold a password.
pub fn plan(settings: &Settings, surroundings: &Surroundings) -> Result<Plan, ConfigError> {
    Plan::read(settings, settings::policy(settings)?.code_ttl, &surroundings.clock, &surroundings.random)
}

/// Opens everything but a delivery channel, which is given.
///
/// # Errors
/// As [`open`].
pub async fn open_with(
    settings: Settings,
    surroundings: Surroundings,
    delivery: Arc<dyn Delivery>,
) -> Result<Context, ConfigError> {
    Ok(Assembly::open(settings, surroundings, delivery).await?.finish())
}

/// Everything that a process works with, before it is closed over: where a test may still put something else in.
pub struct Assembly {
    /// What the use cases are made of.
    pub deps: Deps,
    settings: Settings,
    trust: Trust,
    keys: Arc<KeyRing>,
    trail: Arc<Trail>,
    metrics: Metrics,
    domain_metrics: DomainMetrics,
}

impl Assembly {
    /// Opens everything but a delivery channel, which is given.
    ///
    /// # Errors
    /// As [`open`].
    pub async fn open(
        settings: Settings,
        surroundings: Surroundings,
        delivery: Arc<dyn Delivery>,
    ) -> Result<Self, ConfigError> {
        let policy = settings::policy(&settings)?;
        let trust = settings.get(&TRUSTED_PROXIES)?;
        let database = stores::current(&settings).await?;
        let ring = KeyRing::open(settings.keys(), database.keys(), Arc::clone(&surroundings.clock)).await?;
        let metrics = surroundings.metrics;
        let watch = StoreMetrics::register(&metrics);
        let users = watch.users(database.users(), stores::users_system(&settings)?);
        let state = stores::state(&settings, &surroundings.clock).await?;
        let state = watch.state(state, stores::state_system(&settings));
        let hasher = Hashing::read(&settings)?.hasher(surroundings.random.as_ref())?;
        let domain_metrics = DomainMetrics::register(&metrics, hasher.clone());
        let (keep, budgets) = trail::retention(&settings)?;
        // Connections of its own: those of the users end with the threads that made them, and the trail is written when the
        // threads that serve requests have stopped. Nor does a login wait for a connection that it writes by.
        let own = stores::database(&settings)?;
        let trail = Trail::new(own.trail(), Arc::clone(&surroundings.clock), keep, budgets, &metrics);
        let deps = Deps {
            users,
            state,
            delivery,
            events: Arc::new(Recorder::new(domain_metrics.clone(), trail.clone())),
            clock: surroundings.clock,
            random: surroundings.random,
            hasher,
            sealer: ring.sealer(),
            keys: ring.clone(),
            salted_logins: ring.salted_logins(),
            mac: ring.mac(),
            policy: Arc::new(policy),
        };
        Ok(Self { deps, settings, trust, keys: ring, trail, metrics, domain_metrics })
    }

    /// What services and commands work with.
    pub fn finish(self) -> Context {
        let Self { deps, settings, trust, keys, trail, metrics, domain_metrics } = self;
        let (use_cases, drain) = (UseCases::new(deps), Drain::default());
        Context { use_cases, settings, trust, keys, trail, drain, metrics, domain_metrics }
    }
}

/// What an administrator works with, on the database of the settings: it needs no key. The trail is to be flushed by
/// the caller.
///
/// # Errors
/// As [`stores::current`].
pub async fn administration(settings: &Settings) -> Result<(Administration, Arc<Trail>), ConfigError> {
    let database = stores::current(settings).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let trail = Trail::new(database.trail(), Arc::clone(&clock), None, Budgets::default(), &Metrics::default());
    let deps = AdministrationDeps {
        users: database.users(),
        keys: database.keys(),
        verifiers: database.verifiers(),
        trail: database.trail(),
        events: trail.clone(),
        clock,
        random: Arc::new(OsRandom),
    };
    Ok((Administration::new(deps), trail))
}

/// The keys in service, as a service of these settings has them.
///
/// # Errors
/// One line that names the key and its file; or as [`stores::database`].
pub async fn key_ring(settings: &Settings) -> Result<Arc<KeyRing>, ConfigError> {
    KeyRing::open(settings.keys(), stores::database(settings)?.keys(), Arc::new(SystemClock)).await
}
