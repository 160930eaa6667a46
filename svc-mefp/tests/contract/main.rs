//! The MeFP service alone, over HTTP: every documented call, every refusal, and what must not be possible.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bench;
mod codes;
mod documented;
mod faults;
mod golden;
mod input;
mod limits;
mod oracle;
mod tokens;
mod vectors;
mod work;

stele_testkit::conformance!(bench::Bench, codes);
