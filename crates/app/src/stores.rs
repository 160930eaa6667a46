//! The stores that the settings name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stele_core::ports::StateStore;
use stele_core::time::Clock;
use stele_keys::files;
use stele_service::setting::unset;
use stele_service::{ConfigError, Settings};
pub use stele_store::{Database, Target};
use stele_store::{RedisState, SchemaState, SqliteState};
use zeroize::Zeroizing;

stele_service::settings! {
    /// Where users and short-lived state are.
    pub const SETTINGS = "STELE_";
    /// users: `postgres://USER:PASSWORD@HOST/NAME`, `sslmode` and `sslrootcert` as in libpq
    pub DATABASE_URL: Option<Zeroizing<String>> = unset("SQLite: users.db in the data folder").takes("a URL").secret();
    /// short-lived state: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `redis+sentinel://HOST:PORT,…/MASTER[/DB]` or
    /// `redis+cluster://HOST:PORT,…`, with `rediss` for TLS; it must have `maxmemory-policy noeviction`
    pub REDIS_URL: Option<Zeroizing<String>> = unset("SQLite: state.db in the data folder").takes("a URL").secret();
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
    match settings.text(&DATABASE_URL) {
        Some(url) => Target::parse(url).map_err(|e| ConfigError::new(format!("STELE_DATABASE_URL: {e}"))),
        None => Ok(Target::Sqlite(settings.data().join("users.db"))),
    }
}

/// The folders of the stores that are embedded.
pub(crate) fn embedded_folders(settings: &Settings) -> Vec<PathBuf> {
    let users = match target(settings) {
        Ok(Target::Sqlite(path)) => path.parent().map(Path::to_owned),
        _ => None,
    };
    let state = settings.text(&REDIS_URL).is_none().then(|| settings.data());
    users.into_iter().chain(state).collect()
}

/// What OpenTelemetry calls the database of the users.
pub(crate) fn users_system(settings: &Settings) -> Result<&'static str, ConfigError> {
    Ok(match target(settings)? {
        Target::Postgres(_) => "postgresql",
        Target::Sqlite(_) => "sqlite",
    })
}

/// What it calls the database of the short-lived state.
pub(crate) fn state_system(settings: &Settings) -> &'static str {
    if settings.text(&REDIS_URL).is_some() { "redis" } else { "sqlite" }
}

/// Whether an earlier build made the schema of the database that the settings name. Makes the data folder if it is missing.
///
/// # Errors
/// One line: the folder cannot be made, or the database cannot be reached.
pub async fn has_older_schema(settings: &Settings) -> Result<bool, ConfigError> {
    files::make_folder(&settings.data())?;
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

/// The store of short-lived state.
pub(crate) async fn state(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Arc<dyn StateStore>, ConfigError> {
    if let Some(url) = settings.text(&REDIS_URL) {
        let state = RedisState::open(url, Arc::clone(clock)).await;
        return Ok(state.map_err(|e| ConfigError::new(format!("STELE_REDIS_URL: {e}")))?);
    }
    let state = SqliteState::open(settings.data().join("state.db"), clock.as_ref());
    Ok(state.map_err(|e| ConfigError::new(e.to_string()))?)
}
