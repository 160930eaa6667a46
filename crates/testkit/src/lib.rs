//! Test support for the services: a user base with a manual clock, a deterministic random source, recorded codes and
//! fault injection into the stores ([`TestLab`]); services on free ports ([`TestApp`]); the cost of requests; real
//! PostgreSQL and Redis servers ([`servers`]); golden transcripts ([`assert_golden`]); and the conformance suite that
//! every dialect runs ([`mod@conformance`]).

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "a test's set-up may panic")]

pub mod conformance;
mod environment;
mod fault_injection;
mod golden;
mod imported_user;
mod message_code;
mod openapi;
mod raw_http;
mod request_cost;
mod test_app;
mod test_lab;
mod valgrind;

pub use environment::{ManualClock, RecordingDelivery, SeededRandom, SentCode};
pub use fault_injection::{CallPhase, ResponseDelivery, StoreCallObserver, StoreState};
pub use golden::assert_golden;
pub use imported_user::{IMPORTED_ALIAS, IMPORTED_IDS, IMPORTED_NUMBER, IMPORTED_PHONE, IMPORTED_UUID};
pub use message_code::MessageCode;
pub use openapi::matches_schema;
pub use raw_http::send_raw;
pub use request_cost::RequestCost;
pub use stele_testservers as servers;
pub use test_app::{TestApp, TestResponse};
pub use test_lab::{RunningService, STORES, SetStoreState, TestLab, UserBuilder};
pub use valgrind::{KeepAliveConnection, ValgrindCounts, measure_with_valgrind, repetitions};

/// An HTTP client that follows no redirects and stores no cookies.
pub fn http_client() -> reqwest::Client {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    // Tests use plain HTTP to loopback, so the system's certificates need not be loaded.
    client.tls_certs_only([]).build().unwrap()
}

/// The md5 of `text` as 32 lowercase hex digits.
pub fn md5_hex(text: &str) -> String {
    use md5::Digest as _;
    stele_core::hex::encode(&md5::Md5::digest(text.as_bytes()))
}
