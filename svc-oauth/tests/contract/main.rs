//! Contract tests of the OAuth service over HTTP.

#![expect(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod audit;
mod conformance;
mod exchange;
mod forward_auth;
mod golden;
mod golden_tokens;
mod introspection;
mod key_rotation;
mod lifetimes;
mod metadata;
mod races;
mod request_cost;
mod revocation;
mod subject_tokens;
mod test_service;
mod token_endpoint;
mod unavailability;

stele_testkit::service_conformance!(conformance::BareService);
