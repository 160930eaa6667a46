//! From settings to a running domain: keys, stores, delivery.

use std::sync::Arc;

use stele_core::ports::Delivery;
use stele_core::random::{OsRandom, Random};
use stele_core::time::{Clock, SystemClock};
use stele_core::usecase::administration::{Administration, AdministrationDependencies};
use stele_core::{Dependencies, UseCases};
use stele_delivery::DeliveryConfig;
use stele_keys::KeyRing;
use stele_service::metrics::Metrics;
use stele_service::trusted_proxies::{TRUSTED_PROXIES, TrustedProxies};
use stele_service::{ConfigError, Drain, Settings};

use crate::audit_log::{AuditLogWriter, AuditRateLimits};
use crate::event_recorder::EventRecorder;
use crate::metrics::{DomainMetrics, StoreMetrics};
use crate::password_hashing::HashingConfig;
use crate::{audit_log, settings, stores};

/// Time and chance, the machine's or a test's; and what is counted.
#[derive(Clone)]
pub struct Environment {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// The metrics of this process.
    pub metrics: Metrics,
}

impl Default for Environment {
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
    pub trusted_proxies: TrustedProxies,
    /// The keys in service.
    pub keys: Arc<KeyRing>,
    /// The audit trail.
    pub audit_log: Arc<AuditLogWriter>,
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
pub async fn open(settings: Settings, environment: Environment) -> Result<Context, ConfigError> {
    let plan = delivery_config(&settings, &environment)?;
    let (outbox, delivery) = (plan.is_outbox(), plan.open(&environment.metrics)?);
    let context = open_with_delivery(settings, environment, delivery).await?;
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
pub fn delivery_config(settings: &Settings, environment: &Environment) -> Result<DeliveryConfig, ConfigError> {
    DeliveryConfig::from_settings(
        settings,
        settings::policy(settings)?.code_ttl,
        &environment.clock,
        &environment.random,
    )
}

/// Opens everything but a delivery channel, which is given.
///
/// # Errors
/// As [`open`].
pub async fn open_with_delivery(
    settings: Settings,
    environment: Environment,
    delivery: Arc<dyn Delivery>,
) -> Result<Context, ConfigError> {
    Ok(ContextBuilder::open(settings, environment, delivery).await?.build())
}

/// Everything that a process works with, before it is closed over: where a test may still put something else in.
pub struct ContextBuilder {
    /// What the use cases are made of.
    pub dependencies: Dependencies,
    settings: Settings,
    trusted_proxies: TrustedProxies,
    keys: Arc<KeyRing>,
    audit_log: Arc<AuditLogWriter>,
    metrics: Metrics,
    domain_metrics: DomainMetrics,
}

impl ContextBuilder {
    /// Opens everything but a delivery channel, which is given.
    ///
    /// # Errors
    /// As [`open`].
    pub async fn open(
        settings: Settings,
        environment: Environment,
        delivery: Arc<dyn Delivery>,
    ) -> Result<Self, ConfigError> {
        let policy = settings::policy(&settings)?;
        let trust = settings.get(&TRUSTED_PROXIES)?;
        let database = stores::open_current_database(&settings).await?;
        let ring = KeyRing::open(settings.keys_dir(), database.keys(), Arc::clone(&environment.clock)).await?;
        let metrics = environment.metrics;
        let store_metrics = StoreMetrics::register(&metrics);
        let users = store_metrics.instrument_users(database.users(), stores::users_db_system(&settings)?);
        let state = stores::open_state_store(&settings, &environment.clock).await?;
        let state = store_metrics.instrument_state(state, stores::state_db_system(&settings));
        let hasher = HashingConfig::from_settings(&settings)?.build_hasher(environment.random.as_ref())?;
        let domain_metrics = DomainMetrics::register(&metrics, hasher.clone());
        let (keep, budgets) = audit_log::audit_settings(&settings)?;
        // Connections of its own: those of the users end with the threads that made them, and the trail is written when the
        // threads that serve requests have stopped. Nor does a login wait for a connection that it writes by.
        let own = stores::open_database(&settings)?;
        let trail = AuditLogWriter::new(own.audit_log(), Arc::clone(&environment.clock), keep, budgets, &metrics);
        let deps = Dependencies {
            users,
            state,
            delivery,
            events: Arc::new(EventRecorder::new(domain_metrics.clone(), trail.clone())),
            clock: environment.clock,
            random: environment.random,
            hasher,
            sealer: ring.sealer(),
            keys: ring.clone(),
            salted_logins: ring.salted_logins(),
            mac: ring.mac(),
            policy: Arc::new(policy),
        };
        Ok(Self {
            dependencies: deps,
            settings,
            trusted_proxies: trust,
            keys: ring,
            audit_log: trail,
            metrics,
            domain_metrics,
        })
    }

    /// What services and commands work with.
    pub fn build(self) -> Context {
        let Self {
            dependencies: deps,
            settings,
            trusted_proxies: trust,
            keys,
            audit_log: trail,
            metrics,
            domain_metrics,
        } = self;
        let (use_cases, drain) = (UseCases::new(deps), Drain::default());
        Context { use_cases, settings, trusted_proxies: trust, keys, audit_log: trail, drain, metrics, domain_metrics }
    }
}

/// What an administrator works with, on the database of the settings: it needs no key. The trail is to be flushed by
/// the caller.
///
/// # Errors
/// As [`crate::stores::open_current_database`].
pub async fn administration(settings: &Settings) -> Result<(Administration, Arc<AuditLogWriter>), ConfigError> {
    let database = stores::open_current_database(settings).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let trail = AuditLogWriter::new(
        database.audit_log(),
        Arc::clone(&clock),
        None,
        AuditRateLimits::default(),
        &Metrics::default(),
    );
    let deps = AdministrationDependencies {
        users: database.users(),
        keys: database.keys(),
        verifiers: database.verifiers(),
        audit_log: database.audit_log(),
        events: trail.clone(),
        clock,
        random: Arc::new(OsRandom),
    };
    Ok((Administration::new(deps), trail))
}

/// The keys in service, as a service of these settings has them.
///
/// # Errors
/// One line that names the key and its file; or as [`crate::stores::open_database`].
pub async fn key_ring(settings: &Settings) -> Result<Arc<KeyRing>, ConfigError> {
    KeyRing::open(settings.keys_dir(), stores::open_database(settings)?.keys(), Arc::new(SystemClock)).await
}
