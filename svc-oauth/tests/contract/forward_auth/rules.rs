//! Access rules on the wire, and the audit log of denials.

use std::sync::{Arc, Mutex};

use stele_core::event::{Action, Event, Outcome, Subject};
use stele_core::ports::EventSink;

use super::support::{Contract, ForwardAuthApp};

const RULES: &str = r#"
[[rule]]
host = "a.example"

[[rule]]
host = "a.example"
path = "/admin/"
roles = ["admin"]

[[rule]]
host = "a.example"
path = "/strong/"
acr = "pwd"

[[rule]]
host = "a.example"
path = "/strongest/"
acr = "mfa"
"#;

#[actix_web::test]
async fn the_rule_of_the_longest_path_decides_by_role_and_strength() {
    let app = ForwardAuthApp::start_with_rules(RULES).await;
    app.lab.user("root").admin().add().await;
    let user = app.log_in("cloudbox").await.token;
    let strong_user = app.log_in("portal").await.token;
    let admin = app.log_in_as("root", "tms").await.token;
    for (target, expected) in [
        ("/", [200, 200, 200]),
        ("/x?path=/admin/", [200, 200, 200]),
        ("/admin", [403, 403, 200]),
        ("/admin/", [403, 403, 200]),
        ("/admin/x", [403, 403, 200]),
        ("/%61dmin/x", [403, 403, 200]),
        ("/administration", [200, 200, 200]),
        ("/strong/", [403, 200, 403]),
        ("/strongest/", [403, 403, 403]),
    ] {
        for contract in Contract::ALL {
            for (token, status) in [&user, &strong_user, &admin].into_iter().zip(expected) {
                let answer = app.ask(contract, target, &[("Authorization", token.expose())]).await;
                assert_eq!(answer.status, status, "{contract:?} {target}");
                if status == 403 {
                    answer.assert_denied(403);
                }
            }
        }
    }
}

#[actix_web::test]
async fn a_host_without_a_rule_is_closed_whatever_its_spelling() {
    let app = ForwardAuthApp::start_with_rules(RULES).await;
    let token = app.log_in("portal").await.token;
    for (host, status) in [
        ("a.example", 200),
        ("A.EXAMPLE:8443", 200),
        ("a.example.", 200),
        ("b.example", 403),
        ("www.a.example", 403),
        ("a.example.evil", 403),
        ("127.0.0.1", 403),
        ("[::1]:80", 403),
    ] {
        for contract in Contract::ALL {
            let answer = app.ask_host(contract, host, "/", &[("Authorization", token.expose())]).await;
            assert_eq!(answer.status, status, "{contract:?} {host}");
        }
    }
}

/// ingress-nginx#8644, Malcolm#1081: the proxy or the application reads the path in another way than the rules.
#[actix_web::test]
async fn an_ambiguous_path_is_closed_while_rules_are_in_force() {
    let app = ForwardAuthApp::start_with_rules(RULES).await;
    app.lab.user("root").admin().add().await;
    let admin = app.log_in_as("root", "tms").await.token;
    for path in [
        "/x/..%2fadmin/",
        "/x/../admin/",
        "/x/..;/admin/",
        "/x%2f..%2fadmin",
        "/%2e/admin",
        "//admin/",
        "/x//admin",
        "/x\\admin",
        "/x%5cadmin",
        "/admin;x",
        "/admin%3bx",
        "/admin%00",
        "/admin%3f",
        "/admin%23",
        "/%2561dmin",
        "/%c0%ae%c0%ae/admin",
        "/x%",
        "/x%zz",
        "/./admin",
        "/admin/.",
        "/admin%0a",
    ] {
        for contract in Contract::ALL {
            let answer = app.ask(contract, path, &[("Authorization", admin.expose())]).await;
            assert!(matches!(answer.status, 400 | 403), "{contract:?} {path}: {answer:?}");
        }
    }
    for path in ["/a-b_c.d~e/f", "/%E7%AE%A1%E7%90%86", "/100%25", "/a:b@c,d", "/admin/%20x/"] {
        for contract in Contract::ALL {
            assert_eq!(
                app.ask(contract, path, &[("Authorization", admin.expose())]).await.status,
                200,
                "{contract:?} {path}"
            );
        }
    }
}

#[actix_web::test]
async fn a_denied_request_without_a_session_is_a_challenge() {
    let app = ForwardAuthApp::start_with_rules(RULES).await;
    for contract in Contract::ALL {
        for (host, path) in [("a.example", "/admin/"), ("b.example", "/"), ("a.example", "/x/../admin/")] {
            app.ask_host(contract, host, path, &[]).await.assert_denied(401);
        }
    }
}

#[derive(Default)]
struct RecordedEvents(Mutex<Vec<Event>>);

impl EventSink for RecordedEvents {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

#[actix_web::test]
async fn only_the_denial_of_a_known_user_is_an_audit_event() {
    let app = ForwardAuthApp::start_with_rules(RULES).await;
    let login = app.log_in("portal").await;
    let events = Arc::new(RecordedEvents::default());
    let sink = events.clone();
    let service = app.lab.start_service_with(svc_oauth::SERVICE, move |dependencies| dependencies.events = sink).await;
    for (path, token) in
        [("/", login.token.expose()), ("/admin/", login.token.expose()), ("/admin/", &"0".repeat(32)), ("/", "")]
    {
        let head = Contract::Nginx.head("GET", "a.example", path, &[("Authorization", token)]);
        stele_testkit::send_raw(service.address(), head.as_bytes()).await;
    }
    let events = events.0.lock().unwrap();
    let described: Vec<_> = events.iter().map(|event| (event.action, event.outcome, event.subject.clone())).collect();
    assert_eq!(described, [(Action::CheckAccess, Outcome::NotAllowed, Some(Subject::User(login.user.id)))]);
}
