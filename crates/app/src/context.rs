//! Composition root: opens keys, stores and delivery by the settings, and builds the use cases on them.

use std::path::Path;
use std::sync::Arc;

use stele_core::hasher::Hasher;
use stele_core::oauth::OAuthRegistryCache;
use stele_core::ports::{Delivery, ImportStore, VerifierStore};
use stele_core::random::{OsRandom, Random};
use stele_core::time::{Clock, SystemClock};
use stele_core::usecase::administration::{Administration, AdministrationDependencies};
use stele_core::usecase::import::{ImportDependencies, Imports};
use stele_core::usecase::import_check::CheckStore;
use stele_core::{Dependencies, UseCases};
use stele_delivery::DeliveryConfig;
use stele_keys::KeyRing;
use stele_old_login::OldServersConfig;
use stele_service::metrics::Metrics;
use stele_service::trusted_proxies::{TRUSTED_PROXIES, TrustedProxies};
use stele_service::{ConfigError, Drain, Settings};

use crate::audit_log::{AuditLogConfig, AuditLogWriter};
use crate::clock_check::ClockCheck;
use crate::closures::ClosureMonitor;
use crate::event_recorder::EventRecorder;
use crate::metrics::{DomainMetrics, StoreMetrics};
use crate::password_hashing::HashingConfig;
use crate::stores::SchemaState;
use crate::use_retention::{USE_KEEP, UseRetention};
use crate::{PublicEndpoint, settings, stores};

/// Clock, randomness and metrics: the system's, or a test's.
#[derive(Clone)]
pub struct Environment {
    /// Source of the time.
    pub clock: Arc<dyn Clock>,
    /// Source of random bytes.
    pub random: Arc<dyn Random>,
    /// The metrics of this process.
    pub metrics: Metrics,
}

impl Default for Environment {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), random: Arc::new(OsRandom), metrics: Metrics::default() }
    }
}

/// Everything that a service needs to start.
#[derive(Clone)]
pub struct Context {
    /// The use cases, the only way to the stores.
    pub use_cases: UseCases,
    /// The settings.
    pub settings: Settings,
    /// Where clients reach this process if `STELE_PUBLIC_URL` is not set; `None` in processes that do not listen.
    pub public_endpoint: Option<PublicEndpoint>,
    /// The schema of the user store's database at the start.
    pub schema_state: SchemaState,
    /// The proxies whose `X-Forwarded-*` header fields are trusted.
    pub trusted_proxies: TrustedProxies,
    /// The registered keys.
    pub keys: Arc<KeyRing>,
    /// The store of imported hashes that are not yet wrapped in argon2id.
    pub verifiers: Arc<dyn VerifierStore>,
    /// Imports of users, for the background hashing of their passwords.
    pub imports: Imports,
    /// Writes the audit log.
    pub audit_log: Arc<AuditLogWriter>,
    /// The closures of dialects.
    pub closures: Arc<ClosureMonitor>,
    /// Deletes old use of dialects.
    pub use_retention: Arc<UseRetention>,
    /// Compares this machine's clock with the clocks of the stores' servers.
    pub clock_check: Arc<ClockCheck>,
    /// Whether the program is draining (graceful shutdown).
    pub drain: Drain,
    /// Password hashing.
    pub hasher: Hasher,
    /// The metrics of this process.
    pub metrics: Metrics,
    /// Counters of logins, events, sessions and rate limits.
    pub domain_metrics: DomainMetrics,
}

/// Opens stores, keys and delivery, and builds the use cases.
///
/// # Errors
/// One line: the setting, key, file or server at fault, and the remedy.
pub async fn open(settings: Settings, environment: Environment) -> Result<Context, ConfigError> {
    let config = delivery_config(&settings, &environment)?;
    let (is_outbox, delivery) = (config.is_outbox(), config.open(&environment.metrics)?);
    let context = open_with_delivery(settings, environment, delivery).await?;
    if is_outbox {
        // Logged last: a failed start prints nothing but its error.
        tracing::warn!("codes go to outbox.jsonl in the data folder: for development only (STELE_DELIVERY)");
    }
    Ok(context)
}

/// The delivery configuration, from `STELE_DELIVERY` and related settings.
///
/// # Errors
/// One line: the invalid setting, without the URL, which may hold a password.
pub fn delivery_config(settings: &Settings, environment: &Environment) -> Result<DeliveryConfig, ConfigError> {
    DeliveryConfig::from_settings(
        settings,
        settings::build_policy(settings)?.code_ttl,
        &environment.clock,
        &environment.random,
    )
}

/// What is asked at which old server, one line each.
///
/// # Errors
/// One line: the invalid or missing setting.
pub fn describe_old_servers(settings: &Settings) -> Result<Vec<String>, ConfigError> {
    Ok(OldServersConfig::from_settings(settings)?.describe())
}

/// As [`open`], with this delivery.
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

/// A [`Context`] before it is built, so that tests can replace dependencies.
pub struct ContextBuilder {
    /// The dependencies of the use cases.
    pub dependencies: Dependencies,
    /// Adds everything else to the use cases.
    complete: Box<dyn FnOnce(UseCases) -> Context + Send>,
}

impl Context {
    /// Logs that the schema is newer than this version, if it is. Called once, when a program starts to serve.
    pub fn log_newer_schema(&self) {
        if self.schema_state == SchemaState::NewerCompatible {
            tracing::info!("the user store has a newer schema, which this version can use as well");
        }
    }
}

impl ContextBuilder {
    /// Opens stores and keys by the settings.
    ///
    /// # Errors
    /// As [`open`].
    pub async fn open(
        settings: Settings,
        environment: Environment,
        delivery: Arc<dyn Delivery>,
    ) -> Result<Self, ConfigError> {
        let policy = settings::build_policy(&settings)?;
        let old_servers_config = OldServersConfig::from_settings(&settings)?;
        let trusted_proxies = settings.get(&TRUSTED_PROXIES)?;
        let (database, schema_state) = stores::open_usable_database(&settings).await?;
        let keys = KeyRing::open(settings.keys_dir(), database.keys(), Arc::clone(&environment.clock)).await?;
        let metrics = environment.metrics;
        let store_metrics = StoreMetrics::register(&metrics);
        let users = store_metrics.instrument_users(database.users(), stores::users_db_system(&settings)?);
        let state = stores::open_state_store(&settings, &environment.clock).await?;
        let state = store_metrics.instrument_state(state, stores::state_db_system(&settings));
        let hasher = HashingConfig::from_settings(&settings)?.build_hasher(environment.random.as_ref())?;
        let domain_metrics = DomainMetrics::register(&metrics, hasher.clone());
        let old_servers = old_servers_config.open(&metrics)?;
        let audit_log_config = AuditLogConfig::from_settings(&settings)?;
        let verifiers = database.verifiers();
        let imports = Imports::new(ImportDependencies {
            store: database.imports(),
            password_list: database.password_list(),
            sealer: keys.sealer(),
            mac: keys.mac(),
            random: Arc::clone(&environment.random),
            clock: Arc::clone(&environment.clock),
        });
        let clock = Arc::clone(&environment.clock);
        let closures = ClosureMonitor::open(database.closures(), Arc::clone(&clock), &metrics).await?;
        let retention = settings.get(&USE_KEEP)?;
        let use_retention = Arc::new(UseRetention { store: database.dialect_use(), clock, retention });
        let audit_log =
            AuditLogWriter::new(database.audit_log(), Arc::clone(&environment.clock), audit_log_config, &metrics);
        let dependencies = Dependencies {
            users,
            state,
            delivery,
            old_servers,
            legacy_users: database.legacy_users(),
            oauth_registry: Arc::new(OAuthRegistryCache::new(
                database.oauth_registry(),
                Arc::clone(&environment.clock),
            )),
            events: Arc::new(EventRecorder::new(domain_metrics.clone(), audit_log.clone())),
            clock: environment.clock,
            random: environment.random,
            hasher: hasher.clone(),
            sealer: keys.sealer(),
            keys: keys.clone(),
            salted_logins: keys.salted_logins(),
            mac: keys.mac(),
            policy: Arc::new(policy),
        };
        let complete = move |use_cases: UseCases| Context {
            clock_check: Arc::new(ClockCheck::new(use_cases.clone(), &metrics)),
            use_cases,
            settings,
            public_endpoint: None,
            schema_state,
            trusted_proxies,
            keys,
            verifiers,
            imports,
            audit_log,
            closures,
            use_retention,
            drain: Drain::default(),
            hasher,
            metrics,
            domain_metrics,
        };
        Ok(Self { dependencies, complete: Box::new(complete) })
    }

    /// Builds the use cases.
    pub fn build(self) -> Context {
        (self.complete)(UseCases::new(self.dependencies))
    }
}

/// Opens the administrative operations on the user store that the settings name. The operations need no key. The caller
/// must flush the returned audit log.
///
/// # Errors
/// As [`crate::stores::open_usable_database`].
pub async fn open_administration(settings: &Settings) -> Result<(Administration, Arc<AuditLogWriter>), ConfigError> {
    let (database, _) = stores::open_usable_database(settings).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = AuditLogConfig::default();
    let audit_log = AuditLogWriter::new(database.audit_log(), Arc::clone(&clock), config, &Metrics::default());
    let dependencies = AdministrationDependencies {
        users: database.users(),
        keys: database.keys(),
        verifiers: database.verifiers(),
        password_list: database.password_list(),
        oauth_registry: database.oauth_registry(),
        audit_log: database.audit_log(),
        dialect_use: database.dialect_use(),
        closures: database.closures(),
        events: audit_log.clone(),
        clock,
        random: Arc::new(OsRandom),
    };
    Ok((Administration::new(dependencies), audit_log))
}

/// The least connections to PostgreSQL of an import: the lock on the source has one of its own.
const IMPORT_CONNECTIONS: usize = stores::Database::MIN_CONNECTIONS + 1;

/// Opens the imports on the user store that the settings name, with the registered keys.
///
/// # Errors
/// As [`crate::stores::open_usable_database`] and [`open_key_ring`].
pub async fn open_imports(settings: &Settings) -> Result<Imports, ConfigError> {
    let database = stores::open_usable_database_with(settings, IMPORT_CONNECTIONS).await?;
    imports_on(settings, &database, database.imports()).await
}

/// Opens imports that read the user store that the settings name, and write only to a scratch database in `folder`,
/// which is empty.
///
/// # Errors
/// As [`open_imports`], and if the scratch database cannot be created.
pub async fn open_import_check(settings: &Settings, folder: &Path) -> Result<Imports, ConfigError> {
    let (database, _) = stores::open_usable_database(settings).await?;
    let real = database.imports();
    let to_config_error = |error: stele_store::OpenError| {
        let remedy = "free space in the data folder, and give this user write permission there";
        ConfigError::new(format!("cannot create the scratch database of a check: {error}; {remedy}"))
    };
    let scratch =
        stores::Database::open(&stores::DatabaseUrl::sqlite(folder.join("check.db"))).map_err(to_config_error)?;
    scratch.migrate().await.map_err(to_config_error)?;
    imports_on(settings, &database, Arc::new(CheckStore::new(real, scratch.imports()))).await
}

async fn imports_on(
    settings: &Settings,
    database: &stores::Database,
    store: Arc<dyn ImportStore>,
) -> Result<Imports, ConfigError> {
    let keys = open_key_ring(settings).await?;
    let (password_list, sealer, mac) = (database.password_list(), keys.sealer(), keys.mac());
    let (random, clock) = (Arc::new(OsRandom), Arc::new(SystemClock));
    Ok(Imports::new(ImportDependencies { store, password_list, sealer, mac, random, clock }))
}

/// Opens the registered keys of a process with these settings.
///
/// # Errors
/// One line that names the key and its file; or as [`crate::stores::open_database`].
pub async fn open_key_ring(settings: &Settings) -> Result<Arc<KeyRing>, ConfigError> {
    KeyRing::open(settings.keys_dir(), stores::open_database(settings)?.keys(), Arc::new(SystemClock)).await
}
