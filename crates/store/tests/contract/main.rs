//! What every store does, whatever it keeps things in: one suite, run on each backend.
//!
//! That is SQLite, and PostgreSQL and Redis: on the servers that `STELE_TEST_DATABASE_URL` and `STELE_TEST_REDIS_URL`
//! name, else on private ones.
// `cfg(test)` says nothing new to the compiler: it tells clippy that helpers are tests too.

#[cfg(test)]
mod audit_log;
#[cfg(test)]
mod cancelled_calls;
#[cfg(test)]
mod check_order;
#[cfg(test)]
mod key_store;
#[cfg(test)]
mod login_attempts;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod postgres_faults;
#[cfg(test)]
mod postgres_tls;
#[cfg(test)]
mod rate_limit;
#[cfg(test)]
mod redis_faults;
#[cfg(test)]
mod redis_lua_equivalence;
#[cfg(test)]
mod redis_rollback;
#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod session_limit;
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
