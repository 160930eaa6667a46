//! Contract tests of the portal service over HTTP.

mod cross_site;
mod golden;
mod input;
mod login;
mod login_challenge;
mod logout;
mod register;
mod request_cost;
mod reset_password;
mod send_code;
mod test_service;
mod unavailability;
mod verification_codes;

stele_testkit::conformance!(test_service::TestService, sessions, codes, new_passwords);
