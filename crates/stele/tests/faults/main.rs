//! Fault injection into running services with real servers: store outages, crashes, full disks, hanging providers and
//! clock changes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[expect(dead_code, reason = "shared with the end-to-end tests, which use more of it")]
#[path = "../e2e/client.rs"]
mod client;
#[expect(dead_code, reason = "shared with the end-to-end tests, which use more of it")]
#[path = "../e2e/support.rs"]
mod support;

mod clock_changes;
mod crash_points;
mod delivery;
mod full_disk;
mod imports;
mod provider;
mod session_fixture;
mod stele_fixture;
mod store_outages;
