//! Browsers of other origins.

use actix_web::HttpResponse;

use crate::support::{Gateway, Reply, echo, gateway, service};

const LIST: &str = "https://app.example, http://localhost:3000";

fn front(origins: &str) -> Gateway {
    gateway(&[("jwt", &echo("jwt"))], &[("STELE_CORS_ORIGINS", origins)])
}

async fn preflight(gateway: &Gateway, origin: &str) -> Reply {
    let headers = format!(
        "Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: content-type, TOKEN, x-evil\r\n"
    );
    gateway.send("OPTIONS", "/api/v1/Auth/Login", &headers, "").await
}

#[actix_web::test]
async fn a_preflight_is_answered_here() {
    let reply = preflight(&front(LIST), "https://app.example").await;
    assert_eq!((reply.status, reply.header("x-served-by")), (204, None));
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, POST, OPTIONS"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("content-type, TOKEN, x-evil"));
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(reply.header("access-control-max-age"), Some("600"));
    assert_eq!(reply.header("vary"), Some("Origin"));
}

#[actix_web::test]
async fn other_origins_get_no_permission() {
    let gateway = front(LIST);
    for origin in
        ["https://evil.example", "http://app.example", "https://app.example.evil", "null", "HTTPS://APP.EXAMPLE"]
    {
        let reply = preflight(&gateway, origin).await;
        assert_eq!(reply.status, 204);
        assert!(!reply.head.to_ascii_lowercase().contains("access-control-"), "{origin}: {}", reply.head);
        let reply = gateway.send("GET", "/api/v1/Auth/x", &format!("Origin: {origin}\r\n"), "").await;
        assert_eq!((reply.status, reply.header("vary")), (200, Some("Origin")));
        assert!(!reply.head.to_ascii_lowercase().contains("access-control-"), "{origin}: {}", reply.head);
    }
}

#[actix_web::test]
async fn an_allowed_page_may_read_the_token() {
    let gateway = front(LIST);
    for target in ["/api/v1/Auth/x", "/api/v1/Auth/..", "/i/login"] {
        let reply = gateway.send("GET", target, "Origin: http://localhost:3000\r\n", "").await;
        assert_eq!(reply.header("access-control-allow-origin"), Some("http://localhost:3000"), "{target}");
        assert_eq!(reply.header("access-control-expose-headers"), Some("Authorization"));
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    }
}

#[actix_web::test]
async fn a_page_without_an_origin_can_be_listed() {
    let reply = preflight(&front("null"), "null").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some("null")));
    assert_eq!(reply.header("access-control-allow-headers"), Some("content-type, TOKEN, x-evil"));
}

#[actix_web::test]
async fn any_origin_never_means_with_cookies() {
    let gateway = front("*");
    let reply = preflight(&gateway, "https://anyone.example").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some("*")));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    let reply = gateway.send("GET", "/api/v1/Auth/x", "Origin: https://anyone.example\r\n", "").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
}

#[actix_web::test]
async fn by_default_nothing_is_allowed_and_the_service_sees_the_options() {
    let gateway = front("");
    let reply = preflight(&gateway, "https://app.example").await;
    assert_eq!((reply.status, reply.header("x-served-by")), (200, Some("jwt")));
    assert!(
        !reply.head.to_ascii_lowercase().contains("access-control-") && reply.header("vary").is_none(),
        "{}",
        reply.head
    );
}

#[actix_web::test]
async fn options_that_are_no_preflight_reach_the_service() {
    let reply = front(LIST).send("OPTIONS", "/api/v1/Auth/x", "Origin: https://app.example\r\n", "").await;
    assert_eq!(reply.header("x-served-by"), Some("jwt"));
    let reply = front(LIST).send("OPTIONS", "/nowhere", "Origin: https://app.example\r\n", "").await;
    assert_eq!(reply.status, 404);
}

#[actix_web::test]
async fn what_a_service_says_about_origins_does_not_count() {
    let url = service(|| async {
        HttpResponse::Ok()
            .insert_header(("Access-Control-Allow-Origin", "*"))
            .insert_header(("Access-Control-Allow-Credentials", "true"))
            .insert_header(("Vary", "Accept"))
            .finish()
    });
    for (origins, allowed) in [("", None), (LIST, Some("https://app.example"))] {
        let gateway = gateway(&[("jwt", &url)], &[("STELE_CORS_ORIGINS", origins)]);
        let reply = gateway.send("GET", "/api/v1/Auth/x", "Origin: https://app.example\r\n", "").await;
        assert_eq!(reply.header("access-control-allow-origin"), allowed);
        assert_eq!(reply.headers("access-control-allow-credentials").len(), usize::from(allowed.is_some()));
        assert!(reply.headers("vary").contains(&"Accept"));
    }
}
