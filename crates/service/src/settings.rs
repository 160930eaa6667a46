//! The settings that the gateway and every service read.

use crate::config::{ConfigError, Setting, Settings, setting};

/// How a program ends.
pub const DRAIN: Setting = setting(
    "STELE_DRAIN",
    "2s (stele up: 0)",
    "how long a program told to stop by SIGTERM says that it is not ready and serves on, before it stops",
);

/// The largest body.
pub const BODY_LIMIT: Setting = setting("STELE_BODY_LIMIT", "65536", "largest request body, in bytes, 1 to 16777216");

/// How many threads serve.
pub const WORKERS: Setting = setting("STELE_WORKERS", "one a core", "threads that serve requests, 1 to 512");

/// How an admin port on loopback may be called.
pub const ADMIN_HOSTS: Setting = setting(
    "STELE_ADMIN_HOSTS",
    "none",
    "names by which an admin port on loopback may be called beside localhost and addresses, by commas",
);

/// The most that a body limit may be, in bytes: a body is held whole.
const MOST_BODY: usize = 16 * 1024 * 1024;
/// The most threads that actix-server runs; it panics beyond.
const MOST_WORKERS: usize = 512;

/// The largest body, in bytes, of services and gateway alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(pub usize);

impl Default for BodyLimit {
    fn default() -> Self {
        Self(64 * 1024)
    }
}

impl BodyLimit {
    /// Reads `STELE_BODY_LIMIT`.
    ///
    /// # Errors
    /// If it is out of its range.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        settings.range(BODY_LIMIT.name, Self::default().0, 1..=MOST_BODY).map(Self)
    }
}

/// How many threads serve requests: `STELE_WORKERS`, by default one a core.
///
/// # Errors
/// If it is not a number from 1 to 512.
pub fn workers(settings: &Settings) -> Result<usize, ConfigError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    settings.range(WORKERS.name, cores.min(MOST_WORKERS), 1..=MOST_WORKERS)
}
