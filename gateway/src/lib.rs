//! The only public address: every request comes in here and is passed on to the service whose prefix it has.
//!
//! - [`Config`]: settings, and the routing table (`routes.toml`), checked before the first request
//! - [`Gateway`]: the server, and what can be seen of it; [`run`]: the server as a program
//! - `connection` is what a client's bytes come through: one request at a time, every head timed, and nothing of what
//!   `scan` finds framed in a way that could be read as two
//! - `table` finds the route, `path` refuses what could be read in two ways, `headers` decides what crosses,
//!   `upload` and `download` are the bodies, `upstreams` picks the instance, `refusal` and `cors` answer without one,
//!   `access` logs, `docs` tells what is served, `metrics` counts
//! - `supervise` looks, beside the requests, how the instances do and where the names of services lead
//!
//! The gateway knows no dialect: how each says no is written in the table.

mod access;
mod config;
mod connection;
mod cors;
mod docs;
mod download;
mod headers;
mod live;
mod metrics;
mod path;
mod program;
mod proxy;
mod refusal;
mod scan;
mod server;
mod supervise;
mod table;
mod upload;
mod upstreams;

pub use config::{COMMON, Config, SETTINGS};
pub use live::{Gateway, InstanceView};
pub use program::{DEFAULT_LISTEN, reload_on_hangup, run};
pub use refusal::Cause;
pub use upstreams::CircuitState;
pub use upstreams::resolve::{Lookup, Resolver};
