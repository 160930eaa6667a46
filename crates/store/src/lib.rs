//! Databases: the adapters that implement the storage ports of `stele_core::ports`. No other crate names a database.
//!
//! - [`DatabaseUrl`]: the location of the user store, parsed from a setting
//! - [`Database`]: user store, key store and audit log in PostgreSQL or SQLite, with one set of queries for both
//! - [`SqliteStateStore`]: embedded state store in an SQLite file
//! - [`RedisStateStore`]: state store that all instances of all services share
//! - [`SchemaState`]: the schema of the user store compared with this program's migrations
//! - [`OpenError`]: why a store cannot be opened, as a message for the operator, with the remedy

mod database_url;
mod error;
mod migrate;
mod sqlite;
mod state;
mod users;

pub use database_url::DatabaseUrl;
pub use error::OpenError;
pub use migrate::SchemaState;
pub use state::{RedisStateStore, SqliteStateStore};
pub use users::Database;

// A dependency only for the feature `bundled`, which compiles SQLite: diesel links to this library.
use libsqlite3_sys as _;
