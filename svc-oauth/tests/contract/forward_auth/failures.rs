//! Nothing fails open: stores that are down, and what a check costs.

use stele_testkit::{RequestCost, STORES, StoreState, send_raw};

use super::support::{Contract, ForwardAuthApp};

#[actix_web::test]
async fn while_a_store_is_down_no_request_is_allowed() {
    let app = ForwardAuthApp::start().await;
    let login = app.log_in("portal").await;
    for (store, set_state) in STORES {
        set_state(&app.lab, StoreState::Down);
        for contract in Contract::ALL {
            let answer = app.ask(contract, "/", &[("Authorization", login.token.expose())]).await;
            answer.assert_denied(503);
            assert_eq!(answer.header("retry-after"), "1", "{store}");
        }
        set_state(&app.lab, StoreState::Up);
        assert_eq!(app.ask_with("a.example", "/", &login.token).await.status, 200, "{store} is back");
    }
}

#[actix_web::test]
async fn a_check_is_one_trip_and_one_read() {
    let app = ForwardAuthApp::start_with_rules("[[rule]]\nhost = \"a.example\"\npath = \"/open/\"\n").await;
    let login = app.log_in("portal").await;
    let jwt = app.login_jwt(&app.log_in("jwt").await);
    let one = RequestCost::new(0, &["find_ref"], &["session"]);
    for (target, credential, status, expected) in [
        ("/open/", login.token.expose(), 200, one.clone()),
        ("/open/", jwt.as_str(), 200, one.clone()),
        ("/closed/", login.token.expose(), 403, one),
        ("/open/", "0123456789abcdef0123456789abcdef", 401, RequestCost::new(0, &[], &["session"])),
        ("/open/", "Basic YTpi", 401, RequestCost::default()),
        ("/open/", "", 401, RequestCost::default()),
    ] {
        for contract in Contract::ALL {
            let client = [("Authorization", credential)];
            let (answer, cost) = app.lab.measure_cost(app.ask(contract, target, &client)).await;
            assert_eq!((answer.status, &cost), (status, &expected), "{contract:?} {target}");
        }
    }
}

#[actix_web::test]
async fn a_large_head_is_refused_and_the_next_request_is_answered() {
    let app = ForwardAuthApp::start().await;
    let login = app.log_in("portal").await;
    let large = "x".repeat(10 * 1024 * 1024);
    let token = ("Authorization", login.token.expose());
    for contract in Contract::ALL {
        for client in [[token, ("Cookie", large.as_str())], [token, ("X-Filler", large.as_str())]] {
            let head = contract.head("GET", "a.example", "/", &client);
            let answer = send_raw(app.service.address(), head.as_bytes()).await;
            // Or the connection is closed: a proxy denies the request for both.
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{contract:?}: {answer:.200}");
        }
        assert_eq!(app.ask(contract, "/", &[token]).await.status, 200, "{contract:?}");
    }
}

#[actix_web::test]
async fn other_paths_below_authz_lead_nowhere() {
    let app = ForwardAuthApp::start().await;
    let login = app.log_in("portal").await;
    for path in
        ["/authz", "/authz/", "/authz/ext-authz", "/authz/ext-authzx", "/authz/auth-request/x", "/AUTHZ/auth-request"]
    {
        let head = Contract::Nginx.head("GET", "a.example", "/", &[("Authorization", login.token.expose())]);
        let answer = app.send_head(&head.replacen("/authz/auth-request", path, 1)).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}
