//! `STELE_STATUS_200`: errors with HTTP status 200, for clients that ignore every other response.

use std::time::Duration;

use stele_core::Error;
use stele_dialect::{FieldError, RequestRejection};

use super::input::JSON;
use super::{DialectUnderTest, PASSWORD, PHONE};
use crate::test_app::response_parts;
use crate::{StoreState, TestResponse};

/// Asserts that an error has its usual body and `Retry-After`, status 200, and its real status in a header.
#[track_caller]
fn assert_hidden_status(response: &TestResponse, (status, retry_after, text): (u16, Option<u64>, String)) {
    response.assert_is(200, &text);
    assert_eq!(response.header("x-stele-status"), status.to_string(), "{response:?}");
    assert_eq!(response.retry_after(), retry_after, "{response:?}");
}

pub async fn errors_have_status_200_when_configured<D: DialectUnderTest>() {
    let app = D::with_settings(&[("STELE_STATUS_200", D::SERVICE.name)]).await;
    app.add_test_user().await;
    let render_rejection = |rejection: &RequestRejection| response_parts((D::SERVICE.render_rejection)(rejection));
    let render_error =
        |error: &Error| response_parts(stele_dialect::finish_error_response(error, (D::SERVICE.render_error)(error)));
    assert_hidden_status(
        &app.send(app.request("POST", "/nothing")).await,
        render_rejection(&RequestRejection::NotFound),
    );
    assert_hidden_status(
        &app.send(app.request("PUT", D::LOGIN_PATH)).await,
        render_rejection(&RequestRejection::MethodNotAllowed),
    );
    assert_hidden_status(
        &app.post_with_type(D::LOGIN_PATH, JSON, "{").await,
        render_rejection(&RequestRejection::InvalidInput(FieldError::MalformedRequest)),
    );
    assert_hidden_status(
        &app.post_with_type(D::LOGIN_PATH, JSON, " ".repeat(70_000)).await,
        render_rejection(&RequestRejection::BodyTooLarge),
    );
    let accepted = app.login(0, PHONE, PASSWORD).await;
    assert_eq!(app.assert_accepted(accepted).header("x-stele-status"), "");
    app.fail_until_locked_out(PHONE).await;
    let rate_limited = Error::RateLimited { retry_after: Duration::from_secs(1) };
    assert_hidden_status(&app.login(9, PHONE, PASSWORD).await, render_error(&rate_limited));
    app.lab.set_user_store(StoreState::Down);
    assert_hidden_status(&app.login(9, PHONE, PASSWORD).await, render_error(&Error::unavailable("")));
}

pub async fn errors_of_other_dialects_keep_their_status<D: DialectUnderTest>() {
    let other_dialect = if D::SERVICE.name == "jwt" { "tms" } else { "jwt" };
    let app = D::with_settings(&[("STELE_STATUS_200", other_dialect)]).await;
    let response = app.post_with_type(D::LOGIN_PATH, JSON, "{").await;
    app.assert_rejected(&response, &RequestRejection::InvalidInput(FieldError::MalformedRequest));
    assert_eq!(response.header("x-stele-status"), "");
}
