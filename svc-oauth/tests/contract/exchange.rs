//! Token exchange (RFC 8693): what the new token says, and that it never gains.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stele_core::mac::sha256;
use stele_core::oauth::{LegacyTokenType, OAuthClient, Scope, SubjectTokenType};
use stele_core::session::{Token, TokenKey};

use crate::test_service::*;

/// RFC 8693 §2.2.1, RFC 9068 §2.2: each kind of legacy token becomes a token that says how weak the login was.
#[tokio::test]
async fn each_legacy_token_becomes_an_access_token_with_its_strength() {
    let service = TestService::new().await;
    for (kind, acr) in [
        (LegacyTokenType::CloudboxSession, "urn:stele:acr:legacy"),
        (LegacyTokenType::TmsSession, "urn:stele:acr:legacy"),
        (LegacyTokenType::PortalSession, "urn:stele:acr:pwd"),
        (LegacyTokenType::JwtLogin, "urn:stele:acr:pwd"),
        (LegacyTokenType::MefpHandover, "urn:stele:acr:pwd"),
    ] {
        let login = service.now();
        let subject = service.legacy_token(kind).await;
        service.advance_clock(7);
        let response = service.exchange_legacy(kind, &subject).await;
        let token = access_token(&response);
        assert_eq!(
            response.json(),
            json!({
                "access_token": token, "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 300,
                "scope": "read write",
            })
        );
        let claims = claims(&token);
        let (jti, sid) = (claims["jti"].as_str().unwrap(), session_id(&service, kind, &subject));
        assert_eq!(
            claims,
            json!({
                "iss": ISSUER, "sub": service.user.id.to_string(), "aud": ORDERS_URI, "exp": service.now() + 300,
                "iat": service.now(), "jti": jti, "client_id": "web", "scope": "read write", "sid": sid, "acr": acr,
                "amr": ["pwd"], "auth_time": login,
            }),
            "{kind:?}"
        );
        assert!(service.is_active(None, &token).await, "{kind:?}");
    }
}

/// The `sid` of a token: the SHA-256 hash of the session's token, or of what an app-bound session has instead.
fn session_id(service: &TestService, kind: LegacyTokenType, subject: &str) -> String {
    let key = match kind {
        LegacyTokenType::MefpHandover => TokenKey::app_bound("mefp", "melink", service.user.id).0,
        LegacyTokenType::JwtLogin => sha256(claims(subject)["jti"].as_str().unwrap().as_bytes()),
        _ => sha256(subject.as_bytes()),
    };
    stele_core::hex::encode(&key)
}

/// A `sid` identifies a session and cannot be presented as its token.
#[tokio::test]
async fn the_session_id_is_no_token() {
    let service = TestService::new().await;
    let token = service.user_token().await;
    let sid = claims(&token)["sid"].as_str().unwrap().to_owned();
    for text in [&*sid, &sid[..32], &sid[32..]] {
        service.exchange_legacy(LegacyTokenType::TmsSession, text).await.assert_is(400, BAD_SUBJECT);
    }
    assert!(service.is_active(None, &token).await);
}

/// RFC 8693 §2.1, §2.2.2.
#[tokio::test]
async fn malformed_exchanges_are_invalid_requests() {
    let service = TestService::new().await;
    let session = service.log_in("tms").await;
    let token = session.expose();
    let urn = "urn:stele:token-type:tms-session";
    let send = async |parameters: &Parameters<'_>| {
        let all: Vec<_> =
            [("grant_type", EXCHANGE), ("audience", "orders")].iter().chain(parameters).copied().collect();
        service.post(TOKEN, &service.web, &all).await
    };
    let subject = [("subject_token", token), ("subject_token_type", urn)];
    for parameters in [
        vec![("subject_token", token)],
        vec![("subject_token_type", urn)],
        vec![("subject_token", ""), ("subject_token_type", urn)],
        [&subject[..], &[("actor_token", token), ("actor_token_type", urn)]].concat(),
        [&subject[..], &[("actor_token", token)]].concat(),
        [&subject[..], &[("actor_token_type", urn)]].concat(),
        [&subject[..], &[("requested_token_type", "urn:ietf:params:oauth:token-type:id_token")]].concat(),
        [&subject[..], &[("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")]].concat(),
        [&subject[..], &[("requested_token_type", "urn:ietf:params:oauth:token-type:jwt")]].concat(),
    ] {
        let response = send(&parameters).await;
        assert_eq!((response.status, &response.json()["error"]), (400, &json!("invalid_request")), "{parameters:?}");
    }
    for parameters in [subject.to_vec(), [&subject[..], &[("requested_token_type", ACCESS_TOKEN)]].concat()] {
        access_token(&send(&parameters).await);
    }
}

/// A client exchanges only the types that it is registered for; the answer is that about a bad token.
#[tokio::test]
async fn a_client_exchanges_only_its_subject_types() {
    let service = TestService::new().await;
    let client = service
        .add_client("tms-only", |client| OAuthClient {
            subject_types: BTreeSet::from([LegacyTokenType::TmsSession.into()]),
            ..client
        })
        .await;
    for kind in LegacyTokenType::all() {
        let token = service.legacy_token(kind).await;
        let response = service.exchange(&client, kind.urn(), &token, &[("audience", "orders")]).await;
        match kind {
            LegacyTokenType::TmsSession => drop(access_token(&response)),
            _ => response.assert_is(400, BAD_SUBJECT),
        }
        // The refused token was not consumed.
        if kind == LegacyTokenType::MefpHandover {
            access_token(&service.exchange_legacy(kind, &token).await);
        }
    }
    let own = access_token(
        &service
            .exchange(
                &client,
                "urn:stele:token-type:tms-session",
                service.log_in("tms").await.expose(),
                &[("audience", "orders")],
            )
            .await,
    );
    service.exchange(&client, ACCESS_TOKEN, &own, &[("audience", "orders")]).await.assert_is(400, BAD_SUBJECT);
}

/// RFC 8707 §2, RFC 6749 §5.2: bad targets and scopes have their own errors, and consume nothing.
#[tokio::test]
async fn a_bad_target_or_scope_does_not_consume_a_handover() {
    let service = TestService::new().await;
    let token = service.handover_token(APP).await;
    let urn = LegacyTokenType::MefpHandover.urn();
    let exchange = async |parameters: &Parameters<'_>| service.exchange(&service.web, urn, &token, parameters).await;
    exchange(&[]).await.assert_is(400, INVALID_TARGET);
    exchange(&[("audience", "unknown")]).await.assert_is(400, INVALID_TARGET);
    exchange(&[("audience", "orders"), ("scope", "admin")]).await.assert_is(400, INVALID_SCOPE);
    access_token(&exchange(&[("audience", "orders")]).await);
    exchange(&[("audience", "orders")]).await.assert_is(400, BAD_SUBJECT);
}

/// A17: an exchange of an exchanged token gains neither scope nor time nor strength.
#[tokio::test]
async fn an_exchanged_access_token_never_gains() {
    let service = TestService::new().await;
    let session = service.log_in("cloudbox").await;
    let urn = LegacyTokenType::CloudboxSession.urn();
    let parameters = [("audience", "orders"), ("scope", "read")];
    let first = access_token(&service.exchange(&service.web, urn, session.expose(), &parameters).await);
    service.advance_clock(100);
    let exchange = async |token: &str, parameters: &Parameters<'_>| {
        service.exchange(&service.web, ACCESS_TOKEN, token, parameters).await
    };
    let second = exchange(&first, &[("audience", "billing")]).await;
    assert_eq!((&second.json()["expires_in"], &second.json()["scope"]), (&json!(200), &json!("read")));
    let second = access_token(&second);
    let (before, after) = (claims(&first), claims(&second));
    for same in ["sub", "sid", "acr", "amr", "auth_time", "exp", "client_id", "scope"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!((&after["aud"], &after["iat"]), (&json!(BILLING_URN), &json!(service.now())));
    assert_ne!(before["jti"], after["jti"]);
    for wider in ["write", "read write"] {
        exchange(&first, &[("audience", "orders"), ("scope", wider)]).await.assert_is(400, INVALID_SCOPE);
    }
    exchange(&first, &[("audience", "unknown")]).await.assert_is(400, INVALID_TARGET);
    service.advance_clock(199);
    assert_eq!(exchange(&second, &[("audience", "orders")]).await.json()["expires_in"], 1);
    service.advance_clock(1);
    exchange(&second, &[("audience", "orders")]).await.assert_is(400, BAD_SUBJECT);
}

/// A17: a scope that the client has lost since is not granted again.
#[tokio::test]
async fn the_default_scope_is_what_client_and_subject_token_have_in_common() {
    let service = TestService::new().await;
    let session = service.log_in("tms").await;
    let narrow =
        service.add_client("narrow", |client| OAuthClient { scopes: Scope::parse("read").unwrap(), ..client }).await;
    let urn = LegacyTokenType::TmsSession.urn();
    let token = service.exchange(&narrow, urn, session.expose(), &[("audience", "orders")]).await;
    assert_eq!(token.json()["scope"], "read");
    let again = service.exchange(&narrow, ACCESS_TOKEN, &access_token(&token), &[("audience", "orders")]).await;
    assert_eq!(again.json()["scope"], "read");
}

/// A token never outlives its session.
#[tokio::test]
async fn a_token_ends_with_its_session() {
    let service = TestService::with_settings(&[("STELE_SESSION_TTL", "600")]).await;
    let session = service.log_in("tms").await;
    service.advance_clock(30);
    let exchange = async || service.exchange_legacy(LegacyTokenType::TmsSession, session.expose()).await;
    assert_eq!(exchange().await.json()["expires_in"], 300);
    // A handover does not extend the session that it goes back to.
    let handover = service.handover_token(APP).await;
    service.advance_clock(400);
    let ticket = service.exchange_legacy(LegacyTokenType::MefpHandover, &handover).await;
    ticket.assert_is(400, BAD_SUBJECT);
    let handover = service.handover_token(APP).await;
    service.advance_clock(299);
    assert_eq!(service.exchange_legacy(LegacyTokenType::MefpHandover, &handover).await.json()["expires_in"], 300);
    service.advance_clock(600);
    exchange().await.assert_is(400, BAD_SUBJECT);
}

/// An exchange uses a session, which extends it.
#[tokio::test]
async fn an_exchange_extends_the_session() {
    let service = TestService::with_settings(&[("STELE_SESSION_TTL", "600")]).await;
    let session = service.log_in("tms").await;
    for _ in 0..3 {
        service.advance_clock(500);
        access_token(&service.exchange_legacy(LegacyTokenType::TmsSession, session.expose()).await);
    }
    // An access token does not: it may be held by a service that the user has long left.
    let token = access_token(&service.exchange_legacy(LegacyTokenType::TmsSession, session.expose()).await);
    service.advance_clock(299);
    let last = service.exchange(&service.web, ACCESS_TOKEN, &token, &[("audience", "orders")]).await;
    assert_eq!(last.json()["expires_in"], 1);
    assert!(service.is_active(None, &token).await);
    service.advance_clock(301);
    service.exchange_legacy(LegacyTokenType::TmsSession, session.expose()).await.assert_is(400, BAD_SUBJECT);
}

/// Letter case, hyphens and spaces do not matter, as at the dialects ([`Token::parse`]): the same token.
#[tokio::test]
async fn a_token_in_upper_case_is_the_same_token() {
    let service = TestService::new().await;
    let session = service.log_in("tms").await;
    let upper = session.expose().to_uppercase();
    assert_eq!(Token::parse(&upper).unwrap().expose(), session.expose());
    let of = async |text: &str| {
        claims(&access_token(&service.exchange_legacy(LegacyTokenType::TmsSession, text).await))["sid"].clone()
    };
    assert_eq!(of(&upper).await, of(session.expose()).await);
}

/// RFC 9068 §2.1: every algorithm, verified by another implementation with the published keys.
#[tokio::test]
async fn tokens_verify_with_the_published_keys() {
    let service = TestService::new().await;
    let session = service.log_in("tms").await;
    let urn = LegacyTokenType::TmsSession.urn();
    let jwks: jsonwebtoken::jwk::JwkSet =
        serde_json::from_str(&service.send(service.request("GET", "/oauth2/jwks")).await.text).unwrap();
    for algorithm in stele_core::oauth::SigningAlgorithm::all() {
        let client = service.add_client(algorithm.as_str(), |client| OAuthClient { algorithm, ..client }).await;
        let token = access_token(&service.exchange(&client, urn, session.expose(), &[("audience", "orders")]).await);
        let header = jsonwebtoken::decode_header(&token).unwrap();
        let key = jwks.find(header.kid.as_deref().unwrap()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(algorithm.as_str().parse().unwrap());
        validation.set_audience(&[ORDERS_URI]);
        validation.set_issuer(&[ISSUER]);
        // The test clock is not the system's.
        validation.validate_exp = false;
        let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
        let verified = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
        assert_eq!(verified.claims["client_id"], algorithm.as_str());
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        assert!(service.is_active(None, &token).await, "{algorithm:?}");
    }
}

/// The types that exist, as the metadata and the commands name them.
#[test]
fn subject_token_types_have_stable_names() {
    let names: Vec<_> = SubjectTokenType::all().map(SubjectTokenType::urn).collect();
    assert_eq!(
        names,
        [
            "urn:stele:token-type:cloudbox-session",
            "urn:stele:token-type:tms-session",
            "urn:stele:token-type:portal-session",
            "urn:stele:token-type:mefp-handover",
            "urn:stele:token-type:jwt-login",
            ACCESS_TOKEN,
        ]
    );
}
