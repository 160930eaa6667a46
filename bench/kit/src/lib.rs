//! Library of the commands in `bench/`: starts the release programs and their servers on free loopback ports and stops
//! them by process id; creates test users; builds requests of the five dialects; sends them over keep-alive
//! connections; and reports progress.
//!
//! | part | purpose |
//! | --- | --- |
//! | [`ReleasePrograms`] | the release binaries, built if necessary |
//! | [`StoreServers`] | PostgreSQL and Redis |
//! | [`Installation`] | a data folder and the programs that run on it: `stele up`, or single services and gateways |
//! | [`ProductProcess`] | a running program: readiness, resource usage, stop |
//! | [`test_users`] | users, added in bulk |
//! | [`dialect`] | requests and responses of the dialects |
//! | [`Request`], [`http`] | HTTP/1.1 requests, and a client |
//! | [`Progress`] | progress bar, or log lines |
//! | [`format_table`], [`svg`] | plain-text tables and line charts |

pub mod dialect;
pub mod http;
mod installation;
mod product_process;
mod programs;
mod progress;
mod request;
mod servers;
pub mod svg;
mod table;
pub mod test_users;

pub use dialect::{DialectClient, DialectKind, DialectResponse, MefpApp};
pub use http::{BlockingConnection, Connection, Response, ResponseRef};
pub use installation::Installation;
pub use product_process::{ProductProcess, Usage};
pub use programs::{ReleasePrograms, repository_root};
pub use progress::Progress;
pub use request::Request;
pub use servers::{Durability, StoreServers};
pub use table::format_table;
pub use test_users::TestUser;

/// Why a measurement is impossible: one line, with the remedy if there is one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BenchError(String);

impl BenchError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl From<std::io::Error> for BenchError {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<stele_core::Error> for BenchError {
    fn from(error: stele_core::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<stele_service::ConfigError> for BenchError {
    fn from(error: stele_service::ConfigError) -> Self {
        Self(error.to_string())
    }
}

/// Result with [`BenchError`].
pub type Result<T> = std::result::Result<T, BenchError>;
