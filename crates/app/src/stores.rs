//! The stores that the settings name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stele_core::ports::StateStore;
use stele_core::time::Clock;
use stele_keys::files;
use stele_service::setting::optional;
use stele_service::{ConfigError, Settings};
pub use stele_store::{Database, DatabaseUrl};
use stele_store::{RedisStateStore, SchemaState, SqliteStateStore};
use zeroize::Zeroizing;

stele_service::settings! {
    /// Where users and short-lived state are.
    pub const SETTINGS = "STELE_";
    /// users: `postgres://USER:PASSWORD@HOST/NAME`, `sslmode` and `sslrootcert` as in libpq
    pub DATABASE_URL: Option<Zeroizing<String>> = optional("SQLite: users.db in the data folder").value_format("a URL").secret();
    /// short-lived state: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `redis+sentinel://HOST:PORT,…/MASTER[/DB]` or
    /// `redis+cluster://HOST:PORT,…`, with `rediss` for TLS; it must have `maxmemory-policy noeviction`
    pub REDIS_URL: Option<Zeroizing<String>> = optional("SQLite: state.db in the data folder").value_format("a URL").secret();
}

/// The database that the settings name.
///
/// # Errors
/// One line: it cannot be opened or reached.
pub fn open_database(settings: &Settings) -> Result<Database, ConfigError> {
    Database::open(&database_url(settings)?).map_err(|e| ConfigError::new(e.to_string()))
}

/// Where the settings keep the users.
///
/// # Errors
/// One line: what is no database's URL.
pub fn database_url(settings: &Settings) -> Result<DatabaseUrl, ConfigError> {
    match settings.raw_value(&DATABASE_URL) {
        Some(url) => DatabaseUrl::parse(url).map_err(|e| ConfigError::new(format!("STELE_DATABASE_URL: {e}"))),
        None => Ok(DatabaseUrl::Sqlite(settings.data_dir().join("users.db"))),
    }
}

/// The folders of the stores that are embedded.
pub(crate) fn embedded_folders(settings: &Settings) -> Vec<PathBuf> {
    let users = match database_url(settings) {
        Ok(DatabaseUrl::Sqlite(path)) => path.parent().map(Path::to_owned),
        _ => None,
    };
    let state = settings.raw_value(&REDIS_URL).is_none().then(|| settings.data_dir());
    users.into_iter().chain(state).collect()
}

/// What OpenTelemetry calls the database of the users.
pub(crate) fn users_db_system(settings: &Settings) -> Result<&'static str, ConfigError> {
    Ok(match database_url(settings)? {
        DatabaseUrl::Postgres(_) => "postgresql",
        DatabaseUrl::Sqlite(_) => "sqlite",
    })
}

/// What it calls the database of the short-lived state.
pub(crate) fn state_db_system(settings: &Settings) -> &'static str {
    if settings.raw_value(&REDIS_URL).is_some() { "redis" } else { "sqlite" }
}

/// Whether an earlier build made the schema of the database that the settings name. Makes the data folder if it is missing.
///
/// # Errors
/// One line: the folder cannot be made, or the database cannot be reached.
pub async fn has_older_schema(settings: &Settings) -> Result<bool, ConfigError> {
    files::create_private_folder(&settings.data_dir())?;
    let schema = open_database(settings)?.schema_state().await.map_err(|e| ConfigError::new(e.to_string()))?;
    Ok(schema == SchemaState::Older)
}

/// The database that the settings name, if it has the schema that this program knows.
///
/// # Errors
/// One line: it cannot be reached, or what to do about its schema.
pub async fn open_current_database(settings: &Settings) -> Result<Database, ConfigError> {
    let target = database_url(settings)?;
    let database = open_database(settings)?;
    let remedy = match database.schema_state().await.map_err(|e| ConfigError::new(e.to_string()))? {
        SchemaState::Current => return Ok(database),
        SchemaState::Empty => "is empty; run `stele migrate` first",
        SchemaState::Older => "has an older schema; run `stele migrate` first",
        SchemaState::Newer => "has a newer schema than this program knows; run a newer one",
    };
    Err(ConfigError::new(format!("the database {target} {remedy}")))
}

/// The store of short-lived state.
pub(crate) async fn open_state_store(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn StateStore>, ConfigError> {
    if let Some(url) = settings.raw_value(&REDIS_URL) {
        let state = RedisStateStore::open(url, Arc::clone(clock)).await;
        return Ok(state.map_err(|e| ConfigError::new(format!("STELE_REDIS_URL: {e}")))?);
    }
    let state = SqliteStateStore::open(settings.data_dir().join("state.db"), clock.as_ref());
    Ok(state.map_err(|e| ConfigError::new(e.to_string()))?)
}
