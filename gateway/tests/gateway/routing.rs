//! Routing by path prefix: the service that receives a request, the forwarded target, and the paths that are rejected.

use crate::support::{SERVICES, TestGateway, start_echo_service, start_gateway};

const NO_ROUTE: &str = r#"{"error":"no_route","message":"没有匹配的接口 / no route"}"#;

fn start_all() -> TestGateway {
    let urls = SERVICES.map(|(name, _)| (name, start_echo_service(name)));
    start_gateway(&urls.each_ref().map(|(name, url)| (*name, url.as_str())), &[])
}

#[actix_web::test]
async fn each_prefix_reaches_its_service_with_the_target_unchanged() {
    let gateway = start_all();
    for (target, service) in [
        ("/api/v1/cloudbox/auth/pwdreset", "cloudbox"),
        ("/api/v1/cloudbox/smarttms/auth/authsalt", "cloudbox"),
        ("/container/api/v1/cloudbox/tms/auth/authsalt", "tms"),
        ("/i/register", "portal"),
        ("/code/send?x=1&y=%2F..%2f;//&z", "portal"),
        ("/auth/check/loginname", "mefp"),
        ("/api/v1/Auth/Login", "jwt"),
        ("/api/vi/Auth/getCAPTCHA?", "jwt"),
        ("/API/V1/AUTH/login", "jwt"),
        ("/api/VI/auth/Login!$&'()*+,=:@~-._", "jwt"),
        ("/i/x", "portal"),
    ] {
        let reply = gateway.get(target).await;
        assert_eq!((reply.status, reply.json()["service"].as_str()), (200, Some(service)), "{target}");
        assert_eq!(reply.json()["target"], target);
        assert_eq!(reply.header("x-served-by"), Some(service));
    }
}

#[actix_web::test]
async fn redundant_slashes_are_removed() {
    let gateway = start_all();
    for (target, expected, service) in [
        ("//i/login", "/i/login", "portal"),
        ("/i//login", "/i/login", "portal"),
        ("/i/login/", "/i/login", "portal"),
        ("///code////send//?a=//b/&c=%2f", "/code/send?a=//b/&c=%2f", "portal"),
        ("/i/", "/i", "portal"),
        ("/i", "/i", "portal"),
        ("/API/v1/AUTH//Login/", "/API/v1/AUTH/Login", "jwt"),
        ("//api/v1/cloudbox/smarttms//logout", "/api/v1/cloudbox/smarttms/logout", "cloudbox"),
        ("http://other.example//auth/login/", "/auth/login", "mefp"),
    ] {
        let reply = gateway.get(target).await;
        assert_eq!((reply.status, reply.json()["service"].as_str()), (200, Some(service)), "{target}");
        assert_eq!(reply.json()["target"], expected, "{target}");
    }
    // In a request target, unlike in a link, a leading `//` does not start a host name.
    assert_eq!(gateway.get("//other.example/i/login").await.status, 404);
}

#[actix_web::test]
async fn non_ascii_query_bytes_are_percent_encoded() {
    let reply = start_all().get("/i/login?名=刘&b=%E5%90%8D&é").await;
    assert_eq!(reply.json()["target"], "/i/login?%E5%90%8D=%E5%88%98&b=%E5%90%8D&%C3%A9");
}

#[actix_web::test]
async fn an_absolute_form_target_is_routed_by_its_path() {
    let reply = start_all().get("http://other.example/i/login?a=b").await;
    assert_eq!(reply.json()["target"], "/i/login?a=b");
}

#[actix_web::test]
async fn method_and_body_are_forwarded() {
    let gateway = start_all();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO"] {
        let reply = gateway.send(method, "/i/login", "", "body").await;
        assert_eq!((&reply.json()["method"], &reply.json()["body"]), (&method.into(), &"body".into()));
    }
    let reply = gateway.send("POST", "/i/login", "Content-Length: 0\r\n", "").await;
    assert_eq!(reply.forwarded_header("content-length"), ["0"]);
}

#[actix_web::test]
async fn a_request_without_a_route_gets_the_default_404() {
    let gateway = start_all();
    for target in ["/ii", "/I/login", "/Auth/login", "/api/v1/Cloudbox/x", "/metrics", "/healthz/", "//healthz", "*"] {
        let reply = gateway.get(target).await;
        assert_eq!((reply.status, reply.body.as_str()), (404, NO_ROUTE), "{target}");
        assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
}

/// ADR 60. The peer of these tests is on loopback; `ClientIdentity` and the routing table test who else may do this.
#[actix_web::test]
async fn a_proxy_on_loopback_describes_the_request_that_it_asks_about() {
    let gateway = start_all();
    let described = "X-Original-URL: https://a.example/x\r\nX-Forwarded-Host: a.example\r\nX-Forwarded-Uri: /x?y\r\n\
                     X-Forwarded-Method: PUT\r\nX-Forwarded-For: 192.0.2.1\r\n";
    for target in ["/authz/auth-request", "/authz/forward-auth?q", "/authz/ext-authz/x?token=t"] {
        let reply = gateway.send("GET", target, described, "").await;
        assert_eq!((reply.status, reply.json()["service"].as_str()), (200, Some("oauth")), "{target}");
        assert_eq!(reply.json()["target"], target);
        for (name, value) in [
            ("host", "public.example"),
            ("x-original-url", "https://a.example/x"),
            ("x-forwarded-host", "a.example"),
            ("x-forwarded-uri", "/x?y"),
            ("x-forwarded-method", "PUT"),
            ("x-forwarded-for", "127.0.0.1"),
        ] {
            assert_eq!(reply.forwarded_header(name), [value], "{target} {name}");
        }
    }
    let reply = gateway.send("GET", "/oauth2/jwks", described, "").await;
    assert_eq!(reply.forwarded_header("x-forwarded-host"), ["public.example"]);
    for name in ["x-forwarded-uri", "x-forwarded-method"] {
        assert_eq!(reply.forwarded_header(name), [""; 0], "{name}");
    }
}

/// A proxy would take the 204 for permission.
#[actix_web::test]
async fn a_preflight_request_below_a_proxy_prefix_reaches_the_service() {
    let gateway =
        start_gateway(&[("oauth", &start_echo_service("oauth"))], &[("STELE_CORS_ORIGINS", "https://app.example")]);
    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n";
    let reply = gateway.send("OPTIONS", "/authz/ext-authz/x", preflight, "").await;
    assert_eq!((reply.status, reply.json()["service"].as_str()), (200, Some("oauth")));
    assert_eq!(gateway.send("OPTIONS", "/oauth2/jwks", preflight, "").await.status, 204);
}

#[actix_web::test]
async fn ambiguous_paths_are_rejected() {
    let gateway = start_all();
    for suffix in [
        "./",
        ".//x",
        "..//x",
        ".",
        "..",
        "./x",
        "../auth/login",
        "x/..",
        "x/./y",
        "%2e%2e/x",
        "x%2fy",
        "x%2Fy",
        "%",
        "%zz",
        "x%00",
        "x;y",
        ";/x",
        "x\\y",
        "..\\x",
        "%5c",
        "%E7%99%BB",
        "x/%2f",
        "//..//x",
    ] {
        for (prefix, body) in [
            ("/api/v1/cloudbox/", r#"{"message":"接口不存在","code":"1001"}"#),
            ("/container/api/v1/cloudbox/tms/", r#"{"message":"接口不存在","code":"1001"}"#),
            (
                "/code/",
                r#"{"status":{"status_code":"404","status_message":"接口不存在","message":"接口不存在"},"content":{}}"#,
            ),
            ("/auth/", r#"{"result":0,"errors":{"code":40400,"message":"接口不存在"}}"#),
            ("/api/VI/auth/", r#"{"code":-1,"message":"接口不存在"}"#),
        ] {
            let reply = gateway.get(&format!("{prefix}{suffix}")).await;
            assert_eq!((reply.status, reply.body.as_str()), (404, body), "{prefix}{suffix}");
            assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
        }
    }
}

#[actix_web::test]
async fn paths_with_non_ascii_bytes_are_rejected() {
    let gateway = start_all();
    for path in ["/i/登录", "/i/\u{7f}", "/i/\u{1}"] {
        let reply = gateway.get(path).await;
        assert!(matches!(reply.status, 400 | 404), "{path:?}: {reply:?}");
        assert_eq!(reply.header("x-served-by"), None);
    }
}

#[actix_web::test]
async fn trace_and_connect_are_rejected() {
    let gateway = start_all();
    let reply = gateway.send("TRACE", "/auth/login", "", "").await;
    assert_eq!(reply.header("allow"), Some("GET, POST"));
    assert_eq!(reply.status, 405);
    assert_eq!(reply.body, r#"{"result":0,"errors":{"code":40500,"message":"请求方法不支持"}}"#);
    assert_eq!(gateway.send("CONNECT", "example.com:443", "", "").await.status, 404);
}
