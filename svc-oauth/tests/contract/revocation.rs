//! Revocation (RFC 7009) of access tokens.

use serde_json::json;
use stele_core::oauth::LegacyTokenType;

use crate::test_service::*;

/// RFC 7009 §2.1, §2.2.
#[tokio::test]
async fn a_client_revokes_its_own_tokens() {
    let service = TestService::new().await;
    let own = access_token(&service.client_token(&service.web, &[("audience", "orders")]).await);
    let (user, other) = (service.user_token().await, service.user_token().await);
    for hint in [None, Some("access_token"), Some("refresh_token"), Some("unknown")] {
        for token in [&own, &user] {
            let mut parameters = vec![("token", token.as_str())];
            parameters.extend(hint.map(|hint| ("token_type_hint", hint)));
            service.post(REVOKE, &service.web, &parameters).await.assert_is(200, "{}");
            assert!(!service.is_active(None, token).await, "{hint:?}");
        }
    }
    assert!(service.is_active(None, &other).await);
    // The revocation is remembered for as long as the token would be valid.
    service.advance_clock(299);
    assert!(!service.is_active(None, &user).await && service.is_active(None, &other).await);
}

/// RFC 7009 §2.2: "invalid tokens do not cause an error response". A legacy session is not ended by a client.
#[tokio::test]
async fn an_unknown_token_is_no_error_and_a_legacy_token_is_left_alone() {
    let service = TestService::new().await;
    let session = service.log_in("tms").await;
    let login = service.login_jwt().await;
    for token in ["x", "a.b.c", &"a".repeat(30_000), session.expose(), &login] {
        for hint in ["access_token", LegacyTokenType::TmsSession.urn(), LegacyTokenType::JwtLogin.urn()] {
            let parameters = [("token", token), ("token_type_hint", hint)];
            service.post(REVOKE, &service.web, &parameters).await.assert_is(200, "{}");
        }
    }
    assert!(service.is_active(Some(LegacyTokenType::TmsSession), session.expose()).await);
    assert!(service.is_active(Some(LegacyTokenType::JwtLogin), &login).await);
    let expired = service.user_token().await;
    service.advance_clock(300);
    service.post(REVOKE, &service.web, &[("token", &expired)]).await.assert_is(200, "{}");
}

/// RFC 7009 §2.1: another client's token is refused; §2: the client must authenticate.
#[tokio::test]
async fn a_client_cannot_revoke_the_token_of_another() {
    let service = TestService::new().await;
    let other = service.add_client("other", |client| client).await;
    let token = service.user_token().await;
    let response = service.post(REVOKE, &other, &[("token", &token)]).await;
    assert_eq!((response.status, &response.json()["error"]), (400, &json!("invalid_request")));
    service.post(REVOKE, &service.orders, &[("token", &token)]).await.assert_is(401, INVALID_CLIENT);
    service.post_form(REVOKE, &[("token", &token)], |request| request).await.assert_is(401, INVALID_CLIENT);
    let response = service.post(REVOKE, &service.web, &[]).await;
    assert_eq!((response.status, &response.json()["error"]), (400, &json!("invalid_request")));
    assert!(service.is_active(None, &token).await);
}
