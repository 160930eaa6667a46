//! Which headers cross the gateway, in both directions.

use actix_web::HttpResponse;

use crate::support::{Gateway, echo, gateway, gateway_with, secret, service};

fn untrusting() -> Gateway {
    gateway(&[("portal", &echo("portal"))], &[])
}

fn trusting() -> Gateway {
    gateway(&[("portal", &echo("portal"))], &[("STELE_TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")])
}

#[actix_web::test]
async fn ordinary_headers_cross() {
    let headers = "Authorization: Bearer x.y\r\ntoken: t\r\nCookie: a=1\r\nX-Requested-With: y\r\nAccept-Encoding: gzip\r\n\
                   X-Two: 1\r\nX-Two: 2\r\nContent-Type: application/json\r\nX-Empty:\r\n";
    let reply = untrusting().send("POST", "/i/login", headers, "{}").await;
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
        assert_eq!(reply.seen(name), values, "{name}");
    }
    assert_eq!(reply.seen("user-agent"), [""; 0], "the gateway adds nothing of its own");
}

#[actix_web::test]
async fn hop_by_hop_headers_and_what_connection_names_stay_here() {
    let raw = "GET /i/login HTTP/1.1\r\nHost: h\r\nConnection: close, X-Secret\r\nConnection: token\r\nX-Secret: 1\r\ntoken: t\r\n\
               Keep-Alive: timeout=5\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: close\r\nTE: trailers\r\n\
               Trailer: X-T\r\nUpgrade: h2c\r\nExpect: 100-continue\r\nX-Kept: 1\r\n\r\n";
    let gateway = untrusting();
    // Without a body there is nothing to wait for leave to send: RFC 9110, section 10.1.1.
    let reply = gateway.raw(raw).await;
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
        assert_eq!(reply.seen(name), [""; 0], "{name}");
    }
    assert_eq!(reply.seen("x-kept"), ["1"]);
}

#[actix_web::test]
async fn no_header_asks_a_service_for_another_method() {
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let reply = untrusting().send("GET", "/i/login", &format!("{name}: DELETE\r\n"), "").await;
        assert_eq!((reply.json()["method"].as_str(), reply.seen(&name.to_ascii_lowercase())), (Some("GET"), vec![]));
    }
}

#[actix_web::test]
async fn a_401_has_a_challenge_whatever_the_service_says() {
    let challenge = "Bearer realm=\"stele\"";
    let silent = service(|| async { HttpResponse::Unauthorized().finish() });
    let own = service(|| async {
        HttpResponse::Unauthorized().insert_header(("WWW-Authenticate", "Basic realm=\"x\"")).finish()
    });
    for (url, expected) in [(silent, challenge), (own, "Basic realm=\"x\"")] {
        let reply = gateway(&[("portal", &url)], &[]).get("/i/login").await;
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some(expected)));
    }
    assert_eq!(untrusting().get("/i/login").await.header("www-authenticate"), None);
}

#[actix_web::test]
async fn connection_cannot_name_away_what_the_gateway_says() {
    let reply = untrusting().send("GET", "/i/login", "Connection: x-forwarded-for, x-request-id\r\n", "").await;
    assert_eq!(reply.seen("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(reply.seen("x-request-id").len(), 1);
}

#[actix_web::test]
async fn a_stranger_cannot_say_who_it_is() {
    let headers = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\n\
                   X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 1\r\nForwarded: for=203.0.113.9\r\n\
                   X-Real-IP: 203.0.113.9\r\nX-Stele-Hop: guess\r\nX-Request-Id: theirs\r\nX_Forwarded_For: 203.0.113.9\r\n\
                   X_Stele_Hop: guess\r\nContent_Type: x\r\n";
    let reply = untrusting().send("GET", "/i/login", headers, "").await;
    assert_eq!(reply.seen("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(reply.seen("x-forwarded-proto"), ["http"]);
    assert_eq!(reply.seen("x-forwarded-host"), ["public.example"]);
    for name in
        ["x-forwarded-port", "forwarded", "x-real-ip", "x-stele-hop", "x_forwarded_for", "x_stele_hop", "content_type"]
    {
        assert_eq!(reply.seen(name), [""; 0], "{name}");
    }
    assert_ne!(reply.seen("x-request-id"), ["theirs"]);
}

#[actix_web::test]
async fn a_trusted_proxy_is_believed_about_its_client() {
    let gateway = trusting();
    for (chain, client) in [
        ("X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"),
        ("X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.2.3.4\r\n", "203.0.113.9"),
        ("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"),
        ("X-Forwarded-For: [2001:db8::1]:5\r\n", "2001:db8::1"),
        ("X-Forwarded-For: 1.1.1.1, nonsense\r\n", "127.0.0.1"),
        ("", "127.0.0.1"),
    ] {
        let reply = gateway.send("GET", "/i/login", chain, "").await;
        assert_eq!(reply.seen("x-forwarded-for"), [client], "{chain}");
    }
    let headers =
        "X-Forwarded-Proto: https\r\nX-Forwarded-Host: shown.example\r\nX-Stele-Hop: guess\r\nX-Real-IP: 1.1.1.1\r\n";
    let reply = gateway.send("GET", "/i/login", headers, "").await;
    assert_eq!(reply.seen("x-forwarded-proto"), ["https"]);
    assert_eq!(reply.seen("x-forwarded-host"), ["shown.example"]);
    assert_eq!(reply.seen("x-stele-hop"), [""; 0]);
    assert_eq!(reply.seen("x-real-ip"), [""; 0]);
}

#[actix_web::test]
async fn the_service_is_addressed_as_itself_and_shown_the_hop_secret() {
    let url = echo("portal");
    let gateway = gateway_with(&[("portal", &url)], &[], |config| config.with_hop_secret(secret("s3cret")));
    let reply = gateway.send("GET", "/i/login", "X-Stele-Hop: guess\r\n", "").await;
    assert_eq!(reply.seen("x-stele-hop"), ["s3cret"]);
    assert_eq!(reply.seen("host"), [url.strip_prefix("http://").unwrap()]);
}

#[actix_web::test]
async fn every_answer_has_a_request_id_that_the_service_has_too() {
    let gateway = untrusting();
    let reply = gateway.get("/i/login").await;
    let id = reply.header("x-request-id").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert_eq!(reply.seen("x-request-id"), [id]);
    for target in ["/nowhere", "/i/..", "/auth/login", "/healthz"] {
        assert_eq!(gateway.get(target).await.header("x-request-id").map(str::len), Some(32), "{target}");
    }
}

#[actix_web::test]
async fn a_request_id_is_believed_from_a_trusted_proxy_if_it_is_one() {
    let gateway = trusting();
    let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
    for (sent, believed) in [
        ("Az09._-", true),
        (longest.as_str(), true),
        (too_long.as_str(), false),
        ("", false),
        ("a b", false),
        ("a\"b", false),
    ] {
        let reply = gateway.send("GET", "/i/login", &format!("X-Request-Id: {sent}\r\n"), "").await;
        assert_eq!(reply.header("x-request-id") == Some(sent), believed, "{sent}");
        assert_eq!(reply.seen("x-request-id"), [reply.header("x-request-id").unwrap()]);
    }
}

#[actix_web::test]
async fn the_answer_crosses_without_its_hop_by_hop_headers() {
    let url = service(|| async {
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
    let reply = gateway(&[("jwt", &url)], &[]).get("/api/v1/Auth/Login").await;
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
async fn answers_without_a_body_cross() {
    let url = service(|| async { HttpResponse::NoContent().finish() });
    let gateway = gateway(&[("portal", &url), ("mefp", &echo("mefp"))], &[]);
    let reply = gateway.get("/i/login").await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    let reply = gateway.send("HEAD", "/auth/login", "", "").await;
    assert_eq!((reply.status, reply.body.as_str(), reply.header("x-served-by")), (200, "", Some("mefp")));
    // What it would be, as the service says.
    assert!(reply.header("content-length").unwrap().parse::<usize>().unwrap() > 100);
}
