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

mod access_log;
mod client_connection;
mod client_io;
mod config;
mod connection_limit;
mod cors;
mod docs;
mod error_pages;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod headers;
mod health_check;
mod health_endpoint;
mod http1;
mod http2;
mod hyper_error_response;
mod index;
mod lingering_close;
mod local_response;
mod metrics;
mod program;
mod proxy;
mod redirect;
mod request_body;
mod request_head;
mod response_body;
mod routing_table;
mod server;
mod shared_state;
mod timer;
mod tls;
mod upstreams;

pub use config::{Config, SETTINGS, settings};
pub use error_pages::Rejection;
pub use program::{DEFAULT_LISTEN, reload_on_sighup, run};
pub use shared_state::{Gateway, InstanceView};
pub use upstreams::CircuitState;
pub use upstreams::resolver::{LookupFuture, Resolver};
