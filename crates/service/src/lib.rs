//! Server runtime that the gateway and every service share: configuration, telemetry, metrics, health checks, graceful
//! shutdown.
//!
//! - [`setting`], [`common_settings`], [`config`], [`cli`]: declaration of settings, the common settings, their values,
//!   the command line
//! - [`telemetry`], [`otlp`], [`trace`], [`log_sanitizer`], [`metrics`]: logs, traces, metrics
//! - [`admin`], [`health_check`], [`drain`], [`signals`]: admin port, health check, readiness, graceful shutdown
//! - [`listener`], [`mod@http_server`], [`error_bodies`]: listening sockets, the HTTP/1.1 server, bodies for the
//!   error responses of actix-http
//! - [`headers`], [`trusted_proxies`], [`client_list`], [`cors`], [`path`], [`request_context`]: header lookup, client
//!   address, client name, CORS and CSRF, canonical paths, request ids
//! - [`mod@status_200`]: dialects that answer failures with HTTP 200
//! - [`private_file`]: permissions of files with secrets; [`random`]: random values that are not secret

pub mod admin;
pub mod cli;
pub mod client_list;
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

/// Path of a service's OpenAPI document.
pub const OPENAPI_PATH: &str = "/openapi.json";

/// `WWW-Authenticate` of every 401 response (RFC 9110, section 15.5.2; RFC 6750, section 3). Java's and Android's HTTP
/// clients throw an exception for a 401 without this header.
pub const BEARER_CHALLENGE: &str = "Bearer realm=\"stele\"";

/// The message of an error with its sources, outermost first.
pub fn with_sources(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |source| source.source())
        .fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
