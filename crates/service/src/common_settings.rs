//! The settings that the gateway and every service read, as far as they are not declared beside what they are of.

use std::net::SocketAddr;
use std::time::Duration;

use crate::setting::{SettingList, optional, with_computed_default, with_default};
use crate::{admin, otlp, status_200, telemetry, trusted_proxies};

crate::settings! {
    /// Listening and serving.
    pub const SETTINGS = "STELE_";
    /// address and port to serve on
    pub LISTEN: Option<SocketAddr> = optional("the program's own port on loopback");
    /// bytes of the largest request body
    pub BODY_LIMIT: usize = with_default("65536").range(1, 16_777_216);
    /// how long a client may take to send the head of a request
    pub CLIENT_TIMEOUT: Duration = with_default("15s").positive();
    /// threads that serve requests
    pub WORKERS: usize = with_computed_default(default_workers, "one a core").range(1, MAX_WORKERS as u64);
    /// on SIGTERM, how long a program reports that it is not ready and goes on serving before it stops; `stele up`, which no
    /// other instance takes over from, stops at once if this is not set
    pub DRAIN: Duration = with_default("2s");
}

/// The most threads that actix-server runs; it panics beyond.
const MAX_WORKERS: usize = 512;

fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS)
}

/// What every program reads.
pub fn all_common() -> Vec<SettingList> {
    vec![
        SETTINGS,
        status_200::SETTINGS,
        admin::SETTINGS,
        trusted_proxies::SETTINGS,
        telemetry::SETTINGS,
        otlp::SETTINGS,
    ]
}

/// The largest body, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(pub usize);
