//! Lazy migration against stand-ins of the five old servers: who is asked what, and what an answer leads to.

#![expect(clippy::unwrap_used, reason = "tests")]

mod faults;
mod fixture;
mod leaders;
mod limits;
mod open;
mod table;
