//! Logins: accepted identifiers, protection against user enumeration, and the cost of a login.

use stele_core::Error;
use stele_core::user::UserStatus;

use super::{DialectUnderTest, PASSWORD, PHONE, PasswordGuess, UNKNOWN_PHONE, WRONG_PASSWORD};

pub async fn a_user_logs_in_by_every_identifier<D: DialectUnderTest>() {
    let app = D::new().await;
    app.add_test_user().await;
    for identifier in D::identifiers() {
        app.advance_clock(1);
        app.assert_accepted(app.login(0, identifier, PASSWORD).await);
    }
}

pub async fn an_unknown_user_gets_the_response_and_cost_of_a_wrong_password<D: DialectUnderTest>() {
    let app = D::with_settings(D::UNIFORM_ERROR_SETTINGS).await;
    app.add_test_user().await;
    let wrong = app.login(0, PHONE, WRONG_PASSWORD).await;
    app.assert_fails_with(&wrong, &Error::WrongPassword);
    let long = "x".repeat(1_000);
    let nonsense = ["noone", "noone@qq.com", "no\u{1}one", " ", "4", "100001", &long];
    let unknown_identifiers =
        [UNKNOWN_PHONE].into_iter().chain(nonsense.into_iter().filter(|_| D::ACCEPTS_ANY_IDENTIFIER));
    for identifier in [PHONE].into_iter().chain(unknown_identifiers) {
        let (response, cost) = app.lab.measure_cost(app.login(0, identifier, WRONG_PASSWORD)).await;
        assert_eq!(response, wrong, "{identifier}");
        assert_eq!(cost, D::login_cost(PasswordGuess::Wrong), "{identifier}");
    }
}

pub async fn a_login_makes_only_the_necessary_store_calls<D: DialectUnderTest>() {
    let app = D::new().await;
    app.add_test_user().await;
    let (response, cost) = app.lab.measure_cost(app.login(0, PHONE, PASSWORD)).await;
    app.assert_accepted(response);
    assert_eq!(cost, D::login_cost(PasswordGuess::Right));
}

/// Covers sequences of calls: a login of the owner between them must not change the responses to strangers.
pub async fn call_sequences_do_not_reveal_whether_a_user_exists<D: DialectUnderTest>() {
    let app = D::with_settings(D::UNIFORM_ERROR_SETTINGS).await;
    app.add_test_user().await;
    let mut responses = Vec::new();
    for identifier in [PHONE, UNKNOWN_PHONE] {
        let mut calls = Vec::new();
        for n in 0..16 {
            if n == 4 {
                app.lab.log_in_owner(PHONE, PASSWORD).await;
            }
            calls.push(app.lab.measure_cost(app.enumeration_attempt(n, identifier)).await);
            app.advance_clock(1);
        }
        responses.push(calls);
        // The rate limits of the address have expired before the calls with the second identifier.
        app.advance_clock(3_600);
    }
    assert_eq!(responses[0], responses[1]);
    let challenge_text = app.render_error(&Error::ChallengeRequired);
    assert!(
        responses[0].iter().any(|(response, _)| response.status == 429 || response.text == challenge_text),
        "no rate limit was reached"
    );
}

pub async fn a_disabled_account_is_revealed_only_by_the_right_password<D: DialectUnderTest>() {
    let app = D::new().await;
    let user = app.add_test_user().await;
    app.set_status(&user, UserStatus::Disabled).await;
    let (response, cost) = app.lab.measure_cost(app.login(0, PHONE, PASSWORD)).await;
    app.assert_fails_with(&response, &Error::Disabled);
    assert_eq!(cost, D::login_cost(PasswordGuess::Right));
    app.assert_fails_with(&app.login(0, PHONE, WRONG_PASSWORD).await, &Error::WrongPassword);
    app.set_status(&user, UserStatus::Active).await;
    app.advance_clock(1);
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
}

pub async fn a_password_set_by_an_administrator_is_accepted<D: DialectUnderTest>() {
    let app = D::new().await;
    let user = app.add_test_user().await;
    app.set_password(&user, "1").await;
    app.assert_fails_with(&app.login(0, PHONE, PASSWORD).await, &Error::WrongPassword);
    app.assert_accepted(app.login(0, PHONE, "1").await);
}
