//! What the services' tests stand on: a laboratory with a clock that stands still, chance that repeats itself, and a
//! sink for codes, and stores that can be taken away; services started alone on free ports; real PostgreSQL and Redis
//! servers; golden transcripts; and a suite of tests that every dialect gets ([`mod@conformance`]).

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "a test's set-up may panic")]

mod app;
pub mod conformance;
mod counted;
mod document;
mod golden;
mod lab;
mod message_code;
mod raw;
mod surroundings;
mod switched;
mod work;

pub use app::{Answer, TestApp};
pub use counted::{Counted, Kept, counted, times};
pub use document::is_valid;
pub use golden::golden;
pub use lab::{Down, Lab, Running, STORES, UserBuilder};
pub use message_code::MessageCode;
pub use raw::raw;
pub use stele_testservers as servers;
pub use surroundings::{ManualClock, SeededRandom, Sent, Sink};
pub use switched::{Moment, Watcher};
pub use work::Work;

/// An HTTP client that follows no redirects and keeps no cookies.
pub fn http() -> reqwest::Client {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    // Tests speak plain HTTP to loopback: no certificates to load.
    client.tls_certs_only([]).build().unwrap()
}

/// 32 lowercase hex digits of the md5 of `text`.
pub fn md5_hex(text: &str) -> String {
    use md5::Digest as _;
    stele_core::hex::encode(&md5::Md5::digest(text.as_bytes()))
}
