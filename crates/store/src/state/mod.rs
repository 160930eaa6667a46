//! The short-lived state: embedded in an SQLite file, or in Redis. Both do the same, and one suite of tests says what.

mod redis;
mod sqlite;

pub use self::redis::RedisStateStore;
pub use sqlite::SqliteStateStore;
