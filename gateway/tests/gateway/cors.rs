//! CORS (cross-origin resource sharing): preflight requests, allowed origins, exposed headers.

use actix_web::HttpResponse;

use crate::support::{TestGateway, TestResponse, start_echo_service, start_gateway, start_service};

const ALLOWED_ORIGINS: &str = "https://app.example, http://localhost:3000";

fn start_with_origins(origins: &str) -> TestGateway {
    start_gateway(&[("jwt", &start_echo_service("jwt"))], &[("STELE_CORS_ORIGINS", origins)])
}

async fn send_preflight(gateway: &TestGateway, origin: &str) -> TestResponse {
    let headers = format!(
        "Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: content-type, TOKEN, x-evil\r\n"
    );
    gateway.send("OPTIONS", "/api/v1/Auth/Login", &headers, "").await
}

#[actix_web::test]
async fn the_gateway_answers_preflight_requests() {
    let reply = send_preflight(&start_with_origins(ALLOWED_ORIGINS), "https://app.example").await;
    assert_eq!((reply.status, reply.header("x-served-by")), (204, None));
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, POST, OPTIONS"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("content-type, TOKEN, x-evil"));
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(reply.header("access-control-max-age"), Some("600"));
    assert_eq!(reply.header("vary"), Some("Origin"));
}

#[actix_web::test]
async fn other_origins_get_no_cors_headers() {
    let gateway = start_with_origins(ALLOWED_ORIGINS);
    for origin in
        ["https://evil.example", "http://app.example", "https://app.example.evil", "null", "HTTPS://APP.EXAMPLE"]
    {
        let reply = send_preflight(&gateway, origin).await;
        assert_eq!(reply.status, 204);
        assert!(!reply.head.to_ascii_lowercase().contains("access-control-"), "{origin}: {}", reply.head);
        let reply = gateway.send("GET", "/api/v1/Auth/x", &format!("Origin: {origin}\r\n"), "").await;
        assert_eq!((reply.status, reply.header("vary")), (200, Some("Origin")));
        assert!(!reply.head.to_ascii_lowercase().contains("access-control-"), "{origin}: {}", reply.head);
    }
}

#[actix_web::test]
async fn an_allowed_origin_may_read_the_authorization_header() {
    let gateway = start_with_origins(ALLOWED_ORIGINS);
    for target in ["/api/v1/Auth/x", "/api/v1/Auth/..", "/i/login"] {
        let reply = gateway.send("GET", target, "Origin: http://localhost:3000\r\n", "").await;
        assert_eq!(reply.header("access-control-allow-origin"), Some("http://localhost:3000"), "{target}");
        assert_eq!(reply.header("access-control-expose-headers"), Some("Authorization"));
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    }
}

#[actix_web::test]
async fn the_null_origin_can_be_allowed() {
    let reply = send_preflight(&start_with_origins("null"), "null").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some("null")));
    assert_eq!(reply.header("access-control-allow-headers"), Some("content-type, TOKEN, x-evil"));
}

#[actix_web::test]
async fn a_wildcard_origin_never_allows_credentials() {
    let gateway = start_with_origins("*");
    let reply = send_preflight(&gateway, "https://anyone.example").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some("*")));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    let reply = gateway.send("GET", "/api/v1/Auth/x", "Origin: https://anyone.example\r\n", "").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
}

#[actix_web::test]
async fn by_default_preflight_requests_are_forwarded() {
    let gateway = start_with_origins("");
    let reply = send_preflight(&gateway, "https://app.example").await;
    assert_eq!((reply.status, reply.header("x-served-by")), (200, Some("jwt")));
    assert!(
        !reply.head.to_ascii_lowercase().contains("access-control-") && reply.header("vary").is_none(),
        "{}",
        reply.head
    );
}

#[actix_web::test]
async fn options_requests_without_preflight_headers_are_forwarded() {
    let reply = start_with_origins(ALLOWED_ORIGINS)
        .send("OPTIONS", "/api/v1/Auth/x", "Origin: https://app.example\r\n", "")
        .await;
    assert_eq!(reply.header("x-served-by"), Some("jwt"));
    let reply =
        start_with_origins(ALLOWED_ORIGINS).send("OPTIONS", "/nowhere", "Origin: https://app.example\r\n", "").await;
    assert_eq!(reply.status, 404);
}

#[actix_web::test]
async fn cors_headers_of_a_service_are_replaced() {
    let url = start_service(|| async {
        HttpResponse::Ok()
            .insert_header(("Access-Control-Allow-Origin", "*"))
            .insert_header(("Access-Control-Allow-Credentials", "true"))
            .insert_header(("Vary", "Accept"))
            .finish()
    });
    for (origins, allowed) in [("", None), (ALLOWED_ORIGINS, Some("https://app.example"))] {
        let gateway = start_gateway(&[("jwt", &url)], &[("STELE_CORS_ORIGINS", origins)]);
        let reply = gateway.send("GET", "/api/v1/Auth/x", "Origin: https://app.example\r\n", "").await;
        assert_eq!(reply.header("access-control-allow-origin"), allowed);
        assert_eq!(reply.headers("access-control-allow-credentials").len(), usize::from(allowed.is_some()));
        assert!(reply.headers("vary").contains(&"Accept"));
    }
}
