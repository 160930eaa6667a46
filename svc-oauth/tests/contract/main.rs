//! Contract tests of the OAuth service over HTTP.

#![expect(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod key_rotation;
mod metadata;
mod test_service;
