//! HTTP reverse proxy at the only public address: routes each request by its URL prefix to an instance of a service.
//!
//! - [`Config`]: the settings and the routing table (`routes.toml`), validated at start
//! - [`Gateway`]: the server and its observable state (`shared_state`); [`run`]: the `gateway` program
//! - `server`: listeners, workers, graceful shutdown; `connection_limit`: client connections, in total and per address
//! - `http1`, `http2`: serve one client connection; `client_connection` is its state, `client_io` its socket, `tls` its
//!   certificate, `lingering_close` its end; `redirect` redirects plain HTTP to HTTPS
//! - `proxy`: handles one request; `routing_table` finds its route, `request_head` rejects ambiguous heads (request
//!   smuggling), `headers` filters header fields, `request_body` and `response_body` stream with backpressure
//! - `upstreams`: load balancing, circuit breaker, connection pool, name resolution; `health_check` probes the
//!   instances
//! - `local_response`, `error_pages`, `health_endpoint`, `cors`, `index`, `docs`: responses that need no instance
//! - `hyper_error_response`: adds a body to the error responses that hyper generates
//! - `fuzzing`: the harness of the fuzz targets, not part of the program
//! - `access_log`, `metrics`: observability; `timer`: the timer of connections and requests
//!
//! hyper reads and writes HTTP on both sides. The body framing of an upstream request is generated from the parsed
//! body, never copied from the client's request: docs/FRAMING.md.
//!
//! The gateway has no code for any dialect: the error pages of each dialect are data in the routing table.

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
