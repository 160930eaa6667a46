//! Where Stele keeps things: the only crate that names a database.
//!
//! - [`Target`]: which database, read from a setting
//! - [`Database`]: users, apps and client tokens, in PostgreSQL or SQLite, by one set of queries
//! - [`SqliteState`]: the short-lived state, embedded
//! - [`RedisState`]: the short-lived state, shared by all instances of all services
//! - [`OpenError`]: what an administrator is told when either cannot be used

mod error;
mod migrate;
mod sqlite;
mod state;
mod target;
mod users;

pub use error::OpenError;
pub use migrate::SchemaState;
pub use state::{RedisState, SqliteState};
pub use target::Target;
pub use users::Database;

// Only to have it built in (`bundled`): diesel takes whatever SQLite it is linked with.
use libsqlite3_sys as _;
