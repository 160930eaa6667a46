//! From settings to a running domain: keys, stores, delivery.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use stele_core::ports::{Delivery, KeyStore, StateStore};
use stele_core::random::{OsRandom, Random};
use stele_core::time::{Clock, SystemClock};
use stele_core::usecase::administration::{Administration, AdministrationDeps};
use stele_core::usecase::wrap_hashes::Wrapped;
use stele_core::{Deps, UseCases};
pub use stele_store::Target;
use stele_store::{Database, RedisState, SchemaState, SqliteState};

use crate::config::{ConfigError, Settings};
use crate::delivery::Plan;
use crate::drain::Drain;
use crate::hashing::Hashing;
use crate::keyring::{self, KeyRing};
use crate::keys;
use crate::metrics::{self, Metrics};
use crate::request::Recorder;
use crate::service::{Context, Service};
use crate::settings;
use crate::trail::{Budgets, Trail};
use crate::trust::Trust;

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

/// Makes what is missing: the data folder, keys, and the current schema; and erases the sealed digests if salted
/// dialects are off. What `stele up` and `stele migrate` do.
///
/// # Errors
/// One line: what cannot be made, and where.
pub async fn provision(settings: &Settings, services: &[Service], random: &dyn Random) -> Result<(), ConfigError> {
    keys::make_folder(&settings.data())?;
    let database = database(settings)?;
    database.migrate().await.map_err(|e| ConfigError::new(e.to_string()))?;
    let (store, folder) = (database.keys(), settings.keys());
    keys::make_folder(&folder)?;
    keyring::begin(store.as_ref(), &folder, random).await?;
    for service in services {
        provision_service(store.as_ref(), settings, service, random).await?;
    }
    if !settings::policy(settings)?.salted {
        let mut erased = 0;
        loop {
            match store.erase_seals(500).await.map_err(|e| ConfigError::new(e.to_string()))? {
                0 => break,
                some => erased += some,
            }
        }
        if erased > 0 {
            tracing::warn!(erased, "salted dialects are off (STELE_SALTED): sealed digests were erased");
        }
    }
    Ok(())
}

/// Makes what one service needs in the key folder, and puts its first signing key in service.
///
/// # Errors
/// One line: what cannot be made, and where.
pub async fn provision_service(
    store: &dyn KeyStore,
    settings: &Settings,
    service: &Service,
    random: &dyn Random,
) -> Result<(), ConfigError> {
    (service.provision)(&settings.keys(), settings)?;
    match (service.signing)(settings)? {
        Some(family) => keyring::begin_family(store, &settings.keys(), &family, random).await,
        None => Ok(()),
    }
}

/// The database that the settings name.
///
/// # Errors
/// One line: it cannot be opened or reached.
pub fn database(settings: &Settings) -> Result<Database, ConfigError> {
    Database::open(&target(settings)?).map_err(|e| ConfigError::new(e.to_string()))
}

/// Where the settings keep the users.
///
/// # Errors
/// One line: what is no database's URL.
pub fn target(settings: &Settings) -> Result<Target, ConfigError> {
    match settings.text("STELE_DATABASE_URL") {
        Some(url) => Target::parse(url).map_err(|e| ConfigError::new(format!("STELE_DATABASE_URL: {e}"))),
        None => Ok(Target::Sqlite(settings.data().join("users.db"))),
    }
}

/// Opens everything that a service works with.
///
/// # Errors
/// One line: the setting, key, file or server that is at fault, and the remedy.
pub async fn open(settings: Settings, surroundings: Surroundings) -> Result<Context, ConfigError> {
    let plan = Plan::read(&settings, &surroundings)?;
    let outbox = plan.is_outbox();
    let context = open_with(settings, surroundings, plan.open()?).await?;
    if outbox {
        // Only now: an error at the start is one line, with nothing before it.
        tracing::warn!("codes go to outbox.jsonl in the data folder: for development only (STELE_DELIVERY)");
    }
    Ok(context)
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
        let trust = Trust::from_settings(&settings)?;
        let database = current(&settings).await?;
        let ring = KeyRing::open(settings.keys(), database.keys(), Arc::clone(&surroundings.clock)).await?;
        let metrics = surroundings.metrics;
        let users = metrics::watched_users(database.users(), &metrics, users_system(&settings)?);
        let state = state(&settings, &surroundings.clock).await?;
        let state = metrics::watched_state(state, &metrics, state_system(&settings));
        let hasher = Hashing::read(&settings)?.hasher(surroundings.random.as_ref())?;
        metrics.hasher(hasher.clone());
        let (keep, budgets) = (settings::audit_keep(&settings)?, settings::audit_budgets(&settings)?);
        // Connections of its own: those of the users end with the threads that made them, and the trail is written when the
        // threads that serve requests have stopped. Nor does a login wait for a connection that it writes by.
        let own = self::database(&settings)?;
        let trail = Trail::new(own.trail(), Arc::clone(&surroundings.clock), keep, budgets, &metrics);
        let deps = Deps {
            users,
            state,
            delivery,
            events: Arc::new(Recorder { metrics: metrics.clone(), trail: trail.clone(), warned: AtomicI64::new(0) }),
            clock: surroundings.clock,
            random: surroundings.random,
            hasher,
            sealer: ring.sealer(),
            keys: ring.clone(),
            salted_logins: ring.salted_logins(),
            mac: ring.mac(),
            policy: Arc::new(policy),
        };
        Ok(Self { deps, settings, trust, keys: ring, trail, metrics })
    }

    /// What services and commands work with.
    pub fn finish(self) -> Context {
        let Self { deps, settings, trust, keys, trail, metrics } = self;
        Context { use_cases: UseCases::new(deps), settings, trust, keys, trail, metrics, drain: Drain::default() }
    }
}

/// What an administrator works with, on the database of the settings: it needs no key. The trail is to be flushed by
/// the caller.
///
/// # Errors
/// As [`current`].
pub async fn administration(settings: &Settings) -> Result<(Administration, Arc<Trail>), ConfigError> {
    let database = current(settings).await?;
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
/// One line that names the key and its file; or as [`database`].
pub async fn key_ring(settings: &Settings) -> Result<Arc<KeyRing>, ConfigError> {
    KeyRing::open(settings.keys(), database(settings)?.keys(), Arc::new(SystemClock)).await
}

/// The folders of the stores that are embedded.
pub(crate) fn embedded_folders(settings: &Settings) -> Vec<PathBuf> {
    let users = match target(settings) {
        Ok(Target::Sqlite(path)) => path.parent().map(Path::to_owned),
        _ => None,
    };
    let state = settings.text("STELE_REDIS_URL").is_none().then(|| settings.data());
    users.into_iter().chain(state).collect()
}

/// What OpenTelemetry calls the database of the users.
fn users_system(settings: &Settings) -> Result<&'static str, ConfigError> {
    Ok(match target(settings)? {
        Target::Postgres(_) => "postgresql",
        Target::Sqlite(_) => "sqlite",
    })
}

/// What it calls the database of the short-lived state.
fn state_system(settings: &Settings) -> &'static str {
    if settings.text("STELE_REDIS_URL").is_some() { "redis" } else { "sqlite" }
}

/// Whether an earlier build made the schema of the database that the settings name. Makes the data folder if it is missing.
///
/// # Errors
/// One line: the folder cannot be made, or the database cannot be reached.
pub async fn has_older_schema(settings: &Settings) -> Result<bool, ConfigError> {
    keys::make_folder(&settings.data())?;
    let schema = database(settings)?.schema().await.map_err(|e| ConfigError::new(e.to_string()))?;
    Ok(schema == SchemaState::Older)
}

/// The database that the settings name, if it has the schema that this program knows.
///
/// # Errors
/// One line: it cannot be reached, or what to do about its schema.
pub async fn current(settings: &Settings) -> Result<Database, ConfigError> {
    let target = target(settings)?;
    let database = database(settings)?;
    let remedy = match database.schema().await.map_err(|e| ConfigError::new(e.to_string()))? {
        SchemaState::Current => return Ok(database),
        SchemaState::Empty => "is empty; run `stele migrate` first",
        SchemaState::Older => "has an older schema; run `stele migrate` first",
        SchemaState::Newer => "has a newer schema than this program knows; run a newer one",
    };
    Err(ConfigError::new(format!("the database {target} {remedy}")))
}

async fn state(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Arc<dyn StateStore>, ConfigError> {
    if let Some(url) = settings.text("STELE_REDIS_URL") {
        let state = RedisState::open(url, Arc::clone(clock)).await;
        return Ok(state.map_err(|e| ConfigError::new(format!("STELE_REDIS_URL: {e}")))?);
    }
    let state = SqliteState::open(settings.data().join("state.db"), clock.as_ref());
    Ok(state.map_err(|e| ConfigError::new(e.to_string()))?)
}

/// Background tasks: writes the audit trail, forgets what has expired, and keeps up with the keys in service. Runs until
/// dropped.
pub async fn keep_up(use_cases: UseCases, trail: Arc<Trail>) {
    tokio::join!(use_cases.maintain(), trail.keep_up());
}

/// Wraps imported hashes that earlier builds stored as they came, one at a time: logins come first.
pub async fn wrap_earlier_hashes(context: Context) {
    let work = async {
        let verifiers = database(&context.settings).map_err(stele_core::Error::internal)?.verifiers();
        let pending = verifiers.count_earlier().await?;
        if pending == 0 {
            return Ok(None);
        }
        tracing::info!(pending, "wrapping imported hashes in argon2id");
        context.use_cases.wrap_hashes(verifiers.as_ref()).await.map(Some)
    };
    match work.await {
        Ok(None) => {}
        Ok(Some(Wrapped { rows, unreadable: 0 })) => tracing::info!(rows, "imported hashes are wrapped in argon2id"),
        Ok(Some(Wrapped { rows, unreadable })) => {
            tracing::warn!(rows, unreadable, "some imported hashes cannot be read; set these users' passwords");
        }
        Err(cause) => tracing::warn!(%cause, "imported hashes are not wrapped yet; run `stele migrate`"),
    }
}
