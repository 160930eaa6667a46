//! How long a session lives, and what ends it.

use super::{PASSWORD, PHONE, SessionDialect};

const HOUR: u64 = 3_600;

pub async fn each_login_opens_a_session_of_its_own<D: SessionDialect>() {
    let app = D::new().await;
    app.mark().await;
    let one = app.open_session().await;
    let two = app.open_session().await;
    assert_ne!(one.expose(), two.expose());
    assert!(app.lives(&one).await && app.lives(&two).await);
}

pub async fn a_session_lives_twelve_hours_after_its_last_use<D: SessionDialect>() {
    let app = D::new().await;
    app.mark().await;
    let unused = app.open_session().await;
    let used = app.open_session().await;
    app.wait(11 * HOUR);
    assert!(app.lives(&used).await);
    app.wait(HOUR);
    assert!(!app.lives(&unused).await);
    app.wait(10 * HOUR);
    assert!(app.lives(&used).await);
    app.wait(12 * HOUR);
    assert!(!app.lives(&used).await);
}

pub async fn disabling_a_user_ends_their_sessions_for_good<D: SessionDialect>() {
    let app = D::new().await;
    let user = app.mark().await;
    let session = app.open_session().await;
    for disabled in [true, false] {
        app.disable(&user, disabled).await;
        assert!(!app.lives(&session).await);
    }
}

pub async fn a_password_changed_elsewhere_ends_sessions<D: SessionDialect>() {
    let app = D::new().await;
    let user = app.mark().await;
    let session = app.open_session().await;
    app.set_password(&user, PASSWORD).await;
    assert!(!app.lives(&session).await, "also if it is the same password");
    app.wait(1);
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
}
