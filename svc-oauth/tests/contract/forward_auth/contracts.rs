//! What each proxy asks and gets. Attacks A20: other families of header fields, the endpoint's own query, methods,
//! upgrades, encoded paths.

use stele_core::time::Timestamp;

use super::support::{Contract, ForwardAuthApp, IDENTITY, USER};
use crate::test_service::ISSUER;

#[actix_web::test]
async fn every_proxy_gets_the_identity_and_a_signed_assertion() {
    let app = ForwardAuthApp::start().await;
    let login = app.log_in("portal").await;
    let user = login.user.id.to_string();
    for contract in Contract::ALL {
        let answer = app.ask(contract, "/x?y=1", &[("Authorization", login.token.expose())]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{contract:?}: {answer:?}");
        let values = IDENTITY.map(|name| answer.header(name));
        assert_eq!(values[..5], [&user, USER, "user", "portal", "pwd"], "{contract:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        let claims = app.verify_assertion(values[5], "a.example");
        let expected = serde_json::json!({
            "iss": ISSUER,
            "sub": user,
            "aud": "a.example",
            "iat": app.now(),
            "exp": app.now() + 60,
            "sid": stele_core::hex::encode(&login.token.key().0),
            "acr": "urn:stele:acr:pwd",
            "username": USER,
            "role": "user",
            "dialect": "portal",
        });
        assert_eq!(claims, expected, "{contract:?}");
    }
}

#[actix_web::test]
async fn an_assertion_is_for_one_host_and_a_minute() {
    let app = ForwardAuthApp::start().await;
    let login = app.log_in("portal").await;
    let answer = app.ask_with("A.Example.:8443", "/", &login.token).await;
    let assertion = answer.header("x-stele-assertion");
    app.verify_assertion(assertion, "a.example");
    assert!(app.try_verify_assertion(assertion, "b.example").is_none());
    let end = Timestamp::from_secs(app.now() + 60);
    app.lab.clock().set(Timestamp::from_micros(end.as_micros() - 1));
    app.verify_assertion(assertion, "a.example");
    app.lab.clock().set(end);
    assert!(app.try_verify_assertion(assertion, "a.example").is_none());
    // It is no credential itself.
    app.lab.clock().set(Timestamp::from_secs(end.as_secs() - 30));
    app.ask(Contract::Nginx, "/", &[("Authorization", &format!("Bearer {assertion}"))]).await.assert_denied(401);
}

#[actix_web::test]
async fn without_a_credential_the_answer_is_a_challenge_that_names_no_user() {
    let app = ForwardAuthApp::start().await;
    for contract in Contract::ALL {
        app.ask(contract, "/", &[]).await.assert_denied(401);
        // The identity headers of the client are not read.
        let forged = IDENTITY.map(|name| (name, "forged"));
        app.ask(contract, "/", &forged).await.assert_denied(401);
    }
}

#[actix_web::test]
async fn each_endpoint_reads_one_family_of_header_fields() {
    let app = ForwardAuthApp::start_with_rules("[[rule]]\nhost = \"a.example\"\npath = \"/open/\"\n").await;
    let login = app.log_in("portal").await;
    // All that another contract would read, of an allowed request.
    let other = [
        ("X-Original-URL", "https://a.example/open/"),
        ("X-Original-Method", "GET"),
        ("X-Forwarded-Host", "a.example"),
        ("X-Forwarded-Uri", "/open/"),
        ("X-Forwarded-Method", "GET"),
        ("Forwarded", "host=a.example"),
        ("X-Original-Uri", "/open/"),
        ("X-Rewrite-Url", "/open/"),
        ("X-HTTP-Method-Override", "GET"),
        ("Authorization", login.token.expose()),
    ];
    for contract in Contract::ALL {
        assert_eq!(app.ask(contract, "/open/x", &other[9..]).await.status, 200, "{contract:?}: honest");
        app.ask(contract, "/closed/", &other).await.assert_denied(403);
        app.ask_host(contract, "b.example", "/open/", &other).await.assert_denied(403);
    }
}

#[actix_web::test]
async fn the_query_of_the_endpoint_chooses_nothing() {
    let app = ForwardAuthApp::start_with_rules("[[rule]]\nhost = \"a.example\"\npath = \"/open/\"\n").await;
    let login = app.log_in("portal").await;
    let token = login.token.expose();
    // Caddy appends the client's query to the URL that it calls.
    let query = format!(
        "?token={token}&host=a.example&uri=/open/&path=/open/&url=https://a.example/open/&mode=open&rd=https://evil.example/\
         &redirect_state=200&X-Original-URL=https://a.example/open/"
    );
    for contract in [Contract::Nginx, Contract::Caddy, Contract::Traefik] {
        let with_query = |target: &str, client: &[(&str, &str)]| {
            contract.head("GET", "a.example", target, client).replacen(" HTTP/1.1", &format!("{query} HTTP/1.1"), 1)
        };
        app.send_head(&with_query("/open/", &[])).await.assert_denied(401);
        app.send_head(&with_query("/closed/", &[("Authorization", token)])).await.assert_denied(403);
        let (plain, queried) = (
            app.ask(contract, "/open/", &[("Authorization", token)]).await,
            with_query("/open/", &[("Authorization", token)]),
        );
        assert_eq!((plain.status, app.send_head(&queried).await.status), (200, 200), "{contract:?}: honest");
    }
}

#[actix_web::test]
async fn every_method_is_answered_alike() {
    let app = ForwardAuthApp::start_with(&[("STELE_CORS_ORIGINS", "*")]).await;
    let login = app.log_in("portal").await;
    for contract in Contract::ALL {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "QUERY"] {
            let head = |client: &[(&str, &str)]| contract.head(method, "a.example", "/x", client);
            app.send_head(&head(&[])).await.assert_denied(401);
            // A preflight has no credential, and would be answered with 204 if it were one to this server.
            let preflight = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "DELETE")];
            if contract == Contract::Envoy {
                app.send_head(&head(&preflight)).await.assert_denied(401);
            }
            let answer = app.send_head(&head(&[("Authorization", login.token.expose())])).await;
            assert_eq!(answer.status, 200, "{contract:?} {method}: {answer:?}");
            assert_eq!(answer.header("x-stele-username"), USER, "{contract:?} {method}");
        }
    }
}

#[actix_web::test]
async fn a_websocket_upgrade_is_answered_as_a_request() {
    let app = ForwardAuthApp::start().await;
    let login = app.log_in("portal").await;
    for contract in Contract::ALL {
        // Caddy sends the client's `Connection` and `Upgrade` on.
        let upgrade = |client: &[(&str, &str)]| {
            let fields =
                [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZQ==")];
            let client = [client, &fields].concat();
            contract.head("GET", "a.example", "/", &client).replace("Connection: close", "Connection: Upgrade, close")
        };
        app.send_head(&upgrade(&[])).await.assert_denied(401);
        let answer = app.send_head(&upgrade(&[("Authorization", login.token.expose())])).await;
        assert_eq!((answer.status, answer.header("x-stele-username")), (200, USER), "{contract:?}");
    }
}

#[actix_web::test]
async fn an_original_path_is_taken_as_it_was_sent() {
    let app = ForwardAuthApp::start().await;
    let login = app.log_in("portal").await;
    // No rules are in force, so these are the application's to read; `/authz/…` and `/oauth2/token` lead nowhere else.
    for path in [
        "/",
        "/a%20b",
        "/%E7%AE%A1",
        "/a;b=c",
        "//a",
        "/a/../b",
        "/..//oauth2/token",
        "/%2e%2e/healthz",
        "/healthz",
        "/a%2fb",
        "/openapi.json",
        "/authz/auth-request",
    ] {
        for contract in Contract::ALL {
            app.ask(contract, path, &[]).await.assert_denied(401);
            let answer = app.ask(contract, path, &[("Authorization", login.token.expose())]).await;
            assert_eq!((answer.status, answer.header("x-stele-username")), (200, USER), "{contract:?} {path}");
        }
    }
}

#[actix_web::test]
async fn a_proxy_that_does_not_describe_the_request_is_refused() {
    let app = ForwardAuthApp::start().await;
    let login = app.log_in("portal").await;
    let token = [("Authorization", login.token.expose())];
    for (contract, faulty) in [
        (
            Contract::Nginx,
            ["X-Original-URL: ", "X-Original-URL: /x\r\nX-Ignored: ", "X-Original-URL: https://a/\r\nX-Original-URL: "],
        ),
        (
            Contract::Caddy,
            ["X-Ignored: ", "X-Forwarded-Host: a, b\r\nX-Ignored: ", "X-Forwarded-Host: a\r\nX-Forwarded-Host: "],
        ),
        (Contract::Envoy, ["Host: a b\r\nX-Ignored: ", "Host: u@a\r\nX-Ignored: ", "Host: a/b\r\nX-Ignored: "]),
    ] {
        let field = match contract {
            Contract::Nginx => "X-Original-URL: https://",
            Contract::Caddy => "X-Forwarded-Host: ",
            _ => "Host: ",
        };
        for line in faulty {
            let head = contract.head("GET", "a.example", "/x", &token);
            assert!(head.contains(field));
            let answer = app.send_head(&head.replacen(field, line, 1)).await;
            assert_eq!(answer.status, 400, "{contract:?} {line:?}");
            assert!(answer.headers.get("x-stele-user").is_none_or(|user| user == "-"), "{answer:?}");
        }
    }
}

/// `STELE_STATUS_200` answers errors with 200, for which a proxy would let every request through.
#[test]
fn a_denial_cannot_be_answered_with_200() {
    use stele_service::status_200::Status200;
    assert!(Status200::parse("oauth").is_err());
    let every_dialect = Status200::parse("cloudbox, tms, portal, mefp, jwt").unwrap();
    assert!(!every_dialect.applies_to(svc_oauth::SERVICE.name));
}
