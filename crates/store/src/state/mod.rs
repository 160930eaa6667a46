//! State store: rate limits, replay protection, sessions, codes, tickets and captchas, in an SQLite file or in Redis.
//! One contract test suite runs on both.

mod redis;
mod sqlite;

pub use self::redis::RedisStateStore;
pub use sqlite::SqliteStateStore;
