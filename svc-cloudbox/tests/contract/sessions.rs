//! How long a session lives and what ends it.

use stele_core::session::{NewSession, Session, Token};
use stele_testkit::MessageCode as _;
use stele_testkit::conformance::{DialectUnderTest as _, token_header_variants};

use crate::test_service::{BAD_TOKEN, LOGGED_OUT, LOGOUT, TestService, WRONG_CREDENTIALS};

const HOUR: u64 = 3_600;

#[tokio::test]
async fn pwdreset_ends_all_older_sessions_and_opens_a_new_one() {
    let app = TestService::new().await;
    let user = app.lab.user("mark").add().await;
    app.lab.user("anna").add().await;
    let old = app.login("mark", "123456").await.token();
    let other_user = app.login("anna", "123456").await.token();
    app.advance_clock(1);
    let fresh = app.pwdreset(user.id.to_string(), "123456", "654321").await.token();
    app.logout(&old).await.assert_is(401, BAD_TOKEN);
    app.logout(&fresh).await.assert_is(200, LOGGED_OUT);
    app.logout(&other_user).await.assert_is(200, LOGGED_OUT);
}

#[tokio::test]
async fn a_failed_pwdreset_ends_no_session() {
    let app = TestService::new().await;
    let user = app.lab.user("mark").add().await;
    let token = app.login("mark", "123456").await.token();
    app.pwdreset(user.id.to_string(), "wrong", "654321").await.assert_is(200, WRONG_CREDENTIALS);
    app.logout(&token).await.assert_is(200, LOGGED_OUT);
}

#[tokio::test]
async fn setting_the_same_password_ends_sessions() {
    let app = TestService::new().await;
    let user = app.lab.user("mark").add().await;
    let old = app.login("mark", "123456").await.token();
    app.advance_clock(1);
    app.pwdreset(user.id.to_string(), "123456", "123456").await.token();
    app.logout(&old).await.assert_is(401, BAD_TOKEN);
}

#[tokio::test]
async fn a_login_beyond_the_session_limit_ends_the_oldest_session() {
    let app = TestService::with_settings(&[("STELE_SESSIONS_PER_USER", "3")]).await;
    let user = app.lab.user("mark").add().await;
    app.lab.user("anna").add().await;
    let other_user = app.login("anna", "123456").await.token();
    let mut tokens = Vec::new();
    for _ in 0..4 {
        app.advance_clock(1);
        tokens.push(app.login("mark", "123456").await.token());
    }
    // A new password leaves two that are dead; they fall out before those that live.
    app.advance_clock(1);
    tokens.push(app.pwdreset(user.id.to_string(), "123456", "654321").await.token());
    for _ in 0..2 {
        app.advance_clock(1);
        tokens.push(app.login("mark", "654321").await.token());
    }
    let mut alive = Vec::new();
    for token in &tokens {
        alive.push(app.lab.use_cases().authenticate("cloudbox", &Token::parse(token).unwrap()).await.is_ok());
    }
    assert_eq!(alive, [false, false, false, false, true, true, true]);
    app.advance_clock(1);
    app.login("mark", "654321").await.token();
    app.logout(&tokens[4]).await.assert_is(401, BAD_TOKEN);
    app.logout(&tokens[5]).await.assert_is(200, LOGGED_OUT);
    app.logout(&other_user).await.assert_is(200, LOGGED_OUT);
}

#[tokio::test]
async fn a_token_of_another_dialect_is_rejected() {
    let app = TestService::new().await;
    let user = app.lab.user("mark").add().await;
    let token = Token::parse("139a2d1c6f0a44909670f4e749a1397d").unwrap();
    let at = app.lab.clock().now();
    let session = Session {
        user: user.id,
        dialect: "tms".to_owned(),
        app: String::new(),
        created: at,
        expires: at.saturating_add(std::time::Duration::from_secs(HOUR)),
        last_seen: at,
        epoch: 0,
    };
    let new = NewSession { key: token.key(), session, max_per_user: 10_000 };
    app.lab.dependencies().state.open_session(&new).await.unwrap();
    app.logout(token.expose()).await.assert_is(401, BAD_TOKEN);
    app.lab.use_cases().authenticate("tms", &token).await.unwrap();
}

#[tokio::test]
async fn a_token_is_accepted_in_every_header_format() {
    let app = TestService::new().await;
    app.lab.user("mark").add().await;
    for n in 0..token_header_variants("").len() {
        app.advance_clock(1);
        let token = app.login("mark", "123456").await.token();
        let written = &token_header_variants(&token)[n];
        app.logout(written).await.assert_is(200, LOGGED_OUT);
        app.logout(written).await.assert_is(401, BAD_TOKEN);
    }
}

#[tokio::test]
async fn a_malformed_token_is_rejected() {
    let app = TestService::new().await;
    app.send(app.request("POST", LOGOUT)).await.assert_is(401, BAD_TOKEN);
    for bad in ["", "Bearer", "Bearer ", "Basic bWFyazoxMjM0NTY=", "139a2d1c6f0a44909670f4e749a1397", "null", "é"] {
        let request = app.request("POST", LOGOUT).header("authorization", bad.as_bytes());
        app.send(request).await.assert_is(401, BAD_TOKEN);
    }
    let unknown = "139a2d1c6f0a44909670f4e749a1397d";
    app.logout(unknown).await.assert_is(401, BAD_TOKEN);
    // Two tokens are none: which of them counts must not hang on who reads first.
    app.lab.user("mark").add().await;
    let token = app.login("mark", "123456").await.token();
    let two = app.request("POST", LOGOUT).header("authorization", &token).header("authorization", &token);
    app.send(two).await.assert_is(401, BAD_TOKEN);
}
