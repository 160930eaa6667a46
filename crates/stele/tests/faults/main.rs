//! What becomes of running services when what they stand on fails: real servers that hang, refuse, stop, fill up and
//! come back, and a clock that is set.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[expect(dead_code, reason = "shared with the end-to-end tests, which use more of it")]
#[path = "../e2e/client.rs"]
mod client;
#[expect(dead_code, reason = "shared with the end-to-end tests, which use more of it")]
#[path = "../e2e/support.rs"]
mod support;

mod before;
mod between;
mod clock;
mod delivery;
mod disk;
mod provider;
mod scene;
mod stores;
