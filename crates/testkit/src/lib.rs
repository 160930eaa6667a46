//! What the services' tests stand on: a laboratory with a clock that stands still, chance that repeats itself, and a
//! sink for codes, and stores that can be taken away; services started alone on free ports; real PostgreSQL and Redis
//! servers; golden transcripts; and a suite of tests that every dialect gets ([`mod@conformance`]).

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "a test's set-up may panic")]

pub mod conformance;
mod environment;
mod fault_injection;
mod golden;
mod message_code;
mod openapi;
mod raw_http;
mod request_cost;
mod test_app;
mod test_lab;
mod valgrind;

pub use environment::{ManualClock, RecordingDelivery, SeededRandom, SentCode};
pub use fault_injection::{CallPhase, StoreCallObserver};
pub use golden::assert_golden;
pub use message_code::MessageCode;
pub use openapi::matches_schema;
pub use raw_http::send_raw;
pub use request_cost::RequestCost;
pub use stele_testservers as servers;
pub use test_app::{TestApp, TestResponse};
pub use test_lab::{RunningService, STORES, SetStoreDown, TestLab, UserBuilder};
pub use valgrind::{KeepAliveConnection, ValgrindCounts, measure_with_valgrind, repetitions};

/// An HTTP client that follows no redirects and keeps no cookies.
pub fn http_client() -> reqwest::Client {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    // Tests speak plain HTTP to loopback: no certificates to load.
    client.tls_certs_only([]).build().unwrap()
}

/// 32 lowercase hex digits of the md5 of `text`.
pub fn md5_hex(text: &str) -> String {
    use md5::Digest as _;
    stele_core::hex::encode(&md5::Md5::digest(text.as_bytes()))
}
