//! Logging in: who is let in, what an unknown user is answered, and what it costs.

use stele_core::Error;

use super::{DialectUnderTest, PASSWORD, PHONE, STRANGER, WRONG};

pub async fn a_user_logs_in_by_every_identifier<D: DialectUnderTest>() {
    let app = D::new().await;
    app.mark().await;
    for identifier in D::identifiers() {
        app.wait(1);
        app.assert_accepted(app.login(0, identifier, PASSWORD).await);
    }
}

pub async fn an_unknown_user_is_answered_and_costs_what_a_wrong_password_does<D: DialectUnderTest>() {
    let app = D::with(D::INDISTINCT).await;
    app.mark().await;
    let wrong = app.login(0, PHONE, WRONG).await;
    app.fails(&wrong, &Error::WrongPassword);
    let long = "x".repeat(1_000);
    let nonsense = ["noone", "noone@qq.com", "no\u{1}one", " ", "4", "100001", &long];
    let unknown = [STRANGER].into_iter().chain(nonsense.into_iter().filter(|_| D::TAKES_NONSENSE));
    for identifier in [PHONE].into_iter().chain(unknown) {
        let (answer, work) = app.lab.work(app.login(0, identifier, WRONG)).await;
        assert_eq!(answer, wrong, "{identifier}");
        assert_eq!(work, D::login_cost(false), "{identifier}");
    }
}

pub async fn a_login_costs_no_more_than_it_must<D: DialectUnderTest>() {
    let app = D::new().await;
    app.mark().await;
    let (answer, work) = app.lab.work(app.login(0, PHONE, PASSWORD)).await;
    app.assert_accepted(answer);
    assert_eq!(work, D::login_cost(true));
}

/// What single calls cannot show: the owner's login in the middle changes nothing for others.
pub async fn a_sequence_of_calls_answers_and_costs_the_same_for_an_unknown_user<D: DialectUnderTest>() {
    let app = D::with(D::INDISTINCT).await;
    app.mark().await;
    let mut seen = Vec::new();
    for identifier in [PHONE, STRANGER] {
        let mut calls = Vec::new();
        for n in 0..16 {
            if n == 4 {
                app.lab.owner_logs_in(PHONE, PASSWORD).await;
            }
            calls.push(app.lab.work(app.stranger_calls(n, identifier)).await);
            app.wait(1);
        }
        seen.push(calls);
        // What an address may ask for is as much for the second as it was for the first.
        app.wait(3_600);
    }
    assert_eq!(seen[0], seen[1]);
    let asked = app.answer_to(&Error::ChallengeRequired);
    assert!(seen[0].iter().any(|(answer, _)| answer.status == 429 || answer.text == asked), "the limits were met");
}

pub async fn a_disabled_user_is_refused_only_with_the_right_password<D: DialectUnderTest>() {
    let app = D::new().await;
    let user = app.mark().await;
    app.disable(&user, true).await;
    let (answer, work) = app.lab.work(app.login(0, PHONE, PASSWORD)).await;
    app.fails(&answer, &Error::Disabled);
    assert_eq!(work, D::login_cost(true));
    app.fails(&app.login(0, PHONE, WRONG).await, &Error::WrongPassword);
    app.disable(&user, false).await;
    app.wait(1);
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
}

pub async fn a_password_that_an_administrator_sets_works_here<D: DialectUnderTest>() {
    let app = D::new().await;
    let user = app.mark().await;
    app.set_password(&user, "1").await;
    app.fails(&app.login(0, PHONE, PASSWORD).await, &Error::WrongPassword);
    app.assert_accepted(app.login(0, PHONE, "1").await);
}
