//! Fields that are there and empty: wrong ones.

use std::time::Duration;

use stele_core::Error;

use super::{DialectUnderTest, PASSWORD, PHONE, STRANGER, WRONG};

/// The fields of a login in which the password is there and empty.
fn without_password<D: DialectUnderTest>(app: &D, origin: u8, identifier: &str) -> Vec<(&'static str, String)> {
    let mut fields = app.login_fields(origin, identifier, "");
    fields.iter_mut().filter(|(name, _)| *name == "password").for_each(|(_, value)| value.clear());
    fields
}

pub async fn an_empty_password_is_a_wrong_one<D: DialectUnderTest>() {
    let app = D::with(D::INDISTINCT).await;
    app.mark().await;
    let wrong = app.login(0, PHONE, WRONG).await;
    app.fails(&wrong, &Error::WrongPassword);
    for identifier in [PHONE, STRANGER] {
        let (answer, work) = app.lab.work(app.log_in_with(0, without_password(&app, 0, identifier))).await;
        assert_eq!(answer, wrong, "{identifier}");
        assert_eq!(work, D::login_cost(false), "{identifier}");
    }
    // It is counted as one, too.
    let app = D::new().await;
    app.mark().await;
    for origin in 1..=5 {
        app.fails(&app.log_in_with(origin, without_password(&app, origin, PHONE)).await, &Error::WrongPassword);
    }
    app.fails(&app.login_challenged(6, PHONE, WRONG).await, &Error::WrongPassword);
    let wait = Error::TooMany { retry_after: Duration::from_secs(1) };
    app.fails(&app.login(0, PHONE, PASSWORD).await, &wait);
}

pub async fn an_empty_name_is_an_unknown_one<D: DialectUnderTest>() {
    if !D::TAKES_NONSENSE {
        return;
    }
    let app = D::with(D::INDISTINCT).await;
    app.mark().await;
    let wrong = app.login(0, PHONE, WRONG).await;
    let (answer, work) = app.lab.work(app.login(0, "", WRONG)).await;
    assert_eq!((answer, work), (wrong, D::login_cost(false)));
}
