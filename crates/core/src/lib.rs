//! The domain of Stele: one user base behind several login dialects.
//!
//! Modules:
//! - values: [`identifier`], [`password`], [`proof`], [`client_timestamp`], [`user`], [`session`], [`code`], [`app`],
//!   [`origin`], [`text`]
//! - standard tokens: [`oauth`] (clients, resource servers, and the values of access tokens)
//! - stored secrets: [`seal`] (envelope encryption of digests and app secrets), [`verifier`] and [`hasher`] (password
//!   hashing with argon2id), [`mac`] (keyed hashes)
//! - records of salted logins: [`salted_logins`]
//! - rules: [`policy`] (every limit and lifetime that can be configured), [`rate_limit`] and [`rate_limit_key`] (rate
//!   limits, account lockout and backoff), [`countries`] (protection against SMS pumping), [`common_passwords`]
//! - import of existing users: [`import`], [`old_server`] (lazy migration: asking the old server at the first login)
//! - auditing: [`event`] (audit events), [`audit_log`] (their stored form), [`dialect_use`] (who uses which dialect)
//! - turning a dialect off: [`dialect_closure`]
//! - [`ports`]: the traits that stores, delivery and audit sinks implement; [`Dependencies`] bundles them with keys and
//!   rules
//! - [`usecase`]: the operations of clients and administrators, one file each, as methods of [`UseCases`]
//! - utilities: [`time`], [`random`], [`hex`]
//!
//! This crate does not depend on HTTP, on a database, or on a dialect's wire format.

pub mod app;
pub mod audit_log;
pub mod client_timestamp;
pub mod code;
pub mod common_passwords;
pub mod countries;
mod dependencies;
pub mod dialect_closure;
pub mod dialect_use;
mod error;
pub mod event;
pub mod hasher;
pub mod hex;
pub mod identifier;
pub mod import;
pub mod mac;
pub mod oauth;
pub mod old_server;
pub mod origin;
pub mod password;
pub mod policy;
pub mod ports;
pub mod proof;
pub mod random;
pub mod rate_limit;
pub mod rate_limit_key;
pub mod salted_logins;
pub mod seal;
pub mod session;
pub mod text;
pub mod time;
pub mod usecase;
pub mod user;
pub mod verifier;

/// The `tracing` target of spans that only trace exporters need. Logs filter this target out, so a span with it costs
/// one check of a flag when no exporter is configured.
pub const TRACE_TARGET: &str = "stele::trace";

pub use dependencies::Dependencies;
pub use error::{Error, Result};
pub use usecase::UseCases;
