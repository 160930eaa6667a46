//! Access tokens at forward auth: only where the rule names their audience, and no longer than their session.

use stele_core::oauth::LegacyTokenType;
use stele_core::user::UserStatus;
use stele_testkit::RequestCost;

use super::support::{Answer, Contract, send_head};
use crate::test_service::{REVOKE, TestService, access_token};

const RULES: &str = r#"
[[rule]]
host = "orders.example"
audience = "https://orders.example.com/"

[[rule]]
host = "orders.example"
path = "/admin/"
audience = "https://orders.example.com/"
roles = ["admin"]

[[rule]]
host = "orders.example"
path = "/strong/"
audience = "https://orders.example.com/"
acr = "pwd"

[[rule]]
host = "billing.example"
audience = "billing"

[[rule]]
host = "sessions.example"
"#;

struct Orders {
    service: TestService,
    _folder: tempfile::TempDir,
}

impl Orders {
    async fn start(rules: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rules.toml");
        std::fs::write(&file, rules.unwrap_or_default()).unwrap();
        let setting = [("STELE_AUTHZ_RULES", file.to_str().unwrap())];
        let settings = if rules.is_some() { &setting[..] } else { &[] };
        Self { service: TestService::with_settings(settings).await, _folder: folder }
    }

    async fn ask(&self, host: &str, target: &str, token: &str) -> Answer {
        let head = Contract::Nginx.head("GET", host, target, &[("Authorization", &format!("Bearer {token}"))]);
        send_head(self.service.service.address(), &head).await
    }

    async fn client_credentials_token(&self) -> String {
        access_token(&self.service.client_token(&self.service.web, &[("audience", "orders")]).await)
    }
}

#[actix_web::test]
async fn an_access_token_is_accepted_where_the_rule_names_its_audience() {
    let orders = Orders::start(Some(RULES)).await;
    let service = &orders.service;
    let token = service.user_token().await;
    let session = service.log_in("tms").await;
    let (kind, target) = (LegacyTokenType::TmsSession.urn(), [("audience", "billing")]);
    let billing = access_token(&service.exchange(&service.web, kind, session.expose(), &target).await);
    let answer = orders.ask("orders.example", "/x", &token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected =
        [service.user.id.to_string(), "mark".to_owned(), "user".to_owned(), "tms".to_owned(), "legacy".to_owned()];
    let names = ["x-stele-user", "x-stele-username", "x-stele-role", "x-stele-dialect", "x-stele-acr"];
    assert_eq!(names.map(|name| answer.header(name).to_owned()), expected);
    assert_eq!(orders.ask("billing.example", "/x", &billing).await.status, 200);
    // A token of one service is none at another (A13, A20).
    for (host, token) in [
        ("billing.example", &token),
        ("orders.example", &billing),
        ("sessions.example", &token),
        ("unknown.example", &token),
    ] {
        orders.ask(host, "/x", token).await.assert_denied(401);
    }
    orders.ask("orders.example", "/admin/", &token).await.assert_denied(403);
    orders.ask("orders.example", "/strong/", &token).await.assert_denied(403);
}

#[actix_web::test]
async fn without_rules_no_access_token_is_accepted() {
    let orders = Orders::start(None).await;
    let token = orders.service.user_token().await;
    orders.ask("orders.example", "/x", &token).await.assert_denied(401);
    let session = orders.service.log_in("tms").await;
    assert_eq!(orders.ask("orders.example", "/x", session.expose()).await.status, 200);
}

#[actix_web::test]
async fn a_token_of_a_client_for_itself_names_no_user_and_is_refused() {
    let orders = Orders::start(Some(RULES)).await;
    let token = orders.client_credentials_token().await;
    orders.ask("orders.example", "/x", &token).await.assert_denied(401);
    assert!(orders.service.is_active(None, &token).await, "it is valid elsewhere");
}

#[actix_web::test]
async fn an_access_token_ends_with_its_session_user_client_and_revocation() {
    let orders = Orders::start(Some(RULES)).await;
    let service = &orders.service;
    let is_accepted = async |token: &str| orders.ask("orders.example", "/x", token).await.status == 200;

    let expired = service.user_token().await;
    assert!(is_accepted(&expired).await);
    service.advance_clock(300);
    assert!(!is_accepted(&expired).await);

    let session = service.log_in("tms").await;
    let ended = access_token(&service.exchange_legacy(LegacyTokenType::TmsSession, session.expose()).await);
    assert!(is_accepted(&ended).await);
    service.lab.use_cases().logout("tms", &session).await.unwrap();
    assert!(!is_accepted(&ended).await);

    let revoked = service.user_token().await;
    assert!(is_accepted(&revoked).await);
    assert_eq!(service.post(REVOKE, &service.web, &[("token", &revoked)]).await.status, 200);
    assert!(!is_accepted(&revoked).await);

    let disabled = service.user_token().await;
    service.set_status(&service.user, UserStatus::Disabled).await;
    assert!(!is_accepted(&disabled).await);
    service.set_status(&service.user, UserStatus::Active).await;

    let changed = service.user_token().await;
    assert!(is_accepted(&changed).await);
    service.set_password(&service.user, "another password").await;
    assert!(!is_accepted(&changed).await);
}

#[actix_web::test]
async fn an_access_token_costs_one_trip_and_one_read_and_extends_no_session() {
    let orders = Orders::start(Some(RULES)).await;
    let service = &orders.service;
    let token = service.user_token().await;
    // The session is older than the interval in which a use is stored. The client is read at most every five seconds.
    service.advance_clock(120);
    orders.ask("orders.example", "/x", &token).await;
    let (answer, cost) = service.lab.measure_cost(orders.ask("orders.example", "/x", &token)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(cost, RequestCost::new(0, &["find_ref"], &["session_revocation"]));
}
