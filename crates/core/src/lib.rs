//! The domain of Stele: one user base behind several login dialects.
//!
//! What is where:
//! - values: [`identifier`], [`password`], [`proof`], [`client_timestamp`], [`user`], [`session`], [`code`], [`app`],
//!   [`origin`], [`text`]
//! - keeping secrets at rest: [`seal`] (sealed digests), [`verifier`] and [`hasher`] (argon2id), [`mac`] (codes)
//! - who still logs in by salted proofs: [`salted_logins`]
//! - rules: [`policy`] (every number that can be configured), [`rate_limit`] (how failures turn into waits)
//! - what is told of it: [`event`]; and kept: [`audit_log`]
//! - the doors to the outside, as traits: [`ports`]; bundled with keys and rules in [`Dependencies`]
//! - what the system does: [`usecase`], one file each, all methods of [`UseCases`]
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

/// The target of the spans that only traces are made of. Logs leave them out, so that without an exporter nobody asks for
/// them, and they cost a look at a flag.
pub const TRACE_TARGET: &str = "stele::trace";

pub use dependencies::Dependencies;
pub use error::{Error, Result};
pub use usecase::UseCases;
