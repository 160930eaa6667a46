//! The cost of requests in store round trips. Registered clients and resource servers are cached for five seconds.

use stele_core::oauth::LegacyTokenType;
use stele_testkit::RequestCost;

use crate::test_service::*;

#[tokio::test]
async fn an_introspection_is_one_trip_to_the_state_store_and_one_read_of_the_user() {
    let service = TestService::new().await;
    let token = service.user_token().await;
    let measure = async |hint: Option<LegacyTokenType>, token: &str| {
        let (is_active, cost) = service.lab.measure_cost(service.is_active(hint, token)).await;
        assert!(is_active);
        cost
    };
    assert!(service.is_active(None, &token).await);
    assert_eq!(measure(None, &token).await, RequestCost::new(0, &["find_ref"], &["session_revocation"]));
    for kind in LegacyTokenType::all().filter(|kind| kind.can_be_introspected()) {
        let token = service.legacy_token(kind).await;
        assert_eq!(measure(Some(kind), &token).await, RequestCost::new(0, &["find_ref"], &["session"]), "{kind:?}");
    }
    let own = access_token(&service.client_token(&service.web, &[("audience", "orders")]).await);
    assert_eq!(measure(None, &own).await, RequestCost::new(0, &[], &["session_revocation"]));
}

#[tokio::test]
async fn an_exchange_costs_what_the_session_costs() {
    let service = TestService::new().await;
    let token = service.user_token().await;
    let measure = async |token_type: &str, token: &str| {
        let exchange = service.exchange(&service.web, token_type, token, &[("audience", "orders")]);
        let (response, cost) = service.lab.measure_cost(exchange).await;
        access_token(&response);
        cost
    };
    for kind in LegacyTokenType::all() {
        let token = service.legacy_token(kind).await;
        let trips: &[_] = match kind {
            LegacyTokenType::MefpHandover => &["redeem_ticket", "session"],
            _ => &["session"],
        };
        assert_eq!(measure(kind.urn(), &token).await, RequestCost::new(0, &["find_ref"], trips), "{kind:?}");
    }
    assert_eq!(measure(ACCESS_TOKEN, &token).await, RequestCost::new(0, &["find_ref"], &["session_revocation"]));
    let grant = service.client_token(&service.web, &[("audience", "orders")]);
    assert_eq!(service.lab.measure_cost(grant).await.1, RequestCost::default());
}

/// A wrong secret is counted in one trip, for a known and an unknown client alike; a correct one makes none.
#[tokio::test]
async fn a_failed_authentication_is_one_trip() {
    let service = TestService::new().await;
    let wrong = Registered { secret: "wrong".to_owned(), ..service.web.clone() };
    access_token(&service.client_token(&service.web, &[("audience", "orders")]).await);
    let (response, cost) = service.lab.measure_cost(service.client_token(&wrong, &[("audience", "orders")])).await;
    response.assert_is(401, INVALID_CLIENT);
    assert_eq!(cost, RequestCost::new(0, &[], &["settle"]));
}
