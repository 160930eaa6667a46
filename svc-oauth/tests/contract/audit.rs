//! The audit events of the endpoints: one for each issue, exchange, revocation and failed authentication; none for an
//! introspection, which changes nothing and is made for each request of a back end.

use stele_core::event::{Action, Outcome, Subject};
use stele_core::oauth::{ClientId, LegacyTokenType, ResourceName, SubjectTokenType};

use crate::test_service::*;

fn client(id: &str) -> Option<Subject> {
    Some(Subject::from(&ClientId::parse(id).unwrap()))
}

#[tokio::test]
async fn each_change_and_each_failure_is_recorded_with_its_subject_and_client() {
    let mut service = TestService::new().await;
    let log = service.record_events().await;
    let tms = Action::ExchangeToken(LegacyTokenType::TmsSession.into());
    let user = Some(Subject::User(service.user.id));
    let session = service.log_in("tms").await;
    let expect = |action, outcome, subject: &Option<Subject>, app: &str| {
        assert_eq!(log.take(), [(action, outcome, subject.clone(), app.to_owned())]);
    };

    let own = access_token(&service.client_token(&service.web, &[("audience", "orders")]).await);
    expect(Action::IssueToken, Outcome::Done, &client("web"), "web");
    service.client_token(&service.web, &[]).await.assert_is(400, INVALID_TARGET);
    expect(Action::IssueToken, Outcome::InvalidTarget, &client("web"), "web");
    service.client_token(&service.web, &[("audience", "orders"), ("scope", "x")]).await.assert_is(400, INVALID_SCOPE);
    expect(Action::IssueToken, Outcome::InvalidScope, &client("web"), "web");

    let token = access_token(&service.exchange_legacy(LegacyTokenType::TmsSession, session.expose()).await);
    expect(tms, Outcome::Done, &user, "web");
    access_token(&service.exchange(&service.web, ACCESS_TOKEN, &token, &[("audience", "orders")]).await);
    expect(Action::ExchangeToken(SubjectTokenType::AccessToken), Outcome::Done, &user, "web");
    service.exchange_legacy(LegacyTokenType::TmsSession, "x").await.assert_is(400, BAD_SUBJECT);
    expect(tms, Outcome::NotAuthenticated, &None, "web");

    assert!(service.is_active(None, &token).await && service.is_active(None, &own).await);
    service.introspect(&service.orders, None, "x").await.assert_is(200, INACTIVE);
    assert_eq!(log.take(), []);

    service.post(REVOKE, &service.web, &[("token", &token)]).await;
    expect(Action::RevokeToken, Outcome::Done, &user, "web");
    service.post(REVOKE, &service.web, &[("token", "x")]).await;
    expect(Action::RevokeToken, Outcome::NotAuthenticated, &client("web"), "web");
    let other = service.add_client("other", |client| client).await;
    service.post(REVOKE, &other, &[("token", &own)]).await;
    expect(Action::RevokeToken, Outcome::NotAllowed, &client("other"), "other");

    let wrong = |id: &str| Registered { id: id.to_owned(), secret: "wrong".to_owned() };
    service.client_token(&wrong("web"), &[]).await.assert_is(401, INVALID_CLIENT);
    expect(Action::IssueToken, Outcome::InvalidClient, &client("web"), "");
    // An id that is not registered is text that a client typed, which is not recorded.
    service.client_token(&wrong("unknown"), &[]).await.assert_is(401, INVALID_CLIENT);
    expect(Action::IssueToken, Outcome::InvalidClient, &None, "");
    service.exchange(&wrong("web"), LegacyTokenType::TmsSession.urn(), "x", &[]).await.assert_is(401, INVALID_CLIENT);
    expect(tms, Outcome::InvalidClient, &client("web"), "");
    service.introspect(&wrong("orders"), None, &token).await.assert_is(401, INVALID_CLIENT);
    let orders = Some(Subject::from(&ResourceName::parse("orders").unwrap()));
    expect(Action::IntrospectToken, Outcome::InvalidClient, &orders, "");
}
