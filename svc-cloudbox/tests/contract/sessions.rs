//! Session lifetime: what ends a session and what does not.

use stele_core::session::{NewSession, Session, Token};
use stele_testkit::MessageCode as _;
use stele_testkit::conformance::{DialectUnderTest as _, token_header_variants};

use crate::test_service::{BAD_TOKEN, LOGGED_OUT, LOGOUT, TestService, WRONG_CREDENTIALS};

const HOUR: u64 = 3_600;

#[tokio::test]
async fn pwdreset_revokes_all_older_sessions_and_opens_a_new_one() {
    let service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    service.lab.user("anna").add().await;
    let old = service.login("mark", "123456").await.token();
    let other_user = service.login("anna", "123456").await.token();
    service.advance_clock(1);
    let fresh = service.pwdreset(user.id.to_string(), "123456", "654321").await.token();
    service.logout(&old).await.assert_is(401, BAD_TOKEN);
    service.logout(&fresh).await.assert_is(200, LOGGED_OUT);
    service.logout(&other_user).await.assert_is(200, LOGGED_OUT);
}

#[tokio::test]
async fn a_failed_pwdreset_revokes_no_session() {
    let service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    let token = service.login("mark", "123456").await.token();
    service.pwdreset(user.id.to_string(), "wrong", "654321").await.assert_is(200, WRONG_CREDENTIALS);
    service.logout(&token).await.assert_is(200, LOGGED_OUT);
}

#[tokio::test]
async fn setting_the_same_password_revokes_sessions() {
    let service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    let old = service.login("mark", "123456").await.token();
    service.advance_clock(1);
    service.pwdreset(user.id.to_string(), "123456", "123456").await.token();
    service.logout(&old).await.assert_is(401, BAD_TOKEN);
}

#[tokio::test]
async fn a_login_beyond_the_session_limit_ends_the_oldest_session() {
    let service = TestService::with_settings(&[("STELE_SESSIONS_PER_USER", "3")]).await;
    let user = service.lab.user("mark").add().await;
    service.lab.user("anna").add().await;
    let other_user = service.login("anna", "123456").await.token();
    let mut tokens = Vec::new();
    for _ in 0..4 {
        service.advance_clock(1);
        tokens.push(service.login("mark", "123456").await.token());
    }
    // The password change leaves two revoked sessions, which are evicted before live ones.
    service.advance_clock(1);
    tokens.push(service.pwdreset(user.id.to_string(), "123456", "654321").await.token());
    for _ in 0..2 {
        service.advance_clock(1);
        tokens.push(service.login("mark", "654321").await.token());
    }
    let mut are_live = Vec::new();
    for token in &tokens {
        are_live.push(service.lab.use_cases().authenticate("cloudbox", &Token::parse(token).unwrap()).await.is_ok());
    }
    assert_eq!(are_live, [false, false, false, false, true, true, true]);
    service.advance_clock(1);
    service.login("mark", "654321").await.token();
    service.logout(&tokens[4]).await.assert_is(401, BAD_TOKEN);
    service.logout(&tokens[5]).await.assert_is(200, LOGGED_OUT);
    service.logout(&other_user).await.assert_is(200, LOGGED_OUT);
}

#[tokio::test]
async fn a_token_of_another_dialect_is_rejected() {
    let service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    let token = Token::parse("139a2d1c6f0a44909670f4e749a1397d").unwrap();
    let at = service.lab.clock().now();
    let session = Session {
        user: user.id,
        dialect: "tms".to_owned(),
        app: String::new(),
        created: at,
        expires: at.saturating_add(std::time::Duration::from_secs(HOUR)),
        last_seen: at,
        epoch: 0,
    };
    let new_session = NewSession { key: token.key(), session, max_per_user: 10_000 };
    service.lab.dependencies().state.open_session(&new_session).await.unwrap();
    service.logout(token.expose()).await.assert_is(401, BAD_TOKEN);
    service.lab.use_cases().authenticate("tms", &token).await.unwrap();
}

#[tokio::test]
async fn a_token_is_accepted_in_every_header_format() {
    let service = TestService::new().await;
    service.lab.user("mark").add().await;
    for n in 0..token_header_variants("").len() {
        service.advance_clock(1);
        let token = service.login("mark", "123456").await.token();
        let header = &token_header_variants(&token)[n];
        service.logout(header).await.assert_is(200, LOGGED_OUT);
        service.logout(header).await.assert_is(401, BAD_TOKEN);
    }
}

#[tokio::test]
async fn a_malformed_token_is_rejected() {
    let service = TestService::new().await;
    service.send(service.request("POST", LOGOUT)).await.assert_is(401, BAD_TOKEN);
    for invalid in ["", "Bearer", "Bearer ", "Basic bWFyazoxMjM0NTY=", "139a2d1c6f0a44909670f4e749a1397", "null", "é"]
    {
        let request = service.request("POST", LOGOUT).header("authorization", invalid.as_bytes());
        service.send(request).await.assert_is(401, BAD_TOKEN);
    }
    let unknown = "139a2d1c6f0a44909670f4e749a1397d";
    service.logout(unknown).await.assert_is(401, BAD_TOKEN);
    // Two headers are ambiguous, so the request is not authenticated.
    service.lab.user("mark").add().await;
    let token = service.login("mark", "123456").await.token();
    let two_headers = service.request("POST", LOGOUT).header("authorization", &token).header("authorization", &token);
    service.send(two_headers).await.assert_is(401, BAD_TOKEN);
}
