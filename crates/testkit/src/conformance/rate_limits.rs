//! Rate limits and account lockout against brute force: durations, shared failure counts, and requests that are not
//! counted.

use std::time::Duration;

use stele_core::Error;

use super::{BEHIND_PROXY, DialectUnderTest, PASSWORD, PHONE, UNKNOWN_PHONE, WRONG_PASSWORD};

/// Clients from many addresses, with quotas for codes that no test reaches.
const MANY_CLIENTS: [(&str, &str); 3] =
    [BEHIND_PROXY, ("STELE_SEND_RECIPIENT", "1000"), ("STELE_SEND_ADDRESS", "1000")];

async fn start_with_many_clients<D: DialectUnderTest>() -> D {
    let app = D::with_settings(&[D::UNIFORM_ERROR_SETTINGS, &MANY_CLIENTS].concat()).await;
    app.add_test_user().await;
    app
}

fn too_many_attempts(seconds: u64) -> Error {
    Error::RateLimited { retry_after: Duration::from_secs(seconds) }
}

pub async fn the_sixth_failure_starts_a_lockout_that_the_right_password_does_not_end<D: DialectUnderTest>() {
    let app: D = start_with_many_clients().await;
    for identifier in [PHONE, UNKNOWN_PHONE] {
        app.fail_until_locked_out(identifier).await;
        let before = app.hash_count();
        for password in [WRONG_PASSWORD, PASSWORD] {
            app.assert_fails_with(&app.login_after_challenge(9, identifier, password).await, &too_many_attempts(1));
        }
        assert_eq!(app.hash_count(), before, "no password is verified during a lockout");
    }
    app.advance_clock(1);
    app.assert_accepted(app.login_after_challenge(9, PHONE, PASSWORD).await);
}

pub async fn lockouts_double_up_to_a_minute<D: DialectUnderTest>() {
    let app: D = start_with_many_clients().await;
    app.fail_until_locked_out(PHONE).await;
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        app.assert_fails_with(&app.login_after_challenge(9, PHONE, WRONG_PASSWORD).await, &too_many_attempts(wait));
        app.advance_clock(wait);
        app.assert_fails_with(&app.login_after_challenge(9, PHONE, WRONG_PASSWORD).await, &Error::WrongPassword);
    }
}

pub async fn a_successful_login_resets_the_failure_count<D: DialectUnderTest>() {
    let app: D = start_with_many_clients().await;
    for _ in 0..3 {
        for _ in 0..5 {
            app.assert_fails_with(&app.login(0, PHONE, WRONG_PASSWORD).await, &Error::WrongPassword);
        }
        app.advance_clock(1);
        app.assert_accepted(app.login_after_challenge(0, PHONE, PASSWORD).await);
    }
}

pub async fn the_failure_count_is_shared_by_all_identifiers<D: DialectUnderTest>() {
    let app: D = start_with_many_clients().await;
    let all_identifiers = D::identifiers();
    let mut identifiers = all_identifiers.iter().cycle();
    for _ in 0..5 {
        app.assert_fails_with(&app.login(1, identifiers.next().unwrap(), WRONG_PASSWORD).await, &Error::WrongPassword);
    }
    app.assert_fails_with(&app.login_after_challenge(1, PHONE, WRONG_PASSWORD).await, &Error::WrongPassword);
    for _ in 0..all_identifiers.len() {
        app.assert_fails_with(
            &app.login_after_challenge(1, identifiers.next().unwrap(), PASSWORD).await,
            &too_many_attempts(1),
        );
    }
}

pub async fn malformed_requests_and_right_passwords_are_not_counted<D: DialectUnderTest>() {
    let app = D::with_settings(&[("STELE_LIMIT_ADDRESS", "1"), ("STELE_LIMIT_APP", "1")]).await;
    app.add_test_user().await;
    for call in app.calls_with_body() {
        for body in ["{", "{}"] {
            let response = app.submit(&call, "application/json", body.into()).await;
            assert!(response.status == 400 || call.fields.is_empty(), "{response:?}");
        }
    }
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
}

/// Fails to log in once to each of ten accounts, from these origins. Asserts that logins from the last origin are then
/// rejected for 15 minutes.
async fn fail_at_ten_accounts<D: DialectUnderTest>(origins: [u8; 10]) {
    let limits = [("STELE_LIMIT_ADDRESS", "10"), ("STELE_LIMIT_APP", "10"), ("STELE_TRUSTED_PROXIES", "")];
    let app = D::with_settings(&[D::UNIFORM_ERROR_SETTINGS, &limits].concat()).await;
    app.add_test_user().await;
    for (n, origin) in origins.into_iter().enumerate() {
        app.assert_fails_with(&app.login(origin, &format!("139{n:08}"), WRONG_PASSWORD).await, &Error::WrongPassword);
    }
    app.assert_fails_with(&app.login(origins[9], PHONE, PASSWORD).await, &too_many_attempts(900));
    app.advance_clock(900);
    app.assert_accepted(app.login(origins[9], PHONE, PASSWORD).await);
}

pub async fn an_origin_is_rate_limited_across_accounts<D: DialectUnderTest>() {
    fail_at_ten_accounts::<D>([1; 10]).await;
}

pub async fn x_forwarded_for_of_an_untrusted_peer_is_ignored<D: DialectUnderTest>() {
    fail_at_ten_accounts::<D>([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).await;
}

pub async fn failures_of_strangers_do_not_lock_the_owner_out<D: DialectUnderTest>() {
    let app: D = start_with_many_clients().await;
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
    app.advance_clock(1);
    app.fail_until_locked_out(PHONE).await;
    app.assert_fails_with(&app.login_after_challenge(9, PHONE, PASSWORD).await, &too_many_attempts(1));
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
}
