//! Settings that the gateway and every service read: listen address, body limit, worker threads, graceful shutdown.

use std::net::SocketAddr;
use std::time::Duration;

use crate::setting::{SettingList, optional, with_computed_default, with_default};
use crate::{admin, otlp, status_200, telemetry, trusted_proxies};

crate::settings! {
    /// Listening and serving.
    pub const SETTINGS = "STELE_";
    /// address and port to listen on
    pub LISTEN: Option<SocketAddr> = optional("the program's default port on loopback");
    /// the largest request body in bytes; a request with a larger one is rejected
    pub BODY_LIMIT: usize = with_default("65536").range(1, 16_777_216);
    /// timeout for receiving the head of a request
    pub CLIENT_TIMEOUT: Duration = with_default("15s").positive();
    /// number of worker threads, which serve requests
    pub WORKERS: usize = with_computed_default(default_workers, "one per core").range(1, MAX_WORKERS as u64);
    /// graceful shutdown on SIGTERM: how long a program reports not ready and still serves requests before it stops;
    /// `stele up`, which has no other instance to take over, stops at once if this is not set
    pub DRAIN: Duration = with_default("2s");
}

/// The most worker threads: actix-server panics with more.
const MAX_WORKERS: usize = 512;

fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS)
}

/// The settings that every program reads.
pub fn common_setting_lists() -> Vec<SettingList> {
    vec![
        SETTINGS,
        status_200::SETTINGS,
        admin::SETTINGS,
        trusted_proxies::SETTINGS,
        telemetry::SETTINGS,
        otlp::SETTINGS,
    ]
}

/// The largest request body, in bytes. A type of its own, since actix finds `app_data` by type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(pub usize);
