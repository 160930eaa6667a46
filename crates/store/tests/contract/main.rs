//! What every store does, whatever it keeps things in: one suite, run on each backend.
//!
//! That is SQLite, and PostgreSQL and Redis: on the servers that `STELE_TEST_DATABASE_URL` and `STELE_TEST_REDIS_URL`
//! name, else on private ones.
// `cfg(test)` says nothing new to the compiler: it tells clippy that helpers are tests too.

#[cfg(test)]
mod abandoned;
#[cfg(test)]
mod codes;
#[cfg(test)]
mod files;
#[cfg(test)]
mod footprint;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod order;
#[cfg(test)]
mod postgres_faults;
#[cfg(test)]
mod postgres_tls;
#[cfg(test)]
mod redis_arithmetic;
#[cfg(test)]
mod redis_faults;
#[cfg(test)]
mod redis_time;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod sessions_of_user;
#[cfg(test)]
mod support;
#[cfg(test)]
mod trail;
#[cfg(test)]
mod trips;
#[cfg(test)]
mod users;
#[cfg(test)]
mod verifiers;
