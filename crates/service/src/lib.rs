//! What every process needs, whatever it serves: configuration, telemetry, metrics, health, graceful shutdown.
//!
//! - [`setting`], [`common_settings`], [`config`], [`cli`]: how a setting is declared, those that all read, what they are
//!   set to, the command line
//! - [`telemetry`], [`otlp`], [`trace`], [`log_sanitizer`], [`metrics`]: logs, traces, metrics
//! - [`admin`], [`health_check`], [`drain`], [`signals`]: health, readiness, graceful shutdown
//! - [`listener`], [`mod@http_server`], [`error_bodies`]: listeners, the HTTP/1.1 server on them, and what it answers itself
//! - [`headers`], [`trusted_proxies`], [`cors`], [`path`], [`request_context`]: the client's address, web pages' origins, paths,
//!   request ids
//! - [`mod@status_200`]: dialects whose failures have HTTP 200
//! - [`private_file`]: files that hold secrets; [`random`]: random bits that are no secret

pub mod admin;
pub mod cli;
pub mod common_settings;
pub mod config;
pub mod cors;
pub mod drain;
pub mod error_bodies;
pub mod headers;
pub mod health_check;
pub mod http_server;
pub mod listener;
pub mod log_sanitizer;
pub mod metrics;
pub mod otlp;
pub mod path;
pub mod private_file;
pub mod random;
pub mod request_context;
pub mod setting;
pub mod signals;
pub mod status_200;
pub mod telemetry;
pub mod trace;
pub mod trusted_proxies;

pub use config::{ConfigError, Settings};
pub use drain::Drain;
pub use setting::{AnySetting, Setting};

/// The path at which a service serves its OpenAPI document.
pub const OPENAPI_PATH: &str = "/openapi.json";

/// The `WWW-Authenticate` of every 401 (RFC 9110, section 15.5.2; RFC 6750, section 3): without one, Java's and Android's
/// clients throw.
pub const BEARER_CHALLENGE: &str = "Bearer realm=\"stele\"";
