//! The settings that the gateway and every service read, as far as they are not declared beside what they are of.

use std::net::SocketAddr;
use std::time::Duration;

use crate::setting::{List, made, unset, value};
use crate::{admin, otlp, status_200, telemetry, trust};

crate::settings! {
    /// Listening and serving.
    pub const SETTINGS = "STELE_";
    /// address and port to serve on
    pub LISTEN: Option<SocketAddr> = unset("the program's own port on loopback");
    /// bytes of the largest request body
    pub BODY_LIMIT: usize = value("65536").range(1, 16_777_216);
    /// how long a client may take to send the head of a request
    pub CLIENT_TIMEOUT: Duration = value("15s").positive();
    /// threads that serve requests
    pub WORKERS: usize = made(cores, "one a core").range(1, MOST_WORKERS as u64);
    /// on SIGTERM, how long a program reports that it is not ready and goes on serving before it stops; `stele up`, which no
    /// other instance takes over from, stops at once if this is not set
    pub DRAIN: Duration = value("2s");
}

/// The most threads that actix-server runs; it panics beyond.
const MOST_WORKERS: usize = 512;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS)
}

/// What every program reads.
pub fn common() -> Vec<List> {
    vec![SETTINGS, status_200::SETTINGS, admin::SETTINGS, trust::SETTINGS, telemetry::SETTINGS, otlp::SETTINGS]
}

/// The largest body, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(pub usize);
