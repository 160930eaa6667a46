//! What every process needs, whatever it serves: configuration, telemetry, metrics, health, graceful shutdown.
//!
//! - [`setting`], [`mod@settings`], [`config`], [`cli`]: how a setting is declared, those that all read, what they are
//!   set to, the command line
//! - [`telemetry`], [`otlp`], [`trace`], [`log_text`], [`metrics`]: logs, traces, metrics
//! - [`admin`], [`healthcheck`], [`drain`], [`signals`]: health, readiness, graceful shutdown
//! - [`net`], [`mod@http`], [`bare_refusal`]: listeners, the HTTP/1.1 server on them, and what it answers itself
//! - [`headers`], [`trust`], [`origins`], [`path`], [`request`]: the client's address, web pages' origins, paths,
//!   request ids
//! - [`mod@status_200`]: dialects whose failures have HTTP 200
//! - [`private_file`]: files that hold secrets; [`random`]: random bits that are no secret

pub mod admin;
pub mod bare_refusal;
pub mod cli;
pub mod config;
pub mod drain;
pub mod headers;
pub mod healthcheck;
pub mod http;
pub mod log_text;
pub mod metrics;
pub mod net;
pub mod origins;
pub mod otlp;
pub mod path;
pub mod private_file;
pub mod random;
pub mod request;
pub mod setting;
pub mod settings;
pub mod signals;
pub mod status_200;
pub mod telemetry;
pub mod trace;
pub mod trust;

pub use config::{ConfigError, Settings};
pub use drain::Drain;
pub use setting::{Declared, Setting};

/// The path at which a service serves its OpenAPI document.
pub const OPENAPI_PATH: &str = "/openapi.json";

/// The `WWW-Authenticate` of every 401 (RFC 9110, section 15.5.2; RFC 6750, section 3): without one, Java's and Android's
/// clients throw.
pub const BEARER_CHALLENGE: &str = "Bearer realm=\"stele\"";
