//! Opens the user store and the state store that the settings name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stele_core::ports::StateStore;
use stele_core::time::Clock;
use stele_keys::files;
use stele_service::setting::{optional, with_derived_default};
use stele_service::{ConfigError, Settings};
pub use stele_store::{Database, DatabaseUrl, SchemaState};
use stele_store::{RedisStateStore, SqliteStateStore};
use zeroize::Zeroizing;

stele_service::settings! {
    /// The stores.
    pub const SETTINGS = "STELE_";
    /// user store: `postgres://USER:PASSWORD@HOST[,HOST…]/NAME`, `sslmode` and `sslrootcert` as in libpq
    pub DATABASE_URL: Option<Zeroizing<String>> =
        optional("SQLite: users.db in the data folder").value_format("a URL").secret();
    /// the most PostgreSQL connections of one service instance at each server, for everything: one writes the audit log,
    /// a third of the rest is shared by reads, the others are a pool
    DATABASE_CONNECTIONS: usize =
        with_derived_default(|| Database::DEFAULT_CONNECTIONS).range(Database::MIN_CONNECTIONS as u64, 1_000);
    /// state store: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `redis+sentinel://HOST:PORT,…/MASTER[/DB]` or
    /// `redis+cluster://HOST:PORT,…`, with `rediss` for TLS; the server needs `maxmemory-policy noeviction`
    pub REDIS_URL: Option<Zeroizing<String>> =
        optional("SQLite: state.db in the data folder").value_format("a URL").secret();
}

/// Opens the user store's database, whatever its schema.
///
/// # Errors
/// One line: the database cannot be opened or reached.
pub fn open_database(settings: &Settings) -> Result<Database, ConfigError> {
    open_database_with(settings, Database::MIN_CONNECTIONS)
}

/// As [`open_database`], with `min_connections` or more connections to PostgreSQL.
fn open_database_with(settings: &Settings, min_connections: usize) -> Result<Database, ConfigError> {
    let max_connections = settings.get(&DATABASE_CONNECTIONS)?.max(min_connections);
    Database::open_with_limit(&database_url(settings)?, max_connections).map_err(|e| ConfigError::new(e.to_string()))
}

/// The URL of the user store's database: `STELE_DATABASE_URL`, or SQLite in the data folder.
///
/// # Errors
/// One line: the URL is invalid.
pub fn database_url(settings: &Settings) -> Result<DatabaseUrl, ConfigError> {
    match settings.raw_value(&DATABASE_URL) {
        Some(url) => DatabaseUrl::parse(url).map_err(|e| ConfigError::new(format!("STELE_DATABASE_URL: {e}"))),
        None => Ok(DatabaseUrl::Sqlite(settings.data_dir().join("users.db"))),
    }
}

/// The folders of embedded (SQLite) stores. Omits the user store's folder if `STELE_DATABASE_URL` is invalid.
pub(crate) fn embedded_folders(settings: &Settings) -> Vec<PathBuf> {
    let users = match database_url(settings) {
        Ok(DatabaseUrl::Sqlite(path)) => path.parent().map(Path::to_owned),
        _ => None,
    };
    let state = settings.raw_value(&REDIS_URL).is_none().then(|| settings.data_dir());
    users.into_iter().chain(state).collect()
}

/// OpenTelemetry's name of the user store's database.
pub(crate) fn users_db_system(settings: &Settings) -> Result<&'static str, ConfigError> {
    Ok(match database_url(settings)? {
        DatabaseUrl::Postgres(_) => "postgresql",
        DatabaseUrl::Sqlite(_) => "sqlite",
    })
}

/// OpenTelemetry's name of the state store's database.
pub(crate) fn state_db_system(settings: &Settings) -> &'static str {
    if settings.raw_value(&REDIS_URL).is_some() { "redis" } else { "sqlite" }
}

/// The schema of the user store's database compared with this program's. Creates the data folder if missing.
///
/// # Errors
/// One line: the folder cannot be created, or the database cannot be reached.
pub async fn schema_state(settings: &Settings) -> Result<SchemaState, ConfigError> {
    files::create_private_folder(&settings.data_dir())?;
    open_database(settings)?.schema_state().await.map_err(|e| ConfigError::new(e.to_string()))
}

/// Opens the user store's database if this program can use its schema.
///
/// # Errors
/// One line: the database cannot be reached, or this program cannot use its schema, with the remedy.
pub async fn open_usable_database(settings: &Settings) -> Result<(Database, SchemaState), ConfigError> {
    let database = open_database(settings)?;
    let schema_state = check_usable(settings, &database).await?;
    Ok((database, schema_state))
}

/// As [`open_usable_database`], with `min_connections` or more connections to PostgreSQL.
pub(crate) async fn open_usable_database_with(
    settings: &Settings,
    min_connections: usize,
) -> Result<Database, ConfigError> {
    let database = open_database_with(settings, min_connections)?;
    check_usable(settings, &database).await?;
    Ok(database)
}

async fn check_usable(settings: &Settings, database: &Database) -> Result<SchemaState, ConfigError> {
    let url = database_url(settings)?;
    let schema_state = database.schema_state().await.map_err(|e| ConfigError::new(e.to_string()))?;
    let remedy = match schema_state {
        SchemaState::Current | SchemaState::NewerCompatible => return Ok(schema_state),
        SchemaState::Empty => "is empty; run `stele migrate` first",
        SchemaState::Older => "has an older schema; run `stele migrate` first",
        SchemaState::Newer => {
            "has a newer schema, which this version cannot use; run a newer version of Stele, or restore the backup \
             from before the migration"
        }
    };
    Err(ConfigError::new(format!("the database {url} {remedy}")))
}

/// Opens the state store: Redis, or SQLite in the data folder.
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
