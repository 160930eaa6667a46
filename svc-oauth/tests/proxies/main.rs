//! Forward auth through the real nginx, Caddy and Envoy, with the files of `deploy/forward-auth` and an application behind
//! them. Attacks A20 (docs/THREATS.md), each with the honest case.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers may panic")]

mod application;
mod client;
mod forged_headers;
mod paths;
mod requests;
mod world;
