//! Lifetimes that differ: a login JWT ends at its `exp`, although use extends its session.

use stele_core::oauth::LegacyTokenType;

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
