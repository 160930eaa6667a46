//! What the commands in `bench/` stand on: the programs as they are released and the servers they need, started on free
//! ports of loopback and ended by their own process ids; people to log in; the five dialects' requests as bytes; HTTP
//! over connections that are kept; and how far a long work is.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`Programs`] | the release binaries, built if they are not |
//! | [`Servers`] | PostgreSQL and Redis |
//! | [`Site`] | a data folder and what runs on it: `stele up`, or services and gateways one by one |
//! | [`people`] | users, many at once |
//! | [`dialect`] | requests and what is answered |
//! | [`http`] | connections |
//! | [`Progress`] | a bar, or lines |
//! | [`svg`] | lines over time, as a picture |

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

/// Why something cannot be measured: one line, with a remedy if there is one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BenchError(String);

impl BenchError {
    /// A failure, told so.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
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

/// What may fail.
pub type Result<T> = std::result::Result<T, BenchError>;
