//! The domain of Stele: one user base behind several login dialects.
//!
//! Modules:
//! - values: [`identifier`], [`password`], [`proof`], [`client_timestamp`], [`user`], [`session`], [`code`], [`app`],
//!   [`origin`], [`text`]
//! - stored secrets: [`seal`] (envelope encryption of digests), [`verifier`] and [`hasher`] (argon2id), [`mac`] (keyed
//!   hashes)
//! - use of salted logins: [`salted_logins`]
//! - rules: [`policy`] (every number that can be configured), [`rate_limit`] (rate limits, account lockout and backoff)
//! - auditing: [`event`] (audit events), [`audit_log`] (their stored form)
//! - [`ports`]: the traits that stores and delivery implement; [`Dependencies`] bundles them with keys and rules
//! - [`usecase`]: what a client or an administrator can do, one file each, as methods of [`UseCases`]
//!
//! Nothing here knows HTTP, a database or a dialect's wire format.

pub mod app;
pub mod audit_log;
pub mod client_timestamp;
pub mod code;
pub mod countries;
mod dependencies;
mod error;
pub mod event;
pub mod hasher;
pub mod hex;
pub mod identifier;
pub mod mac;
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

/// The target of spans that only traces need. Logs filter it out, so that such a span costs one check of a flag when no
/// exporter is configured.
pub const TRACE_TARGET: &str = "stele::trace";

pub use dependencies::Dependencies;
pub use error::{Error, Result};
pub use usecase::UseCases;
