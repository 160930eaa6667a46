//! Introspection (RFC 7662) of access tokens and legacy tokens, and attack A18: a resource server learns nothing about
//! tokens that do not concern it.

use std::collections::BTreeSet;

use serde_json::json;
use stele_core::oauth::{ClientId, LegacyTokenType, OAuthClient, TokenLookup};
use stele_core::random::OsRandom;
use stele_core::session::Token;
use stele_core::user::UserStatus;
use stele_testkit::{RequestCost, TestResponse};

use crate::test_service::*;

fn introspectable() -> impl Iterator<Item = LegacyTokenType> {
    LegacyTokenType::all().filter(|kind| kind.lookup() != TokenLookup::Handover)
}

/// RFC 7662 §2.1, §4: the caller must authenticate. Clients are no resource servers.
#[tokio::test]
async fn only_resource_servers_may_introspect() {
    let service = TestService::new().await;
    let token = service.user_token().await;
    let parameters = [("token", token.as_str())];
    for caller in [
        service.web.clone(),
        Registered { secret: service.billing.secret.clone(), ..service.orders.clone() },
        Registered { id: "unknown".to_owned(), ..service.orders.clone() },
    ] {
        let response = service.post(INTROSPECT, &caller, &parameters).await;
        response.assert_is(401, INVALID_CLIENT);
        assert!(response.header("www-authenticate").starts_with("Basic "));
    }
    service.post_form(INTROSPECT, &parameters, |request| request).await.assert_is(401, INVALID_CLIENT);
    service
        .post_form(INTROSPECT, &parameters, |request| request.bearer_auth(&token))
        .await
        .assert_is(401, INVALID_CLIENT);
    let response = service.post(INTROSPECT, &service.orders, &[("token_type_hint", "access_token")]).await;
    assert_eq!((response.status, &response.json()["error"]), (400, &json!("invalid_request")));
    let Registered { id, secret } = &service.orders;
    let in_body = [("token", token.as_str()), ("client_id", id), ("client_secret", secret)];
    assert_eq!(service.post_form(INTROSPECT, &in_body, |request| request).await.json()["active"], true);
}

/// RFC 7662 §2.2: the members of an access token. Any other hint is ignored (§2.1).
#[tokio::test]
async fn an_access_token_is_described_to_its_audience() {
    let service = TestService::new().await;
    let token = service.user_token().await;
    let claims = claims(&token);
    let mut expected = claims.clone();
    expected["active"] = json!(true);
    expected["token_type"] = json!("Bearer");
    for hint in [None, Some("access_token"), Some("refresh_token"), Some(""), Some("urn:stele:token-type:unknown")] {
        let response = service.introspect(&service.orders, hint, &token).await;
        assert_eq!((response.status, response.json()), (200, expected.clone()), "{hint:?}");
    }
    let own = access_token(&service.client_token(&service.web, &[("audience", "orders")]).await);
    let answer = service.introspect(&service.orders, None, &own).await.json();
    assert_eq!((&answer["active"], &answer["sub"], answer.get("sid")), (&json!(true), &json!("web"), None));
}

/// RFC 7662 §2.2 for legacy tokens: one call instead of a query to the old database.
#[tokio::test]
async fn a_legacy_token_is_described() {
    let service = TestService::new().await;
    for kind in introspectable() {
        let login = service.now();
        let token = service.legacy_token(kind).await;
        service.advance_clock(5);
        let answer = service.introspect(&service.orders, Some(kind.urn()), &token).await.json();
        let session_token = match kind {
            LegacyTokenType::JwtLogin => claims(&token)["jti"].as_str().unwrap().to_owned(),
            _ => token.clone(),
        };
        let sid = stele_core::hex::encode(&Token::parse(&session_token).unwrap().key().0);
        assert_eq!(
            answer,
            json!({
                "active": true, "token_type": kind.urn(), "username": "mark", "iss": ISSUER,
                "sub": service.user.id.to_string(), "aud": ORDERS_URI, "exp": login + 43_200, "iat": login, "sid": sid,
                "acr": kind.acr().uri(), "amr": ["pwd"], "auth_time": login,
            })
        );
        let answer = service.introspect(&service.billing, Some(kind.urn()), &token).await.json();
        assert_eq!(answer["aud"], BILLING_URN);
    }
}

/// `exp` is true at that instant (synapse#18231): an introspection extends a legacy session like a use at its dialect.
#[tokio::test]
async fn introspection_extends_a_legacy_session_and_answers_its_expiry() {
    let service = TestService::with_settings(&[("STELE_SESSION_TTL", "600")]).await;
    let kind = LegacyTokenType::TmsSession;
    let session = service.log_in("tms").await;
    for _ in 0..3 {
        service.advance_clock(500);
        let answer = service.introspect(&service.orders, Some(kind.urn()), session.expose()).await.json();
        assert_eq!(answer["exp"], service.now() + 600);
    }
    service.advance_clock(599);
    // An access token does not extend its session.
    let token = access_token(&service.exchange_legacy(kind, session.expose()).await);
    service.advance_clock(299);
    assert!(service.is_active(None, &token).await);
    service.advance_clock(301);
    assert!(!service.is_active(Some(kind), session.expose()).await);
}

/// RFC 7662 §2.2, §4: everything that is not valid, or not the caller's, is `{"active":false}` and nothing else (A18).
#[tokio::test]
async fn everything_else_is_inactive() {
    let service = TestService::new().await;
    let token = service.user_token().await;
    assert!(service.is_active(None, &token).await);
    let inactive = async |caller: &Registered, hint: Option<&str>, token: &str| {
        service.introspect(caller, hint, token).await.assert_is(200, INACTIVE);
    };
    inactive(&service.billing, None, &token).await;
    let stock = service.add_resource("stock", None, &[LegacyTokenType::TmsSession]).await;
    inactive(&stock, None, &token).await;
    for kind in LegacyTokenType::all() {
        let legacy = service.legacy_token(kind).await;
        inactive(&service.orders, None, &legacy).await;
        inactive(&service.orders, Some("access_token"), &legacy).await;
        for other in LegacyTokenType::all().filter(|other| *other != kind) {
            inactive(&service.orders, Some(other.urn()), &legacy).await;
        }
        let is_listed = kind == LegacyTokenType::TmsSession;
        let answer = service.introspect(&stock, Some(kind.urn()), &legacy).await;
        assert_eq!(answer.json()["active"], is_listed, "{kind:?}");
    }
    for garbage in ["x", "a.b.c", "\u{0}", Token::generate(&OsRandom).expose(), &"a".repeat(30_000)] {
        inactive(&service.orders, None, garbage).await;
        for kind in LegacyTokenType::all() {
            inactive(&service.orders, Some(kind.urn()), garbage).await;
        }
    }
}

/// A one-time token is not introspected, because that would not consume it.
#[tokio::test]
async fn a_handover_cannot_be_introspected() {
    let service = TestService::new().await;
    let token = service.handover_token(APP).await;
    let urn = LegacyTokenType::MefpHandover.urn();
    service.introspect(&service.orders, Some(urn), &token).await.assert_is(200, INACTIVE);
    access_token(&service.exchange_legacy(LegacyTokenType::MefpHandover, &token).await);
}

/// A18: what is not the caller's costs the same store calls as garbage, in the same order, and gets the same bytes.
#[tokio::test]
async fn what_is_not_the_callers_is_indistinguishable_from_garbage() {
    let service = TestService::new().await;
    let stranger = service.add_resource("stranger", None, &[LegacyTokenType::CloudboxSession]).await;
    let access = service.user_token().await;
    let revoked = service.user_token().await;
    service.post(REVOKE, &service.web, &[("token", &revoked)]).await;
    let (tms, ended) = (service.log_in("tms").await, service.log_in("cloudbox").await);
    service.lab.use_cases().logout("cloudbox", &ended).await.unwrap();
    let (login, unknown) = (service.login_jwt().await, Token::generate(&OsRandom));
    let measure = async |hint: Option<&str>, token: &str| {
        service.lab.measure_cost(service.introspect(&stranger, hint, token)).await
    };
    // The resource server is cached from here on.
    let _ = measure(None, "x").await;
    let expect = async |hint: Option<&str>, tokens: &[&str]| {
        let mut answers: Vec<(TestResponse, RequestCost)> = Vec::new();
        for token in tokens {
            answers.push(measure(hint, token).await);
        }
        for (token, answer) in tokens.iter().zip(&answers) {
            answer.0.assert_is(200, INACTIVE);
            assert_eq!(answer, &answers[0], "{hint:?} {token}");
        }
        answers.remove(0).1
    };
    let one_trip = |call| RequestCost::new(0, &["find_ref"], &[call]);
    let cost = expect(None, &["x", "a.b.c", unknown.expose(), &access, &revoked, &login, tms.expose()]).await;
    assert_eq!(cost, one_trip("session_revocation"));
    let hint = LegacyTokenType::TmsSession.urn();
    let cost = expect(Some(hint), &["x", unknown.expose(), tms.expose(), ended.expose(), &access]).await;
    assert_eq!(cost, one_trip("session"));
    let hint = LegacyTokenType::JwtLogin.urn();
    assert_eq!(expect(Some(hint), &["x", "a.b.c", &login, &access]).await, one_trip("session"));
    // Of a listed type, a token of another dialect costs what an unknown one costs.
    let hint = LegacyTokenType::CloudboxSession.urn();
    assert_eq!(expect(Some(hint), &["x", unknown.expose(), tms.expose(), ended.expose()]).await, one_trip("session"));
    let own = service.log_in("cloudbox").await;
    let (answer, cost) = measure(Some(hint), own.expose()).await;
    assert_eq!((&answer.json()["active"], cost), (&json!(true), one_trip("session")));
}

/// Access tokens die at introspection with session, epoch, user, client and revocation.
#[tokio::test]
async fn an_access_token_dies_with_what_it_depends_on() {
    let service = TestService::new().await;
    let kind = LegacyTokenType::TmsSession;
    let session = service.log_in("tms").await;
    let token = access_token(&service.exchange_legacy(kind, session.expose()).await);
    assert!(service.is_active(None, &token).await);
    service.lab.use_cases().logout("tms", &session).await.unwrap();
    assert!(!service.is_active(None, &token).await, "session ended");

    let token = service.user_token().await;
    service.set_password(&service.user, PASSWORD).await;
    assert!(!service.is_active(None, &token).await, "password changed");

    let token = service.user_token().await;
    service.set_status(&service.user, UserStatus::Disabled).await;
    assert!(!service.is_active(None, &token).await, "user disabled");
    service.set_status(&service.user, UserStatus::Active).await;
    assert!(!service.is_active(None, &token).await, "user enabled again");

    let token = service.user_token().await;
    service.advance_clock(299);
    assert!(service.is_active(None, &token).await);
    service.advance_clock(1);
    assert!(!service.is_active(None, &token).await, "expired");
}

/// A token of a client that was removed dies within the five seconds that a registered client is cached, and stays dead
/// if a client of the same id is added.
#[tokio::test]
async fn an_access_token_dies_with_its_client() {
    let service = TestService::new().await;
    let gone = service.add_client("gone", |client| client).await;
    let token = access_token(&service.client_token(&gone, &[("audience", "orders")]).await);
    assert!(service.is_active(None, &token).await);
    assert!(service.lab.oauth_registry().remove_client(&ClientId::parse("gone").unwrap()).await.unwrap());
    service.advance_clock(6);
    assert!(!service.is_active(None, &token).await);
    service.add_client("gone", |client| OAuthClient { subject_types: BTreeSet::new(), ..client }).await;
    service.advance_clock(6);
    assert!(!service.is_active(None, &token).await);
    let other = access_token(&service.client_token(&service.web, &[("audience", "orders")]).await);
    assert!(service.is_active(None, &other).await);
}

/// A18: guesses at a resource server's secret are counted; a correct one passes.
#[tokio::test]
async fn guesses_at_a_resource_servers_secret_are_rate_limited() {
    let service = TestService::new().await;
    let wrong = Registered { secret: "wrong".to_owned(), ..service.orders.clone() };
    let mut statuses = Vec::new();
    for _ in 0..120 {
        statuses.push(service.post(INTROSPECT, &wrong, &[("token", "x")]).await.status);
    }
    assert_eq!((statuses[0], *statuses.last().unwrap()), (401, 429));
    let token = service.user_token().await;
    assert!(service.is_active(None, &token).await);
}
