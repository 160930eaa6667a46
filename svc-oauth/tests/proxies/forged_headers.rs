//! Header fields that a client forges: identities, aliases of their names, what describes the request, `Connection`.

use crate::client::{head, send};
use crate::world::{IDENTITY, World};

/// Names that some application takes for `X-Stele-User`, and others of the family.
const ALIASES: [&str; 12] = [
    "X-Stele-User",
    "x-stele-user",
    "X_Stele_User",
    "X-Stele_User",
    "X.Stele.User",
    "X-Stele.User",
    "X_STELE_ROLE",
    "X.Stele.Role",
    "X-Stele-Role",
    "X-Stele-Assertion",
    "X-Stele-Username",
    "X-Stele-Anything",
];

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn a_forged_identity_never_reaches_the_application() {
    let world = World::start().await;
    let expected = world.identity();
    for proxy in &world.proxies {
        let program = proxy.program();
        let all = ALIASES.map(|name| (name, "forged"));
        let each: Vec<Vec<_>> = ALIASES.iter().map(|name| vec![(*name, "forged"), (*name, "admin")]).collect();
        for forged in each.into_iter().chain([all.to_vec()]) {
            let fields = [vec![world.authorization()], forged.clone()].concat();
            let response = send(proxy.port(), head("GET", "/x", &fields).as_bytes()).await;
            let received = world.application.take();
            // Envoy refuses names with an underscore.
            assert!(
                matches!((response.status, received.len()), (200, 1) | (400, 0)),
                "{program:?} {forged:?}: {response:?}"
            );
            for request in &received {
                let aliases = request.identity_aliases();
                let unknown = forged.iter().any(|(name, _)| *name == "X-Stele-Anything");
                let is_ours = |(name, value): &&(String, String)| {
                    let ours = IDENTITY.iter().position(|ours| ours.eq_ignore_ascii_case(name));
                    match ours {
                        Some(5) => world.verify(value)["sub"] == expected[0],
                        Some(index) => *value == expected[index],
                        // A name that is not one of ours means nothing to an application.
                        None => unknown && name.eq_ignore_ascii_case("X-Stele-Anything"),
                    }
                };
                assert!(aliases.iter().all(is_ours), "{program:?} {forged:?}: {aliases:?}");
                for name in IDENTITY {
                    assert_eq!(request.values(name).len(), 1, "{program:?} {forged:?}: {name}");
                }
            }
        }
        // Without a session, a forged identity is none.
        let response = send(proxy.port(), head("GET", "/x", &[("X-Stele-User", "forged")]).as_bytes()).await;
        assert_eq!((response.status, world.application.take().len()), (401, 0), "{program:?}");
    }
}

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn a_forged_description_of_the_request_opens_nothing() {
    let world = World::start().await;
    let forged = [
        ("X-Original-URL", "https://a.example/x"),
        ("X-Original-Uri", "/x"),
        ("X-Original-Method", "GET"),
        ("X-Forwarded-Host", "a.example"),
        ("X-Forwarded-Uri", "/x"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Rewrite-Url", "/x"),
        ("Forwarded", "host=a.example;proto=https"),
        ("X-HTTP-Method-Override", "GET"),
        ("X-Envoy-Original-Path", "/x"),
        ("X-Envoy-Internal", "true"),
    ];
    for proxy in &world.proxies {
        let program = proxy.program();
        let fields = [vec![world.authorization()], forged.to_vec()].concat();
        let honest = send(proxy.port(), head("GET", "/x", &fields).as_bytes()).await;
        assert_eq!((honest.status, world.application.take().len()), (200, 1), "{program:?}: {honest:?}");
        let closed = send(proxy.port(), head("GET", "/admin/x", &fields).as_bytes()).await;
        assert_eq!((closed.status, world.application.take().len()), (403, 0), "{program:?}: {closed:?}");
        for field in &forged {
            let request = head("GET", "/admin/x", &[world.authorization(), *field]);
            let closed = send(proxy.port(), request.as_bytes()).await;
            assert_eq!((closed.status, world.application.take().len()), (403, 0), "{program:?} {field:?}");
            let other_host = head("GET", "/x", &[world.authorization(), *field]).replace("Host: a.", "Host: b.");
            let closed = send(proxy.port(), other_host.as_bytes()).await;
            assert_eq!((closed.status, world.application.take().len()), (403, 0), "{program:?} {field:?}");
        }
    }
}

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn the_query_chooses_nothing() {
    let world = World::start().await;
    let query =
        "?host=a.example&uri=/x&path=/x&url=https://a.example/x&mode=open&rd=https://evil.example/&redirect_state=200";
    for proxy in &world.proxies {
        let program = proxy.program();
        for (target, status) in [("/admin/x", 403), ("/x", 200)] {
            let target = format!("{target}{query}");
            let response = send(proxy.port(), head("GET", &target, &[world.authorization()]).as_bytes()).await;
            assert_eq!(response.status, status, "{program:?} {target}");
            assert_eq!(response.header("Location"), None, "{program:?}");
        }
        let response = send(proxy.port(), head("GET", &format!("/x{query}"), &[]).as_bytes()).await;
        assert_eq!((response.status, world.application.take().len()), (401, 1), "{program:?}");
    }
}

/// GHSA-62c8-mh53-4cqv: `Connection` names the header fields that a proxy removes.
#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn header_fields_named_in_connection_open_nothing() {
    let world = World::start().await;
    let names = "X-Original-URL, X-Original-Method, X-Forwarded-Host, X-Forwarded-Uri, X-Forwarded-Method, Host, Content-Length";
    for proxy in &world.proxies {
        let program = proxy.program();
        for (listed, target) in [(names, "/admin/x"), ("Authorization", "/admin/x"), (names, "/admin")] {
            let request = head("GET", target, &[world.authorization()]);
            let request = request.replace("Connection: close", &format!("Connection: close, {listed}"));
            let response = send(proxy.port(), request.as_bytes()).await;
            let received = world.application.take();
            assert!(response.status >= 400 && received.is_empty(), "{program:?} {listed}: {response:?}");
        }
        for listed in IDENTITY {
            let request = head("GET", "/x", &[world.authorization(), ("X-Stele-User", "forged")]);
            let request = request.replace("Connection: close", &format!("Connection: close, {listed}"));
            send(proxy.port(), request.as_bytes()).await;
            for request in world.application.take() {
                // Removed or ours; an application without the header has no user.
                let users = request.values("X-Stele-User");
                assert!(users.is_empty() || users == [&world.identity()[0]], "{program:?} {listed}: {users:?}");
            }
        }
    }
}

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn the_host_that_is_judged_is_the_one_that_the_application_gets() {
    let world = World::start().await;
    let token = world.login.token.expose();
    for proxy in &world.proxies {
        let program = proxy.program();
        for request in [
            format!(
                "GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "GET http://a.example/admin/ HTTP/1.1\r\nHost: a.example\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "GET /x HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "GET /x HTTP/1.1\r\nHost: b.example\r\nHost: a.example\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "GET /x HTTP/1.1\r\nHost: a.example@b.example\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
            ),
            format!("GET /x HTTP/1.1\r\nHost: a.example/../b\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"),
            format!("GET /x HTTP/1.0\r\nAuthorization: {token}\r\n\r\n"),
            format!("GET /x HTTP/1.1\r\nHost:\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"),
            format!("OPTIONS * HTTP/1.1\r\nHost: a.example\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"),
        ] {
            send(proxy.port(), request.as_bytes()).await;
            for received in world.application.take() {
                let is_open = received.values("Host") == ["a.example"] && received.target == "/x";
                assert!(is_open, "{program:?} {request:?}: {received:?}");
            }
        }
    }
}
