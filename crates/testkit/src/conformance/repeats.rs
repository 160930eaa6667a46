//! Logins that a client sends once more because it lost the answer (`STELE_REPEAT_WINDOW`).

use std::time::Duration;

use futures_util::future::join_all;
use stele_core::Error;

use super::salted::{login_at, salted};
use super::{BEHIND_PROXY, DialectUnderTest, PASSWORD, PHONE, SaltedDialect, SessionDialect, WRONG};
use crate::Answer;

const WINDOW: [(&str, &str); 2] = [("STELE_REPEAT_WINDOW", "10s"), BEHIND_PROXY];

async fn app<D: SaltedDialect>(settings: &[(&str, &str)]) -> D {
    let app = D::with(&[&WINDOW, settings].concat()).await;
    app.mark().await;
    app
}

/// Logs in from the `origin`-th address with the proof of `at`.
async fn from<D: SaltedDialect>(app: &D, origin: u8, at: i64) -> Answer {
    app.log_in_with(origin, D::proof_fields(PHONE, &salted(PASSWORD, at), at)).await
}

pub async fn a_login_may_be_repeated_once_from_its_address<D: SaltedDialect + SessionDialect>() {
    let app: D = app(&[]).await;
    let at = app.now();
    let first = app.assert_accepted(from(&app, 1, at).await);
    // Others neither get in by it nor use it up.
    app.fails(&from(&app, 2, at).await, &Error::Replayed);
    app.wait(9);
    let second = app.assert_accepted(from(&app, 1, at).await);
    assert_ne!(app.session(&first).expose(), app.session(&second).expose(), "each has a session of its own");
    assert!(app.lives(&app.session(&first)).await && app.lives(&app.session(&second)).await);
    for origin in [1, 2] {
        app.fails(&from(&app, origin, at).await, &Error::Replayed);
    }
    // The window is the first one's.
    app.assert_accepted(from(&app, 1, at + 1).await);
    app.wait(10);
    app.fails(&from(&app, 1, at + 1).await, &Error::Replayed);
}

pub async fn without_a_window_no_login_is_repeated<D: SaltedDialect>() {
    let app: D = app(&[("STELE_REPEAT_WINDOW", "0")]).await;
    app.assert_accepted(from(&app, 1, app.now()).await);
    app.fails(&from(&app, 1, app.now()).await, &Error::Replayed);
}

pub async fn a_repeated_login_costs_what_the_first_one_did<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    let at = app.now();
    for _ in 0..2 {
        let (answer, work) = app.lab.work(from(&app, 1, at)).await;
        app.assert_accepted(answer);
        assert_eq!(work, D::login_cost(true));
    }
}

pub async fn of_many_at_once_two_get_in<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    let other = D::start(app.lab.another().await).await;
    let at = app.now();
    let answers = join_all((0..12).map(|n| from(if n % 2 == 0 { &app } else { &other }, 1, at))).await;
    assert_eq!(answers.iter().filter(|answer| D::accepted(answer)).count(), 2, "{answers:?}");
    let refused = answers.iter().filter(|answer| !D::accepted(answer));
    refused.for_each(|answer| app.fails(answer, &Error::Replayed));
}

pub async fn a_repeated_login_is_within_the_limits<D: SaltedDialect>() {
    let app: D = app(&[]).await;
    let at = app.now();
    app.assert_accepted(from(&app, 1, at).await);
    for _ in 0..6 {
        app.fails(&DialectUnderTest::login(&app, 1, PHONE, WRONG).await, &Error::WrongPassword);
    }
    app.fails(&from(&app, 1, at).await, &Error::TooMany { retry_after: Duration::from_secs(1) });
    app.wait(1);
    app.assert_accepted(from(&app, 1, at).await);
    app.fails(&from(&app, 1, at).await, &Error::Replayed);
}

pub async fn without_a_skew_a_login_may_be_repeated_as_well<D: SaltedDialect>() {
    let app: D = app(&[("STELE_TIMESTAMP_SKEW", "0")]).await;
    app.assert_accepted(from(&app, 1, 1).await);
    app.fails(&from(&app, 2, 1).await, &Error::Replayed);
    app.assert_accepted(from(&app, 1, 1).await);
    app.fails(&from(&app, 1, 1).await, &Error::Replayed);
    // The proof is remembered for longer than it may be repeated.
    app.assert_accepted(login_at(&app, PHONE, PASSWORD, 2).await);
    app.wait(10);
    app.fails(&login_at(&app, PHONE, PASSWORD, 2).await, &Error::Replayed);
}
