//! Outages: nothing is granted, said to be valid or revoked while a store is down, and nothing is consumed in vain.

use serde_json::json;
use stele_core::oauth::LegacyTokenType;
use stele_testkit::{STORES, StoreState, TestResponse};

use crate::test_service::*;

#[track_caller]
fn assert_unavailable(response: &TestResponse) {
    assert_eq!((response.status, &response.json()["error"]), (503, &json!("temporarily_unavailable")), "{response:?}");
    assert!(response.retry_after().is_some());
    assert!(!response.text.contains("secret") && !response.text.contains("postgres"), "{response:?}");
}

#[tokio::test]
async fn nothing_is_granted_while_a_store_is_down() {
    let service = TestService::new().await;
    let tms = service.log_in("tms").await;
    let login = service.login_jwt().await;
    let token = service.user_token().await;
    let own = access_token(&service.client_token(&service.web, &[("audience", "orders")]).await);
    for (name, set_state) in STORES {
        set_state(&service.lab, StoreState::Down);
        // What is registered was cached, and is not answered from the cache after five seconds.
        service.advance_clock(6);
        for (kind, text) in [(LegacyTokenType::TmsSession, tms.expose()), (LegacyTokenType::JwtLogin, login.as_str())] {
            assert_unavailable(&service.exchange_legacy(kind, text).await);
            assert_unavailable(&service.introspect(&service.orders, Some(kind.urn()), text).await);
        }
        for text in [&token, &own] {
            let exchange = service.exchange(&service.web, ACCESS_TOKEN, text, &[("audience", "orders")]).await;
            assert!(exchange.status == 503 || (text == &own && exchange.status == 400), "{name} {exchange:?}");
            assert_unavailable(&service.introspect(&service.orders, None, text).await);
            assert_unavailable(&service.post(REVOKE, &service.web, &[("token", text)]).await);
        }
        let wrong = Registered { secret: "wrong".to_owned(), ..service.web.clone() };
        assert_unavailable(&service.client_token(&wrong, &[("audience", "orders")]).await);
        set_state(&service.lab, StoreState::Up);
    }
    // Nothing of this had an effect.
    assert!(service.is_active(None, &token).await && service.is_active(None, &own).await);
    access_token(&service.exchange_legacy(LegacyTokenType::TmsSession, tms.expose()).await);
}

/// A handover whose redemption is not answered is lost: it may have been redeemed.
#[tokio::test]
async fn a_lost_response_of_the_store_grants_nothing() {
    let service = TestService::new().await;
    let token = service.handover_token(APP).await;
    service.lab.lose_responses_to("redeem_ticket");
    assert_unavailable(&service.exchange_legacy(LegacyTokenType::MefpHandover, &token).await);
    service.lab.set_store_observer(None);
    service.exchange_legacy(LegacyTokenType::MefpHandover, &token).await.assert_is(400, BAD_SUBJECT);

    let token = service.user_token().await;
    service.lab.lose_responses_to("revoke_token");
    assert_unavailable(&service.post(REVOKE, &service.web, &[("token", &token)]).await);
    service.lab.set_store_observer(None);
    assert!(!service.is_active(None, &token).await);
}

/// A state store that lost its contents has no sessions, so that no user's token is valid.
#[tokio::test]
async fn a_session_that_the_store_has_lost_ends_its_tokens() {
    let service = TestService::new().await;
    let token = service.user_token().await;
    let session = stele_core::session::TokenKey::parse(claims(&token)["sid"].as_str().unwrap()).unwrap();
    assert!(service.is_active(None, &token).await);
    assert!(service.lab.dependencies().state.end_session(&session, service.user.id).await.unwrap());
    assert!(!service.is_active(None, &token).await);
}
