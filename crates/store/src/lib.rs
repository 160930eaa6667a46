//! Where Stele keeps things: the only crate that names a database.
//!
//! - [`DatabaseUrl`]: which database, read from a setting
//! - [`Database`]: users, apps and client tokens, in PostgreSQL or SQLite, by one set of queries
//! - [`SqliteStateStore`]: the short-lived state, embedded
//! - [`RedisStateStore`]: the short-lived state, shared by all instances of all services
//! - [`OpenError`]: what an administrator is told when either cannot be used

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

// Only to have it built in (`bundled`): diesel takes whatever SQLite it is linked with.
use libsqlite3_sys as _;
