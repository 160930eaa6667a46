//! Empty fields count as wrong values, not as missing fields.

use std::time::Duration;

use stele_core::Error;

use super::{DialectUnderTest, PASSWORD, PHONE, PasswordGuess, UNKNOWN_PHONE, WRONG_PASSWORD};

/// The fields of a login with an empty password.
fn fields_with_empty_password<D: DialectUnderTest>(
    app: &D,
    origin: u8,
    identifier: &str,
) -> Vec<(&'static str, String)> {
    let mut fields = app.login_fields(origin, identifier, "");
    fields.iter_mut().filter(|(name, _)| *name == "password").for_each(|(_, value)| value.clear());
    fields
}

pub async fn an_empty_password_counts_as_wrong<D: DialectUnderTest>() {
    let app = D::with_settings(D::UNIFORM_ERROR_SETTINGS).await;
    app.add_test_user().await;
    let wrong = app.login(0, PHONE, WRONG_PASSWORD).await;
    app.assert_fails_with(&wrong, &Error::WrongPassword);
    for identifier in [PHONE, UNKNOWN_PHONE] {
        let (response, cost) =
            app.lab.measure_cost(app.login_with_fields(0, fields_with_empty_password(&app, 0, identifier))).await;
        assert_eq!(response, wrong, "{identifier}");
        assert_eq!(cost, D::login_cost(PasswordGuess::Wrong), "{identifier}");
    }
    // An empty password also counts as a failure.
    let app = D::new().await;
    app.add_test_user().await;
    for origin in 1..=5 {
        app.assert_fails_with(
            &app.login_with_fields(origin, fields_with_empty_password(&app, origin, PHONE)).await,
            &Error::WrongPassword,
        );
    }
    app.assert_fails_with(&app.login_after_challenge(6, PHONE, WRONG_PASSWORD).await, &Error::WrongPassword);
    let rate_limited = Error::RateLimited { retry_after: Duration::from_secs(1) };
    app.assert_fails_with(&app.login(0, PHONE, PASSWORD).await, &rate_limited);
}

pub async fn an_empty_identifier_counts_as_unknown<D: DialectUnderTest>() {
    if !D::ACCEPTS_ANY_IDENTIFIER {
        return;
    }
    let app = D::with_settings(D::UNIFORM_ERROR_SETTINGS).await;
    app.add_test_user().await;
    let wrong = app.login(0, PHONE, WRONG_PASSWORD).await;
    let (response, cost) = app.lab.measure_cost(app.login(0, "", WRONG_PASSWORD)).await;
    assert_eq!((response, cost), (wrong, D::login_cost(PasswordGuess::Wrong)));
}
