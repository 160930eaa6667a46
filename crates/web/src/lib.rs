//! The chassis that every service shares: settings, logs, stores, body decoding, answers in dialect, shutdown.
//!
//! - a dialect implements [`dialect::Dialect`], lists its routes, and hands a [`service::Service`] to [`serve()`]
//! - [`config`], [`settings`], [`cli`], [`telemetry`]: how a program is told what to do, and tells what it does
//! - [`mod@serve`], [`admin`], [`healthcheck`], [`drain`]: a program's life, its health, its end
//! - [`metrics`], [`trace`], [`request`]: what is seen of it from outside; [`trail`]: what is kept of it
//! - [`boot`], [`keys`], [`keyring`], [`hashing`], [`delivery`]: from settings to a running domain
//! - [`openapi`]: what a dialect serves, as one list of which routes and document are made
//! - [`input`], [`extract`], [`headers`], [`trust`], [`origins`]: what a request holds, and whom it comes from
//! - `http`: the server below; [`private_file`]: files that hold secrets

pub mod admin;
pub mod boot;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod dialect;
pub mod drain;
pub mod extract;
pub mod hashing;
pub mod headers;
pub mod healthcheck;
mod http;
pub mod input;
pub mod keyring;
pub mod keys;
pub mod log_text;
pub mod metrics;
pub mod net;
pub mod openapi;
pub mod origins;
pub mod otlp;
pub mod private_file;
pub mod readiness;
pub mod request;
pub mod serve;
pub mod service;
pub mod settings;
pub mod telemetry;
pub mod trace;
pub mod trail;
pub mod trust;

pub use config::{ConfigError, Setting, Settings, setting};
pub use dialect::{Dialect, Failure, Refusal, failed, json, status_of};
pub use drain::Drain;
pub use extract::{ClientAddress, authorization};
pub use input::{Fault, Fields};
pub use openapi::Calls;
pub use serve::serve;
pub use service::{Context, Routes, Service};
