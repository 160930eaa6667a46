//! Logging in: who is let in, what an unknown user is answered, and what it costs.

use stele_core::Error;

use super::{DialectUnderTest, PASSWORD, PHONE, UNKNOWN_PHONE, WRONG_PASSWORD};

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
    let unknown = [UNKNOWN_PHONE].into_iter().chain(nonsense.into_iter().filter(|_| D::ACCEPTS_ANY_IDENTIFIER));
    for identifier in [PHONE].into_iter().chain(unknown) {
        let (answer, work) = app.lab.measure_cost(app.login(0, identifier, WRONG_PASSWORD)).await;
        assert_eq!(answer, wrong, "{identifier}");
        assert_eq!(work, D::login_cost(false), "{identifier}");
    }
}

pub async fn a_login_makes_only_the_necessary_store_calls<D: DialectUnderTest>() {
    let app = D::new().await;
    app.add_test_user().await;
    let (answer, work) = app.lab.measure_cost(app.login(0, PHONE, PASSWORD)).await;
    app.assert_accepted(answer);
    assert_eq!(work, D::login_cost(true));
}

/// What single calls cannot show: the owner's login in the middle changes nothing for others.
pub async fn call_sequences_do_not_reveal_whether_a_user_exists<D: DialectUnderTest>() {
    let app = D::with_settings(D::UNIFORM_ERROR_SETTINGS).await;
    app.add_test_user().await;
    let mut seen = Vec::new();
    for identifier in [PHONE, UNKNOWN_PHONE] {
        let mut calls = Vec::new();
        for n in 0..16 {
            if n == 4 {
                app.lab.log_in_owner(PHONE, PASSWORD).await;
            }
            calls.push(app.lab.measure_cost(app.enumeration_probe(n, identifier)).await);
            app.advance_clock(1);
        }
        seen.push(calls);
        // What an address may ask for is as much for the second as it was for the first.
        app.advance_clock(3_600);
    }
    assert_eq!(seen[0], seen[1]);
    let asked = app.render_error(&Error::ChallengeRequired);
    assert!(seen[0].iter().any(|(answer, _)| answer.status == 429 || answer.text == asked), "the limits were met");
}

pub async fn a_disabled_account_is_revealed_only_by_the_right_password<D: DialectUnderTest>() {
    let app = D::new().await;
    let user = app.add_test_user().await;
    app.set_disabled(&user, true).await;
    let (answer, work) = app.lab.measure_cost(app.login(0, PHONE, PASSWORD)).await;
    app.assert_fails_with(&answer, &Error::Disabled);
    assert_eq!(work, D::login_cost(true));
    app.assert_fails_with(&app.login(0, PHONE, WRONG_PASSWORD).await, &Error::WrongPassword);
    app.set_disabled(&user, false).await;
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
