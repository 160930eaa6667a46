//! From settings to a running domain: keys, stores, delivery.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use stele_core::Deps;
use stele_core::ports::{Delivery, KeyStore, StateStore};
use stele_core::random::{OsRandom, Random};
use stele_core::time::{Clock, SystemClock};
use stele_core::usecase::wrap_hashes::{Wrapped, Wrapping, wrap_hashes};
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
    Ok(Context { deps, settings, trust, keys: ring, trail, metrics, drain: Drain::default() })
}

/// The audit trail, for what is done without services: to be flushed by whoever does it.
pub fn trail_of(database: &Database) -> Arc<Trail> {
    Trail::new(database.trail(), Arc::new(SystemClock), None, Budgets::default(), &Metrics::default())
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

/// Waits until the second in which the short-lived store was born is over. Proofs dated in that second are stale, and
/// the first client to come must not be told so for nothing. Takes a second at most, on the very first start.
///
/// # Errors
/// If the store cannot say when it was born.
pub async fn outlive_birth(deps: &Deps) -> Result<(), ConfigError> {
    let birth = deps.state.birth().await.map_err(|e| ConfigError::new(e.to_string()))?;
    let over = stele_core::time::Timestamp::from_secs(birth.as_secs() + 1);
    let left = over.since(deps.now()).min(Duration::from_secs(1));
    tokio::time::sleep(left).await;
    Ok(())
}

/// Does what nobody asks for, for as long as it is polled: writes the audit trail, forgets what has expired, and keeps
/// up with the keys in service.
pub async fn keep_up(deps: Deps, trail: Arc<Trail>) {
    let keys = deps.keys.clone();
    tokio::join!(forget(deps), keys.keep_up(), trail.keep_up());
}

async fn forget(deps: Deps) {
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    // Where a skew is set there are none but those from before: looked for until none is found.
    let mut proofs = true;
    loop {
        minutes.tick().await;
        if let Err(cause) = deps.state.sweep(deps.now()).await {
            tracing::warn!(%cause, "what has expired could not be swept");
        }
        if proofs {
            let forgotten = forget_proofs(&deps).await;
            proofs = deps.policy.skew.is_none() || forgotten.is_err();
            if let Err(cause) = forgotten {
                tracing::warn!(%cause, "used proofs that have expired could not be forgotten");
            }
        }
    }
}

/// In batches, so that logins get in between.
async fn forget_proofs(deps: &Deps) -> stele_core::Result<()> {
    const BATCH: u32 = 1_000;
    while deps.users.forget_proofs(deps.now(), BATCH).await? >= BATCH.into() {}
    Ok(())
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
        let Deps { hasher, random, clock, .. } = &context.deps;
        let (verifiers, random, clock) = (verifiers.as_ref(), random.as_ref(), clock.as_ref());
        let work = Wrapping { verifiers, hasher, random, clock, at_once: 1 };
        wrap_hashes(&work, &mut |_| ()).await.map(Some)
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
