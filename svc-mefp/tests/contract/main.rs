//! Contract tests of the MeFP service over HTTP: documented calls, error responses, padding oracle
//! attacks, handover tokens, rate limits, store outages.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod documented_calls;
mod golden;
mod handover_tokens;
mod input;
mod padding_oracle;
mod rate_limits;
mod request_cost;
mod test_service;
mod unavailability;
mod vectors;
mod verification_codes;

stele_testkit::conformance!(test_service::TestService, codes, new_passwords);
