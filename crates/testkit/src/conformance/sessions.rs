//! Sessions: lifetime, and revocation by a disabled account or a changed password.

use stele_core::user::UserStatus;

use super::{PASSWORD, PHONE, SessionDialect};

const HOUR: u64 = 3_600;

pub async fn each_login_opens_a_new_session<D: SessionDialect>() {
    let app = D::new().await;
    app.add_test_user().await;
    let first = app.open_session().await;
    let second = app.open_session().await;
    assert_ne!(first.expose(), second.expose());
    assert!(app.is_session_valid(&first).await && app.is_session_valid(&second).await);
}

pub async fn a_session_expires_twelve_hours_after_its_last_use<D: SessionDialect>() {
    let app = D::new().await;
    app.add_test_user().await;
    let unused = app.open_session().await;
    let used = app.open_session().await;
    app.advance_clock(11 * HOUR);
    assert!(app.is_session_valid(&used).await);
    app.advance_clock(HOUR);
    assert!(!app.is_session_valid(&unused).await);
    app.advance_clock(10 * HOUR);
    assert!(app.is_session_valid(&used).await);
    app.advance_clock(12 * HOUR);
    assert!(!app.is_session_valid(&used).await);
}

pub async fn disabling_a_user_revokes_their_sessions_permanently<D: SessionDialect>() {
    let app = D::new().await;
    let user = app.add_test_user().await;
    let session = app.open_session().await;
    for status in [UserStatus::Disabled, UserStatus::Active] {
        app.set_status(&user, status).await;
        assert!(!app.is_session_valid(&session).await);
    }
}

pub async fn a_password_set_by_an_administrator_revokes_sessions<D: SessionDialect>() {
    let app = D::new().await;
    let user = app.add_test_user().await;
    let session = app.open_session().await;
    app.set_password(&user, PASSWORD).await;
    assert!(!app.is_session_valid(&session).await, "even if the new password is the same");
    app.advance_clock(1);
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
}
