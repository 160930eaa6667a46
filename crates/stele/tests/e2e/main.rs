//! The `stele` command and what it runs, as a stranger meets them: over its command line and its one public address,
//! written from the five documents and not from the services' code.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod architecture;
mod audit;
mod bounds;
mod client;
mod collector;
mod command;
mod dashboard;
mod demo;
mod direct;
mod files;
mod hashing;
mod headers;
mod independent;
mod keys;
mod keys_lost;
mod kill;
mod limits;
mod listening;
mod lists;
mod lost_change;
mod metrics;
mod migrate;
mod one_account;
mod pipes;
mod programs;
mod refusals;
mod secrets;
mod settings;
mod support;
mod threats;
mod traces;
