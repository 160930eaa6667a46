//! Retried logins: the same salted proof sent again because the response was lost (`STELE_REPEAT_WINDOW`).

use std::time::Duration;

use futures_util::future::join_all;
use stele_core::Error;

use super::salted::{login_at, salted_digest};
use super::{
    BEHIND_PROXY, DialectUnderTest, PASSWORD, PHONE, PasswordGuess, SaltedDialect, SessionDialect, WRONG_PASSWORD,
};
use crate::TestResponse;

const RETRY_WINDOW: [(&str, &str); 2] = [("STELE_REPEAT_WINDOW", "10s"), BEHIND_PROXY];

async fn start_with_user<D: SaltedDialect>(settings: &[(&str, &str)]) -> D {
    let app = D::with_settings(&[&RETRY_WINDOW, settings].concat()).await;
    app.add_test_user().await;
    app
}

/// Logs in from address number `origin` with the proof for the timestamp `at`.
async fn login_from<D: SaltedDialect>(app: &D, origin: u8, at: i64) -> TestResponse {
    app.login_with_fields(origin, D::proof_fields(PHONE, &salted_digest(PASSWORD, at), at)).await
}

pub async fn a_login_may_be_retried_once_from_its_address<D: SaltedDialect + SessionDialect>() {
    let app: D = start_with_user(&[]).await;
    let at = app.now();
    let first = app.assert_accepted(login_from(&app, 1, at).await);
    // A client at another address is rejected, and does not consume the retry.
    app.assert_fails_with(&login_from(&app, 2, at).await, &Error::Replayed);
    app.advance_clock(9);
    let second = app.assert_accepted(login_from(&app, 1, at).await);
    assert_ne!(
        app.session_token(&first).expose(),
        app.session_token(&second).expose(),
        "each login opens a new session"
    );
    assert!(
        app.is_session_valid(&app.session_token(&first)).await
            && app.is_session_valid(&app.session_token(&second)).await
    );
    for origin in [1, 2] {
        app.assert_fails_with(&login_from(&app, origin, at).await, &Error::Replayed);
    }
    // The window begins with the first login.
    app.assert_accepted(login_from(&app, 1, at + 1).await);
    app.advance_clock(10);
    app.assert_fails_with(&login_from(&app, 1, at + 1).await, &Error::Replayed);
}

pub async fn without_a_window_no_retry_is_accepted<D: SaltedDialect>() {
    let app: D = start_with_user(&[("STELE_REPEAT_WINDOW", "0")]).await;
    app.assert_accepted(login_from(&app, 1, app.now()).await);
    app.assert_fails_with(&login_from(&app, 1, app.now()).await, &Error::Replayed);
}

pub async fn a_retried_login_costs_as_much_as_the_first<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let at = app.now();
    for _ in 0..2 {
        let (response, cost) = app.lab.measure_cost(login_from(&app, 1, at)).await;
        app.assert_accepted(response);
        assert_eq!(cost, D::login_cost(PasswordGuess::Right));
    }
}

pub async fn two_of_many_concurrent_logins_succeed<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let second_instance = D::start(app.lab.second_instance().await).await;
    let at = app.now();
    let responses =
        join_all((0..12).map(|n| login_from(if n % 2 == 0 { &app } else { &second_instance }, 1, at))).await;
    assert_eq!(responses.iter().filter(|response| D::is_accepted(response)).count(), 2, "{responses:?}");
    let rejected = responses.iter().filter(|response| !D::is_accepted(response));
    rejected.for_each(|response| app.assert_fails_with(response, &Error::Replayed));
}

pub async fn a_retried_login_is_rate_limited<D: SaltedDialect>() {
    let app: D = start_with_user(&[]).await;
    let at = app.now();
    app.assert_accepted(login_from(&app, 1, at).await);
    for _ in 0..6 {
        app.assert_fails_with(&DialectUnderTest::login(&app, 1, PHONE, WRONG_PASSWORD).await, &Error::WrongPassword);
    }
    app.assert_fails_with(&login_from(&app, 1, at).await, &Error::RateLimited { retry_after: Duration::from_secs(1) });
    app.advance_clock(1);
    app.assert_accepted(login_from(&app, 1, at).await);
    app.assert_fails_with(&login_from(&app, 1, at).await, &Error::Replayed);
}

pub async fn without_a_skew_a_login_may_be_retried_once<D: SaltedDialect>() {
    let app: D = start_with_user(&[("STELE_TIMESTAMP_SKEW", "0")]).await;
    app.assert_accepted(login_from(&app, 1, 1).await);
    app.assert_fails_with(&login_from(&app, 2, 1).await, &Error::Replayed);
    app.assert_accepted(login_from(&app, 1, 1).await);
    app.assert_fails_with(&login_from(&app, 1, 1).await, &Error::Replayed);
    // The proof is remembered for longer than the retry window.
    app.assert_accepted(login_at(&app, PHONE, PASSWORD, 2).await);
    app.advance_clock(10);
    app.assert_fails_with(&login_at(&app, PHONE, PASSWORD, 2).await, &Error::Replayed);
}
