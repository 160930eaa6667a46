//! Header fields that the gateway forwards, removes, adds and replaces, in both directions.

use actix_web::HttpResponse;

use crate::support::{
    TestGateway, secret_string, start_echo_service, start_gateway, start_gateway_with, start_service,
};

fn start_without_trusted_proxies() -> TestGateway {
    start_gateway(&[("portal", &start_echo_service("portal"))], &[])
}

fn start_with_trusted_proxies() -> TestGateway {
    start_gateway(&[("portal", &start_echo_service("portal"))], &[("STELE_TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")])
}

#[actix_web::test]
async fn end_to_end_headers_are_forwarded() {
    let headers = "Authorization: Bearer x.y\r\ntoken: t\r\nCookie: a=1\r\nX-Requested-With: y\r\nAccept-Encoding: gzip\r\n\
                   X-Two: 1\r\nX-Two: 2\r\nContent-Type: application/json\r\nX-Empty:\r\n";
    let reply = start_without_trusted_proxies().send("POST", "/i/login", headers, "{}").await;
    for (name, values) in [
        ("authorization", vec!["Bearer x.y"]),
        ("token", vec!["t"]),
        ("cookie", vec!["a=1"]),
        ("x-requested-with", vec!["y"]),
        ("accept-encoding", vec!["gzip"]),
        ("x-two", vec!["1", "2"]),
        ("content-type", vec!["application/json"]),
        ("content-length", vec!["2"]),
        ("x-empty", vec![""]),
    ] {
        assert_eq!(reply.forwarded_header(name), values, "{name}");
    }
    assert_eq!(reply.forwarded_header("user-agent"), [""; 0], "the gateway adds no other header");
}

#[actix_web::test]
async fn hop_by_hop_and_connection_listed_headers_are_removed() {
    let raw = "GET /i/login HTTP/1.1\r\nHost: h\r\nConnection: close, X-Secret\r\nConnection: token\r\nX-Secret: 1\r\ntoken: t\r\n\
               Keep-Alive: timeout=5\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: close\r\nTE: trailers\r\n\
               Trailer: X-T\r\nUpgrade: h2c\r\nExpect: 100-continue\r\nX-Other: 1\r\n\r\n";
    let gateway = start_without_trusted_proxies();
    // Without a body, `Expect: 100-continue` has no effect (RFC 9110 §10.1.1).
    let reply = gateway.send_raw(raw).await;
    assert_eq!(reply.status, 200);
    for name in [
        "x-secret",
        "token",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "connection",
        "expect",
    ] {
        assert_eq!(reply.forwarded_header(name), [""; 0], "{name}");
    }
    assert_eq!(reply.forwarded_header("x-other"), ["1"]);
}

#[actix_web::test]
async fn method_override_headers_are_removed() {
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let reply = start_without_trusted_proxies().send("GET", "/i/login", &format!("{name}: DELETE\r\n"), "").await;
        assert_eq!(
            (reply.json()["method"].as_str(), reply.forwarded_header(&name.to_ascii_lowercase())),
            (Some("GET"), vec![])
        );
    }
}

#[actix_web::test]
async fn every_401_has_a_www_authenticate_challenge() {
    let challenge = "Bearer realm=\"stele\"";
    let without_challenge = start_service(|| async { HttpResponse::Unauthorized().finish() });
    let with_challenge = start_service(|| async {
        HttpResponse::Unauthorized().insert_header(("WWW-Authenticate", "Basic realm=\"x\"")).finish()
    });
    for (url, expected) in [(without_challenge, challenge), (with_challenge, "Basic realm=\"x\"")] {
        let reply = start_gateway(&[("portal", &url)], &[]).get("/i/login").await;
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some(expected)));
    }
    assert_eq!(start_without_trusted_proxies().get("/i/login").await.header("www-authenticate"), None);
}

#[actix_web::test]
async fn the_connection_header_cannot_remove_forwarded_headers() {
    let reply = start_without_trusted_proxies()
        .send("GET", "/i/login", "Connection: x-forwarded-for, x-request-id\r\n", "")
        .await;
    assert_eq!(reply.forwarded_header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(reply.forwarded_header("x-request-id").len(), 1);
}

#[actix_web::test]
async fn forwarded_headers_of_an_untrusted_client_are_replaced() {
    let headers = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\n\
                   X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 1\r\nForwarded: for=203.0.113.9\r\n\
                   X-Real-IP: 203.0.113.9\r\nX-Stele-Hop: guess\r\nX-Request-Id: theirs\r\nX_Forwarded_For: 203.0.113.9\r\n\
                   X_Stele_Hop: guess\r\nContent_Type: x\r\n";
    let reply = start_without_trusted_proxies().send("GET", "/i/login", headers, "").await;
    assert_eq!(reply.forwarded_header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(reply.forwarded_header("x-forwarded-proto"), ["http"]);
    assert_eq!(reply.forwarded_header("x-forwarded-host"), ["public.example"]);
    for name in
        ["x-forwarded-port", "forwarded", "x-real-ip", "x-stele-hop", "x_forwarded_for", "x_stele_hop", "content_type"]
    {
        assert_eq!(reply.forwarded_header(name), [""; 0], "{name}");
    }
    assert_ne!(reply.forwarded_header("x-request-id"), ["theirs"]);
}

#[actix_web::test]
async fn x_forwarded_for_of_a_trusted_proxy_is_used() {
    let gateway = start_with_trusted_proxies();
    for (chain, client) in [
        ("X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"),
        ("X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.2.3.4\r\n", "203.0.113.9"),
        ("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"),
        ("X-Forwarded-For: [2001:db8::1]:5\r\n", "2001:db8::1"),
        ("X-Forwarded-For: 1.1.1.1, nonsense\r\n", "127.0.0.1"),
        ("", "127.0.0.1"),
    ] {
        let reply = gateway.send("GET", "/i/login", chain, "").await;
        assert_eq!(reply.forwarded_header("x-forwarded-for"), [client], "{chain}");
    }
    let headers =
        "X-Forwarded-Proto: https\r\nX-Forwarded-Host: shown.example\r\nX-Stele-Hop: guess\r\nX-Real-IP: 1.1.1.1\r\n";
    let reply = gateway.send("GET", "/i/login", headers, "").await;
    assert_eq!(reply.forwarded_header("x-forwarded-proto"), ["https"]);
    assert_eq!(reply.forwarded_header("x-forwarded-host"), ["shown.example"]);
    assert_eq!(reply.forwarded_header("x-stele-hop"), [""; 0]);
    assert_eq!(reply.forwarded_header("x-real-ip"), [""; 0]);
}

#[actix_web::test]
async fn the_service_gets_its_own_host_and_the_gateway_secret() {
    let url = start_echo_service("portal");
    let gateway =
        start_gateway_with(&[("portal", &url)], &[], |config| config.with_gateway_secret(secret_string("s3cret")));
    let reply = gateway.send("GET", "/i/login", "X-Stele-Hop: guess\r\n", "").await;
    assert_eq!(reply.forwarded_header("x-stele-hop"), ["s3cret"]);
    assert_eq!(reply.forwarded_header("host"), [url.strip_prefix("http://").unwrap()]);
}

#[actix_web::test]
async fn every_response_has_the_request_id_sent_to_the_service() {
    let gateway = start_without_trusted_proxies();
    let reply = gateway.get("/i/login").await;
    let id = reply.header("x-request-id").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert_eq!(reply.forwarded_header("x-request-id"), [id]);
    for target in ["/nowhere", "/i/..", "/auth/login", "/healthz"] {
        assert_eq!(gateway.get(target).await.header("x-request-id").map(str::len), Some(32), "{target}");
    }
}

#[actix_web::test]
async fn a_valid_request_id_of_a_trusted_proxy_is_used() {
    let gateway = start_with_trusted_proxies();
    let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
    for (sent, is_valid) in [
        ("Az09._-", true),
        (longest.as_str(), true),
        (too_long.as_str(), false),
        ("", false),
        ("a b", false),
        ("a\"b", false),
    ] {
        let reply = gateway.send("GET", "/i/login", &format!("X-Request-Id: {sent}\r\n"), "").await;
        assert_eq!(reply.header("x-request-id") == Some(sent), is_valid, "{sent}");
        assert_eq!(reply.forwarded_header("x-request-id"), [reply.header("x-request-id").unwrap()]);
    }
}

#[actix_web::test]
async fn hop_by_hop_headers_are_removed_from_responses() {
    let url = start_service(|| async {
        HttpResponse::Unauthorized()
            .insert_header(("Authorization", "Bearer x"))
            .append_header(("Set-Cookie", "a=1; HttpOnly"))
            .append_header(("Set-Cookie", "b=2"))
            .insert_header(("Keep-Alive", "timeout=5"))
            .insert_header(("Proxy-Authenticate", "Basic"))
            .insert_header(("X-Request-Id", "theirs"))
            .insert_header(("Content-Encoding", "gzip"))
            .insert_header(("Retry-After", "7"))
            .body("not really gzip")
    });
    let reply = start_gateway(&[("jwt", &url)], &[]).get("/api/v1/Auth/Login").await;
    assert_eq!((reply.status, reply.body.as_str()), (401, "not really gzip"));
    assert_eq!(reply.header("authorization"), Some("Bearer x"));
    assert_eq!(reply.header("content-length"), Some("15"));
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert_eq!(reply.header("retry-after"), Some("7"));
    assert_eq!(reply.headers("set-cookie").len(), 2);
    assert_eq!(reply.headers("date").len(), 1);
    assert_ne!(reply.header("x-request-id"), Some("theirs"));
    assert_eq!(reply.header("keep-alive").or(reply.header("proxy-authenticate")), None);
}

#[actix_web::test]
async fn responses_without_a_body_are_forwarded() {
    let url = start_service(|| async { HttpResponse::NoContent().finish() });
    let gateway = start_gateway(&[("portal", &url), ("mefp", &start_echo_service("mefp"))], &[]);
    let reply = gateway.get("/i/login").await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    let reply = gateway.send("HEAD", "/auth/login", "", "").await;
    assert_eq!((reply.status, reply.body.as_str(), reply.header("x-served-by")), (200, "", Some("mefp")));
    // The length that a GET would have, as sent by the service (RFC 9110 §9.3.2).
    assert!(reply.header("content-length").unwrap().parse::<usize>().unwrap() > 100);
}
