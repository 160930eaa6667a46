//! `STELE_STATUS_200`: failures with HTTP 200, for clients that read no other answer.

use std::time::Duration;

use stele_core::Error;
use stele_dialect::{Fault, Refusal};

use super::input::JSON;
use super::{DialectUnderTest, PASSWORD, PHONE};
use crate::Answer;
use crate::app::shown;

/// Asserts that a failure reads as ever, but for its status, which a header has.
#[track_caller]
fn is_hidden(answer: &Answer, (status, retry_after, text): (u16, Option<u64>, String)) {
    answer.is(200, &text);
    assert_eq!(answer.header("x-stele-status"), status.to_string(), "{answer:?}");
    assert_eq!(answer.retry_after(), retry_after, "{answer:?}");
}

pub async fn failures_have_status_200_where_that_is_set<D: DialectUnderTest>() {
    let app = D::with(&[("STELE_STATUS_200", D::SERVICE.name)]).await;
    app.mark().await;
    let refused = |refusal: &Refusal| shown((D::SERVICE.refuse)(refusal));
    let failed = |error: &Error| shown(stele_dialect::failed(error, (D::SERVICE.fail)(error)));
    is_hidden(&app.send(app.request("POST", "/nothing")).await, refused(&Refusal::NotFound));
    is_hidden(&app.send(app.request("PUT", D::LOGIN)).await, refused(&Refusal::Method));
    is_hidden(&app.post_as(D::LOGIN, JSON, "{").await, refused(&Refusal::Input(Fault::Unreadable)));
    is_hidden(&app.post_as(D::LOGIN, JSON, " ".repeat(70_000)).await, refused(&Refusal::TooLarge));
    let accepted = app.login(0, PHONE, PASSWORD).await;
    assert_eq!(app.assert_accepted(accepted).header("x-stele-status"), "");
    app.exhaust(PHONE).await;
    let wait = Error::TooMany { retry_after: Duration::from_secs(1) };
    is_hidden(&app.login(9, PHONE, PASSWORD).await, failed(&wait));
    app.lab.users_down(true);
    is_hidden(&app.login(9, PHONE, PASSWORD).await, failed(&Error::unavailable("")));
}

pub async fn failures_of_other_dialects_keep_their_status<D: DialectUnderTest>() {
    let other = if D::SERVICE.name == "jwt" { "tms" } else { "jwt" };
    let app = D::with(&[("STELE_STATUS_200", other)]).await;
    let answer = app.post_as(D::LOGIN, JSON, "{").await;
    app.refuses(&answer, &Refusal::Input(Fault::Unreadable));
    assert_eq!(answer.header("x-stele-status"), "");
}
