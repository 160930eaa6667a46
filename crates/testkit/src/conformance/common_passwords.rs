//! Common passwords: a new password that is on the list is refused in the dialect's format, which uses nothing up.

use std::sync::Arc;

use stele_core::common_passwords::CommonPasswordPolicy;
use stele_core::policy::Policy;
use stele_core::{Dependencies, Error};

use super::{NewPasswordDialect, PHONE};

/// A password on the built-in list that is long enough for every dialect.
const COMMON_PASSWORD: &str = "woaini1314";
/// A password that is not on the list.
const OTHER_PASSWORD: &str = "a-harmless-yak";

/// Starts the service with this value of `STELE_PASSWORD_LIST`, adds the test user, and authorizes a new password.
async fn start<D: NewPasswordDialect>(policy: &str) -> (D, D::Authorization) {
    let app = D::with_settings(&[("STELE_PASSWORD_LIST", policy)]).await;
    let user = app.add_test_user().await;
    let authorization = app.authorize_new_password(&user).await;
    (app, authorization)
}

fn count<D: NewPasswordDialect>(app: &D, result: &str) -> u64 {
    let text = app.lab.context().metrics.render().unwrap();
    let series = format!("stele_common_passwords_total{{dialect=\"{}\",result=\"{result}\"}} ", D::SERVICE.name);
    text.lines().find_map(|line| line.strip_prefix(&series)).unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

pub async fn a_common_password_is_refused_and_uses_nothing_up<D: NewPasswordDialect>() {
    let (app, authorization) = start::<D>("refuse").await;
    // More requests than a code has attempts.
    for refused in 1..=6 {
        let response = app.set_new_password(&authorization, COMMON_PASSWORD).await;
        app.assert_fails_with(&response, &Error::CommonPassword);
        assert_eq!(count(&app, "refused"), refused);
    }
    app.assert_fails_with(&app.login(0, PHONE, COMMON_PASSWORD).await, &Error::WrongPassword);
    let response = app.set_new_password(&authorization, OTHER_PASSWORD).await;
    assert!(D::is_password_set(&response), "{response:?}");
    app.advance_clock(1);
    app.assert_accepted(app.login(0, PHONE, OTHER_PASSWORD).await);
    assert_eq!(count(&app, "accepted"), 0);
}

pub async fn a_common_password_is_refused_before_any_other_check<D: NewPasswordDialect>() {
    let (app, authorization) = start::<D>("refuse").await;
    app.set_password(&app.lab.use_cases().find_user(PHONE).await.unwrap(), "another-yak").await;
    let (response, cost) = app.lab.measure_cost(app.set_new_password(&authorization, COMMON_PASSWORD)).await;
    app.assert_fails_with(&response, &Error::CommonPassword);
    assert_eq!((cost.hashes, cost.state_store_calls), (0, Vec::new()));
}

pub async fn a_common_password_is_accepted_and_counted_if_the_policy_is_warn<D: NewPasswordDialect>() {
    let (app, authorization) = start::<D>("warn").await;
    let response = app.set_new_password(&authorization, COMMON_PASSWORD).await;
    assert!(D::is_password_set(&response), "{response:?}");
    app.advance_clock(1);
    app.assert_accepted(app.login(0, PHONE, COMMON_PASSWORD).await);
    assert_eq!((count(&app, "accepted"), count(&app, "refused")), (1, 0));
}

pub async fn an_old_common_password_is_accepted<D: NewPasswordDialect>() {
    let mut app = D::with_settings(&[("STELE_PASSWORD_LIST", "warn")]).await;
    let user = app.add_test_user().await;
    app.set_password(&user, COMMON_PASSWORD).await;
    let refuse = |dependencies: &mut Dependencies| {
        let policy = Policy { common_passwords: CommonPasswordPolicy::Refuse, ..(*dependencies.policy).clone() };
        dependencies.policy = Arc::new(policy);
    };
    app.service = app.lab.start_service_with(D::SERVICE, refuse).await;
    app.assert_accepted(app.login(0, PHONE, COMMON_PASSWORD).await);
}
