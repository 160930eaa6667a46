//! Lifetimes that differ: a login JWT ends at its `exp`, although use extends its session; a client ends when it is
//! removed, although a service knows of it for five seconds more.

use std::time::Duration;

use stele_core::oauth::{ClientId, LegacyTokenType, OAuthClient, Scope};

use crate::test_service::*;

/// Checklist 59 and 62 (RFC 7662 §2.2, RFC 8693 §5): what is answered about a login JWT and exchanged from it ends with
/// it.
#[tokio::test]
async fn nothing_outlives_a_login_jwt_whose_session_is_extended() {
    let service = TestService::with_settings(&[("STELE_SESSION_TTL", "600")]).await;
    let kind = LegacyTokenType::JwtLogin;
    let token = service.login_jwt().await;
    let end = claims(&token)["exp"].as_i64().unwrap();
    assert_eq!(end, service.now() + 600);
    let introspect = async || service.introspect(&service.orders, Some(kind.urn()), &token).await.json();
    service.advance_clock(500);
    assert_eq!(introspect().await["exp"], end);
    let exchanged = service.exchange_legacy(kind, &token).await;
    assert_eq!(exchanged.json()["expires_in"], 100);
    let exchanged = access_token(&exchanged);
    assert_eq!(claims(&exchanged)["exp"], end);
    service.advance_clock(99);
    assert_eq!(introspect().await["exp"], end);
    assert_eq!(service.exchange_legacy(kind, &token).await.json()["expires_in"], 1);
    service.advance_clock(1);
    assert!(!service.is_active(Some(kind), &token).await);
    assert!(!service.is_active(None, &exchanged).await);
}

/// A service that still knows a removed client grants tokens to its old secret. A client that is added under the same id
/// meanwhile, with fewer permissions, does not make them its own.
#[tokio::test]
async fn a_token_that_was_granted_to_a_removed_client_is_not_its_successors() {
    let service = TestService::new().await;
    let old = service.add_client("shop", |client| client).await;
    let before = access_token(&service.client_token(&old, &[("audience", "orders")]).await);
    assert!(service.is_active(None, &before).await);
    assert!(service.lab.oauth_registry().remove_client(&ClientId::parse("shop").unwrap()).await.unwrap());
    service.lab.clock().advance(Duration::from_millis(1));
    let new = service.add_client("shop", |client| OAuthClient { scopes: Scope::default(), ..client }).await;
    service.advance_clock(1);
    let granted = service.client_token(&old, &[("audience", "orders")]).await;
    let after = access_token(&granted);
    assert_eq!(granted.json()["scope"], "read write", "the service still knows the removed client");
    service.advance_clock(6);
    assert!(!service.is_active(None, &before).await);
    assert!(!service.is_active(None, &after).await);
    service.exchange(&new, ACCESS_TOKEN, &after, &[("audience", "orders")]).await.assert_is(400, BAD_SUBJECT);
    let own = access_token(&service.client_token(&new, &[("audience", "orders")]).await);
    assert!(service.is_active(None, &own).await);
}
