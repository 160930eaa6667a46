//! What every store does, whatever it keeps things in: one suite, run on each backend.
//!
//! Redis takes part on servers of the tests' own (`redis-server` must be installed), and on the one that
//! `STELE_TEST_REDIS_URL` names. PostgreSQL takes part if `STELE_TEST_DATABASE_URL` names a database in which schemas may be made.
// `cfg(test)` says nothing new to the compiler: it tells clippy that helpers are tests too.

#[cfg(test)]
mod codes;
#[cfg(test)]
mod files;
#[cfg(test)]
mod keys;
mod limits;
#[cfg(test)]
mod logins;
#[cfg(test)]
mod redis_arithmetic;
#[cfg(test)]
mod redis_faults;
#[cfg(test)]
mod server;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod support;
#[cfg(test)]
mod users;
