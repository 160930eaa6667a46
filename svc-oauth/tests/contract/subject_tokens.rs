//! Attacks A13, A16 and A23: tokens of one kind, user, app or service presented as another's. Each with the honest
//! case.

use futures_util::future::join_all;
use stele_core::oauth::{ClientId, LegacyTokenType, OAuthClient, ResourceName};
use stele_core::random::OsRandom;
use stele_core::session::{Ticket, TicketKind, Token};
use stele_core::user::{UserRef, UserStatus};

use crate::test_service::*;

/// A16: a token is looked up as the named type alone.
#[tokio::test]
async fn a_token_is_valid_only_as_the_type_that_it_has() {
    let service = TestService::new().await;
    for kind in LegacyTokenType::all() {
        let token = service.legacy_token(kind).await;
        for other in LegacyTokenType::all().filter(|other| *other != kind) {
            service.exchange_legacy(other, &token).await.assert_is(400, BAD_SUBJECT);
        }
        service
            .exchange(&service.web, ACCESS_TOKEN, &token, &[("audience", "orders")])
            .await
            .assert_is(400, BAD_SUBJECT);
        access_token(&service.exchange_legacy(kind, &token).await);
    }
}

/// A16: RFC 8693 §2.2.2: every bad subject is `invalid_request`, and all answers are the same bytes.
#[tokio::test]
async fn every_bad_subject_gets_the_same_answer() {
    let service = TestService::new().await;
    let client_token = service.lab.add_client_token("kiosk").await;
    let reset = Token::generate(&OsRandom);
    let reset_ticket = Ticket {
        kind: TicketKind::Reset,
        user: service.user.id,
        epoch: 0,
        source: String::new(),
        audience: APP.to_owned(),
        expires: service.lab.clock().now().saturating_add(std::time::Duration::from_secs(60)),
    };
    service.lab.dependencies().state.store_ticket(&reset.key(), &reset_ticket).await.unwrap();
    let unknown = Token::generate(&OsRandom);
    let tms = service.log_in("tms").await;
    let hostile = [
        client_token.as_str(),
        reset.expose(),
        unknown.expose(),
        &service.user.id.to_string(),
        &service.user.id.to_string().replace('-', ""),
        "x",
        "null",
        "\u{0}",
        &tms.expose()[..31],
        &format!("{}0", tms.expose()),
        &"a".repeat(20_000),
    ];
    for kind in LegacyTokenType::all() {
        for token in hostile {
            service.exchange_legacy(kind, token).await.assert_is(400, BAD_SUBJECT);
        }
    }
    for urn in [
        "tms-session",
        "urn:stele:token-type:TMS-session",
        "urn:stele:token-type:tms-session ",
        "urn:stele:token-type:nothing",
        "urn:stele:token-type:access-token",
        "urn:ietf:params:oauth:token-type:jwt",
        "urn:ietf:params:oauth:token-type:id_token",
        "urn:ietf:params:oauth:token-type:refresh_token",
        "access_token",
    ] {
        let response = service.exchange(&service.web, urn, tms.expose(), &[("audience", "orders")]).await;
        response.assert_is(400, BAD_SUBJECT);
    }
    access_token(&service.exchange_legacy(LegacyTokenType::TmsSession, tms.expose()).await);
}

/// A16: a handover is redeemed by the client that has the name of its app, once.
#[tokio::test]
async fn a_handover_is_for_one_app_and_for_one_use() {
    let service = TestService::new().await;
    let urn = LegacyTokenType::MefpHandover.urn();
    let other = service.add_client("melink", |client| client).await;
    let stranger = service.add_client("stranger", |client| client).await;
    let token = service.handover_token(APP).await;
    for client in [&other, &stranger] {
        service.exchange(client, urn, &token, &[("audience", "orders")]).await.assert_is(400, BAD_SUBJECT);
    }
    access_token(&service.exchange_legacy(LegacyTokenType::MefpHandover, &token).await);
    service.exchange_legacy(LegacyTokenType::MefpHandover, &token).await.assert_is(400, BAD_SUBJECT);
    let back = service.handover_token(APP).await;
    let own_app = service.lab.dependencies().users.find_app(APP).await.unwrap().unwrap();
    let caller = stele_core::usecase::RequestInfo::from_app("mefp", APP);
    let token = Token::parse(&back).unwrap();
    service.lab.use_cases().redeem_ticket(&caller, &own_app, &token).await.unwrap();
    service.exchange_legacy(LegacyTokenType::MefpHandover, &back).await.assert_is(400, BAD_SUBJECT);
}

/// Two instances redeem a handover at once: one gets a token.
#[tokio::test]
async fn a_handover_that_is_redeemed_concurrently_gives_one_token() {
    let service = TestService::new().await;
    for _ in 0..5 {
        let token = service.handover_token(APP).await;
        let attempts = (0..12).map(|_| service.exchange_legacy(LegacyTokenType::MefpHandover, &token));
        let responses = join_all(attempts).await;
        assert_eq!(responses.iter().filter(|response| response.status == 200).count(), 1);
        assert_eq!(responses.iter().filter(|response| response.text == BAD_SUBJECT).count(), 11);
    }
}

/// A handover is worth what the session at its source app is: a user who has logged out there is not handed over.
#[tokio::test]
async fn a_handover_dies_with_the_session_at_its_source() {
    let service = TestService::new().await;
    let token = service.handover_token(APP).await;
    let key = stele_core::session::TokenKey::app_bound("mefp", "melink", service.user.id);
    assert!(service.lab.dependencies().state.end_session(&key, service.user.id).await.unwrap());
    service.exchange_legacy(LegacyTokenType::MefpHandover, &token).await.assert_is(400, BAD_SUBJECT);
    let token = service.handover_token(APP).await;
    access_token(&service.exchange_legacy(LegacyTokenType::MefpHandover, &token).await);
}

/// A16: sessions of a disabled user, of an older password, and ended ones.
#[tokio::test]
async fn a_dead_session_is_no_subject() {
    let service = TestService::new().await;
    let tokens = async || {
        let mut tokens = Vec::new();
        for kind in LegacyTokenType::all() {
            tokens.push((kind, service.legacy_token(kind).await));
        }
        tokens
    };
    let assert_dead = async |tokens: Vec<(LegacyTokenType, String)>| {
        for (kind, token) in tokens {
            service.exchange_legacy(kind, &token).await.assert_is(400, BAD_SUBJECT);
        }
    };
    let before = tokens().await;
    service.set_password(&service.user, PASSWORD).await;
    assert_dead(before).await;
    let before = tokens().await;
    service.set_status(&service.user, UserStatus::Disabled).await;
    assert_dead(before.clone()).await;
    service.set_status(&service.user, UserStatus::Active).await;
    assert_dead(before).await;
    let session = service.log_in("tms").await;
    access_token(&service.exchange_legacy(LegacyTokenType::TmsSession, session.expose()).await);
    service.lab.use_cases().logout("tms", &session).await.unwrap();
    service.exchange_legacy(LegacyTokenType::TmsSession, session.expose()).await.assert_is(400, BAD_SUBJECT);
}

/// A13, A16: an access token is a subject for the client that got it, and no other; a client's own token is none.
#[tokio::test]
async fn an_access_token_is_a_subject_for_its_own_client_alone() {
    let service = TestService::new().await;
    let other = service.add_client("other", |client| client).await;
    let token = service.user_token().await;
    let exchange = async |client: &Registered, token: &str| {
        service.exchange(client, ACCESS_TOKEN, token, &[("audience", "billing")]).await
    };
    exchange(&other, &token).await.assert_is(400, BAD_SUBJECT);
    let own = access_token(&service.client_token(&service.web, &[("audience", "orders")]).await);
    exchange(&service.web, &own).await.assert_is(400, BAD_SUBJECT);
    let mut altered = token.clone();
    let at = altered.len() - 10;
    let replacement = if &altered[at..=at] == "A" { "B" } else { "A" };
    altered.replace_range(at..=at, replacement);
    for bad in ["x.y.z", &altered, &token[..token.len() - 1], &service.login_jwt().await] {
        exchange(&service.web, bad).await.assert_is(400, BAD_SUBJECT);
    }
    service.post(REVOKE, &service.web, &[("token", &access_token(&exchange(&service.web, &token).await))]).await;
    access_token(&exchange(&service.web, &token).await);
    service.post(REVOKE, &service.web, &[("token", &token)]).await;
    exchange(&service.web, &token).await.assert_is(400, BAD_SUBJECT);
}

/// A13: a login JWT is not an access token, nor the reverse (RFC 8725 §3.11, RFC 9068 §5).
#[tokio::test]
async fn login_jwts_and_access_tokens_do_not_pass_for_each_other() {
    let service = TestService::new().await;
    let (login, access) = (service.login_jwt().await, service.user_token().await);
    assert!(!service.is_active(None, &login).await);
    assert!(!service.is_active(Some(LegacyTokenType::JwtLogin), &access).await);
    service.exchange_legacy(LegacyTokenType::JwtLogin, &access).await.assert_is(400, BAD_SUBJECT);
    assert!(service.is_active(Some(LegacyTokenType::JwtLogin), &login).await);
    assert!(service.is_active(None, &access).await);
    access_token(&service.exchange_legacy(LegacyTokenType::JwtLogin, &login).await);
}

/// A13: a login JWT with the session token of another user, signed by us, is not the other user's.
#[tokio::test]
async fn a_login_jwt_names_the_user_of_its_session() {
    let service = TestService::new().await;
    let session = service.log_in("jwt").await;
    let stored = service.lab.dependencies().state.find_session(&session.key(), service.lab.clock().now()).await;
    let stored = stored.unwrap().unwrap();
    let stranger = service.lab.user("eve").add().await;
    let forged = stele_core::session::Session { user: stranger.id, ..stored.clone() };
    let forged = service.login_tokens().issue(&forged, &session).unwrap();
    service.exchange_legacy(LegacyTokenType::JwtLogin, &forged).await.assert_is(400, BAD_SUBJECT);
    assert!(!service.is_active(Some(LegacyTokenType::JwtLogin), &forged).await);
    let honest = service.login_tokens().issue(&stored, &session).unwrap();
    access_token(&service.exchange_legacy(LegacyTokenType::JwtLogin, &honest).await);
}

/// A16: an old MeFP session's access token does not come back to life with the next login, which has the same `sid`.
#[tokio::test]
async fn a_replaced_app_bound_session_does_not_revive_tokens() {
    let service = TestService::new().await;
    let token = service.handover_token(APP).await;
    let token = access_token(&service.exchange_legacy(LegacyTokenType::MefpHandover, &token).await);
    assert!(service.is_active(None, &token).await);
    service.set_password(&service.user, PASSWORD).await;
    assert!(!service.is_active(None, &token).await);
    service.advance_clock(1);
    let next = service.handover_token(APP).await;
    assert!(!service.is_active(None, &token).await);
    let next = access_token(&service.exchange_legacy(LegacyTokenType::MefpHandover, &next).await);
    assert_eq!(claims(&next)["sid"], claims(&token)["sid"]);
    assert!(service.is_active(None, &next).await && !service.is_active(None, &token).await);
}

/// A23 (RFC 9700 §4.15): no client or resource server can be named as a user's id.
#[tokio::test]
async fn a_client_cannot_have_a_users_id() {
    let service = TestService::new().await;
    let id = service.user.id.to_string();
    for name in [id.clone(), id.to_uppercase(), id.replace('-', ""), service.user.number.to_string()] {
        assert!(ClientId::parse(&name).is_none() && ResourceName::parse(&name).is_none(), "{name}");
        assert!(UserRef::parse(&name).is_some(), "{name}");
    }
    let client = service.add_client("mark", |client| OAuthClient { ..client }).await;
    let token = access_token(&service.client_token(&client, &[("audience", "orders")]).await);
    let claims = claims(&token);
    assert_eq!((&claims["sub"], claims.get("sid"), claims.get("acr")), (&"mark".into(), None, None));
    let answer = service.introspect(&service.orders, None, &token).await.json();
    assert_eq!((&answer["sub"], answer.get("username"), answer.get("sid")), (&"mark".into(), None, None));
}
