//! The only public address: every request comes in here and is passed on to the service whose prefix it has.
//!
//! - [`Config`]: settings, and the routing table (`routes.toml`), checked before the first request
//! - [`Gateway`]: the server, and what can be seen of it; [`run`]: the server as a program
//! - `server` has the workers; `client` is a client's connection: one request at a time, every head timed
//! - `proxy` is the way of a request: `table` finds the route, `path` refuses what could be read in two ways, `upstreams`
//!   picks the instance, `exchange` asks it, `headers` decides what crosses, `upload` and `download` are the bodies
//! - `answer`, `refusal` and `cors` answer without an instance; `access` logs, `docs` tells what is served, `metrics`
//!   counts
//! - `wire` is HTTP/1.1, of which nothing is let through that could be read in two ways; `pipe` a socket and what has
//!   come, `alarm` a timer
//! - `supervise` looks, beside the requests, how the instances do and where the names of services lead
//!
//! The gateway knows no dialect: how each says no is written in the table.

mod access;
mod alarm;
mod answer;
mod client;
mod config;
mod cors;
mod docs;
mod download;
mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod headers;
mod held;
mod live;
mod metrics;
mod path;
mod pipe;
mod program;
mod proxy;
mod refusal;
mod server;
mod supervise;
mod table;
mod upload;
mod upstreams;
mod wire;

pub use config::{COMMON, Config, SETTINGS};
pub use live::{Gateway, InstanceView};
pub use program::{DEFAULT_LISTEN, reload_on_hangup, run};
pub use refusal::Cause;
pub use upstreams::CircuitState;
pub use upstreams::resolve::{Lookup, Resolver};
