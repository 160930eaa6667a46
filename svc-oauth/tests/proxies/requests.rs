//! Requests of every kind: who passes, what the application gets, and what happens while Stele is away.

use stele_testkit::servers::ProxyProgram;

use crate::client::{head, send, upgrade};
use crate::world::{IDENTITY, World};

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn the_application_gets_the_user_and_a_verifiable_assertion() {
    let world = World::start().await;
    let cookie = format!("theme=dark; stele_session={}", world.login.token.expose());
    let bearer = format!("Bearer {}", world.login.token.expose());
    let query = format!("/x?y=1&token={}", world.login.token.expose());
    for proxy in &world.proxies {
        for (target, fields) in [
            ("/x?y=1", vec![world.authorization()]),
            ("/x?y=1", vec![("Authorization", bearer.as_str())]),
            ("/x?y=1", vec![("Cookie", cookie.as_str())]),
            (&query, vec![]),
        ] {
            let response = send(proxy.port(), head("GET", target, &fields).as_bytes()).await;
            let context = format!("{:?} {fields:?}", proxy.program());
            assert_eq!((response.status, response.body.as_str()), (200, "application"), "{context}");
            let received = world.application.take();
            assert_eq!(received.len(), 1, "{context}");
            assert_eq!(received[0].target, target, "{context}");
            let values = IDENTITY.map(|name| received[0].values(name));
            let expected = world.identity();
            for (name, (value, expected)) in IDENTITY.iter().zip(values.iter().zip(&expected)) {
                assert_eq!(value, &[expected], "{context} {name}");
            }
            let [assertion] = values[5][..] else { panic!("{context}: {values:?}") };
            assert_eq!(world.verify(assertion)["sub"], expected[0], "{context}");
        }
    }
}

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn without_a_session_or_against_a_rule_nothing_reaches_the_application() {
    let world = World::start().await;
    let other = "0123456789abcdef0123456789abcdef";
    let cookie = format!("stele_session={other}");
    for proxy in &world.proxies {
        let program = proxy.program();
        for (target, fields, status) in [
            ("/x", vec![], 401),
            ("/x", vec![("Authorization", other)], 401),
            ("/x", vec![("Authorization", "Basic bWFyazoxMjM0NTY=")], 401),
            ("/x", vec![world.authorization(), ("Cookie", &cookie)], 401),
            ("/admin/x", vec![world.authorization()], 403),
            ("/admin", vec![world.authorization()], 403),
        ] {
            for method in ["GET", "HEAD", "POST", "OPTIONS", "DELETE"] {
                let response = send(proxy.port(), head(method, target, &fields).as_bytes()).await;
                assert_eq!(response.status, status, "{program:?} {method} {target} {fields:?}: {response:?}");
                let challenge = response.header("WWW-Authenticate");
                assert_eq!(challenge, (status == 401).then_some("Bearer realm=\"stele\""), "{program:?}");
            }
        }
        assert!(world.application.take().is_empty(), "{program:?}");
    }
    let administrator = world.log_in_administrator().await;
    let authorization = ("Authorization", administrator.token.expose());
    for proxy in &world.proxies {
        let response = send(proxy.port(), head("GET", "/admin/x", &[authorization]).as_bytes()).await;
        assert_eq!((response.status, world.application.take().len()), (200, 1), "{:?}", proxy.program());
    }
}

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn a_body_reaches_the_application_whole() {
    let world = World::start().await;
    let body = "0123456789abcdef".repeat(40_000);
    for proxy in &world.proxies {
        let program = proxy.program();
        for method in ["POST", "PUT", "PATCH"] {
            let fields = [world.authorization(), ("Content-Length", &body.len().to_string())];
            let request = head(method, "/upload", &fields) + &body;
            let response = send(proxy.port(), request.as_bytes()).await;
            let received = world.application.take();
            assert_eq!((response.status, received.len()), (200, 1), "{program:?} {method}: {response:?}");
            assert_eq!(received[0].method, method);
            assert!(received[0].body == body.as_bytes(), "{program:?} {method}: {} bytes", received[0].body.len());
        }
        let chunks: String = body.as_bytes().chunks(100_000).map(chunk_text).collect();
        let fields = [world.authorization(), ("Transfer-Encoding", "chunked")];
        let response = send(proxy.port(), (head("POST", "/upload", &fields) + &chunks + "0\r\n\r\n").as_bytes()).await;
        let received = world.application.take();
        assert_eq!((response.status, received.len()), (200, 1), "{program:?} chunked: {response:?}");
        assert!(received[0].body == body.as_bytes(), "{program:?} chunked: {} bytes", received[0].body.len());
    }
}

fn chunk_text(chunk: &[u8]) -> String {
    format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap())
}

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn head_and_options_are_checked_and_passed_on() {
    let world = World::start().await;
    for proxy in &world.proxies {
        for method in ["HEAD", "OPTIONS", "DELETE"] {
            let response = send(proxy.port(), head(method, "/x", &[world.authorization()]).as_bytes()).await;
            let received = world.application.take();
            assert_eq!((response.status, received.len()), (200, 1), "{:?} {method}", proxy.program());
            assert_eq!((received[0].method.as_str(), received[0].values("X-Stele-Username")), (method, vec!["mark"]));
        }
    }
}

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn a_websocket_needs_a_session() {
    let world = World::start().await;
    for proxy in &world.proxies {
        let program = proxy.program();
        assert_eq!(upgrade(proxy.port(), &[], "hello").await, (401, String::new()), "{program:?}");
        assert!(world.application.take().is_empty(), "{program:?}");
        let echoed = upgrade(proxy.port(), &[world.authorization()], "hello").await;
        assert_eq!(echoed, (101, "hello".to_owned()), "{program:?}");
        let received = world.application.take();
        assert_eq!(received[0].values("X-Stele-Username"), ["mark"], "{program:?}");
    }
}

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn a_huge_head_is_refused() {
    let world = World::start().await;
    let huge = "x".repeat(10 * 1024 * 1024);
    for proxy in &world.proxies {
        for name in ["X-Filler", "Cookie", "X-Stele-User"] {
            let response =
                send(proxy.port(), head("GET", "/x", &[world.authorization(), (name, &huge)]).as_bytes()).await;
            let is_refused = response.status == 0 || (400..=599).contains(&response.status);
            assert!(is_refused, "{:?} {name}: {}", proxy.program(), response.status);
        }
        assert!(world.application.take().is_empty(), "{:?}", proxy.program());
        // What the proxy takes and Stele refuses is refused.
        for size in [4_000, 30_000, 100_000] {
            let filler = "x".repeat(size);
            let response = send(proxy.port(), head("GET", "/x", &[("X-Filler", &filler)]).as_bytes()).await;
            assert!(response.status >= 400, "{:?} {size}: {}", proxy.program(), response.status);
        }
        assert!(world.application.take().is_empty(), "{:?}", proxy.program());
        let response = send(proxy.port(), head("GET", "/x", &[world.authorization()]).as_bytes()).await;
        assert_eq!((response.status, world.application.take().len()), (200, 1), "{:?}", proxy.program());
    }
}

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn while_stele_is_away_or_hangs_nothing_reaches_the_application() {
    let mut world = World::start().await;
    let port = world.service.as_ref().unwrap().address().port();
    world.service.take().unwrap().stop().await;
    for proxy in &world.proxies {
        let response = send(proxy.port(), head("GET", "/x", &[world.authorization()]).as_bytes()).await;
        let expected = match proxy.program() {
            ProxyProgram::Nginx => 500,
            ProxyProgram::Caddy => 502,
            ProxyProgram::Envoy => 503,
        };
        assert_eq!(response.status, expected, "{:?}", proxy.program());
        assert!(world.application.take().is_empty(), "{:?}", proxy.program());
    }
    // Accepts connections and never answers.
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    for proxy in &world.proxies {
        let response = send(proxy.port(), head("GET", "/x", &[world.authorization()]).as_bytes()).await;
        assert!(response.status >= 400, "{:?}: {response:?}", proxy.program());
        assert!(world.application.take().is_empty(), "{:?}", proxy.program());
    }
    drop(listener);
}

#[actix_web::test]
#[ignore = "needs nginx, Caddy and Envoy"]
async fn while_a_store_is_down_nothing_reaches_the_application() {
    let world = World::start().await;
    world.lab.set_state_store(stele_testkit::StoreState::Down);
    for proxy in &world.proxies {
        let response = send(proxy.port(), head("GET", "/x", &[world.authorization()]).as_bytes()).await;
        assert!(response.status >= 500, "{:?}: {response:?}", proxy.program());
    }
    assert!(world.application.take().is_empty());
    world.lab.set_state_store(stele_testkit::StoreState::Up);
    for proxy in &world.proxies {
        let response = send(proxy.port(), head("GET", "/x", &[world.authorization()]).as_bytes()).await;
        assert_eq!((response.status, world.application.take().len()), (200, 1), "{:?}", proxy.program());
    }
}
