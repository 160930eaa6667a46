//! Contract tests: one suite for all backends of the user store and the state store.
//!
//! The backends are SQLite, PostgreSQL and Redis. The servers are those that `STELE_TEST_DATABASE_URL` and
//! `STELE_TEST_REDIS_URL` name, or private ones that the tests start.
// `cfg(test)` on each module makes clippy treat its helpers as test code.

#[cfg(test)]
mod audit_log;
#[cfg(test)]
mod cancelled_calls;
#[cfg(test)]
mod check_order;
#[cfg(test)]
mod closures;
#[cfg(test)]
mod dialect_use;
#[cfg(test)]
mod import_hashing;
#[cfg(test)]
mod import_lookup;
#[cfg(test)]
mod import_passwords;
#[cfg(test)]
mod import_undo;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod key_store;
#[cfg(test)]
mod legacy_ids;
#[cfg(test)]
mod login_attempts;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod newer_schema;
#[cfg(test)]
mod oauth_registry;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod password_list;
#[cfg(test)]
mod pgbouncer;
#[cfg(test)]
mod postgres_connections;
#[cfg(test)]
mod postgres_faults;
#[cfg(test)]
mod postgres_hosts;
#[cfg(test)]
mod postgres_tls;
#[cfg(test)]
mod postgres_unknown_commits;
#[cfg(test)]
mod rate_limit;
#[cfg(test)]
mod redis_cluster;
#[cfg(test)]
mod redis_cluster_faults;
#[cfg(test)]
mod redis_faults;
#[cfg(test)]
mod redis_lua_equivalence;
#[cfg(test)]
mod redis_rollback;
#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod server_clocks;
#[cfg(test)]
mod session_limit;
#[cfg(test)]
mod session_list;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod storage_footprint;
#[cfg(test)]
mod support;
#[cfg(test)]
mod user_store;
#[cfg(test)]
mod verification_codes;
#[cfg(test)]
mod verifier_store;
