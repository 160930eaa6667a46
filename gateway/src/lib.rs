//! The only public address: every request comes in here and is passed on to the service whose prefix it has.
//!
//! - [`Config`]: settings, and the routing table (`routes.toml`), checked before the first request
//! - [`Gateway`]: the server, and what can be seen of it; [`run`]: the server as a program
//! - `server` has the workers; `http1` and `http2` serve a client's connection, whose state is `connection`, whose socket
//!   is `client_io`, whose certificate is `tls` and whose end is `close`; `redirect` sends plain clients to `https`
//! - `proxy` is the way of a request: `table` finds the route, `request` refuses what could be read in two ways,
//!   `upstreams` picks the instance and has the connection to it, `headers` decides what crosses, `request_body`
//!   and `response_body` are the bodies
//! - `answer`, `refusal`, `health` and `cors` answer without an instance; `access` logs, `index` is the page at `/`,
//!   `docs` shows what is served, `metrics` counts
//! - `supervise` checks, beside the requests, how the instances do and where the names of services lead
//! - `library_answer`: what hyper answers by itself, which gets a body
//! - `alarm`: a timer that is hardly ever set again
//!
//! HTTP is read and written by hyper, on both sides. Each request is framed afresh for its service.
//!
//! The gateway knows no dialect: how each says no is written in the table.

mod access;
mod alarm;
mod answer;
mod client_io;
mod close;
mod config;
mod connection;
mod cors;
mod docs;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod headers;
mod health;
mod held;
mod http1;
mod http2;
mod index;
mod library_answer;
mod live;
mod metrics;
mod program;
mod proxy;
mod redirect;
mod refusal;
mod request;
mod request_body;
mod response_body;
mod server;
mod supervise;
mod table;
mod tls;
mod upstreams;

pub use config::{Config, SETTINGS, settings};
pub use live::{Gateway, InstanceView};
pub use program::{DEFAULT_LISTEN, reload_on_hangup, run};
pub use refusal::Cause;
pub use upstreams::CircuitState;
pub use upstreams::resolve::{Lookup, Resolver};
