//! HTTP behaviour of a service that is reached without the gateway: header case, status codes, CORS, path matching.

use stele_core::Error;
use stele_dialect::{FieldError, RequestRejection};

use super::ServiceUnderTest;
use super::openapi::{fetch_document, served_methods};
use crate::raw_http;
use crate::test_app::response_parts;

/// Sends a request without a body; returns head and body of the response.
async fn send_without_body(app: &impl ServiceUnderTest, method: &str, path: &str, headers: &str) -> (String, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
    let response = raw_http::send_raw(app.service.address(), request.as_bytes()).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: {response}"));
    (head.to_owned(), body.to_owned())
}

async fn fetch_head(app: &impl ServiceUnderTest, method: &str, path: &str, headers: &str) -> String {
    send_without_body(app, method, path, headers).await.0
}

/// The value of a header; the name is compared with its letter case.
fn find_header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(field, _)| *field == name).map(|(_, value)| value)
}

pub async fn header_names_are_title_case<D: ServiceUnderTest>() {
    let app = D::start_with(&[]).await;
    let document = fetch_document(&app).await;
    let paths = document["paths"].as_object().unwrap().keys().map(|path| path.replace("{id}", "1"));
    for path in paths.chain(["/nowhere".to_owned(), "/healthz".to_owned(), "/openapi.json".to_owned()]) {
        for method in ["GET", "POST", "PUT", "HEAD"] {
            let head = fetch_head(&app, method, &path, "").await;
            let names: Vec<_> = head.lines().skip(1).map(|line| line.split_once(": ").unwrap().0).collect();
            assert!(names.contains(&"Date"), "{head}");
            for word in names.iter().flat_map(|name| name.split('-')) {
                let is_title = word.chars().enumerate().all(|(index, c)| c.is_ascii_uppercase() == (index == 0));
                assert!(is_title, "{method} {path}: {head}");
            }
        }
    }
}

pub async fn every_401_has_www_authenticate<D: ServiceUnderTest>() {
    const CHALLENGE: &str = "Bearer realm=\"stele\"";
    let app = D::start_with(&[]).await;
    let rendered = stele_dialect::finish_error_response(
        &Error::NotAuthenticated,
        (D::SERVICE.render_error)(&Error::NotAuthenticated),
    );
    assert_eq!(rendered.headers().get("www-authenticate").unwrap(), CHALLENGE);
    let document = fetch_document(&app).await;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in served_methods(item) {
            for token in ["", "Authorization: Bearer nonsense\r\n"] {
                let head = fetch_head(&app, method, &path.replace("{id}", "1"), token).await;
                let expected = head.starts_with("HTTP/1.1 401 ").then_some(CHALLENGE);
                assert_eq!(find_header(&head, "Www-Authenticate"), expected, "{method} {path}: {head}");
            }
        }
    }
}

pub async fn an_allowed_cors_origin_may_send_any_header<D: ServiceUnderTest>() {
    let app = D::start_with(&[("STELE_CORS_ORIGINS", "https://app.example, null")]).await;
    let preflight =
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: traceparent, X-CSRF-Token\r\n";
    for (origin, is_allowed) in [("https://app.example", true), ("null", true), ("https://evil.example", false)] {
        let response = fetch_head(&app, "OPTIONS", D::CALL_PATH, &format!("Origin: {origin}\r\n{preflight}")).await;
        assert!(response.starts_with("HTTP/1.1 204 "), "{response}");
        let names = find_header(&response, "Access-Control-Allow-Headers");
        assert_eq!(names, is_allowed.then_some("traceparent, X-CSRF-Token"), "{response}");
        for response in [response, fetch_head(&app, "POST", D::CALL_PATH, &format!("Origin: {origin}\r\n")).await] {
            assert_eq!(
                find_header(&response, "Access-Control-Allow-Origin"),
                is_allowed.then_some(origin),
                "{response}"
            );
            assert_eq!(find_header(&response, "Vary"), Some("Origin"), "{response}");
        }
    }
    // Without the setting, preflight requests are not answered.
    let response = fetch_head(
        &D::start_with(&[]).await,
        "OPTIONS",
        D::CALL_PATH,
        &format!("Origin: https://app.example\r\n{preflight}"),
    )
    .await;
    assert!(response.starts_with("HTTP/1.1 405 ") && !response.contains("Access-Control"), "{response}");
}

pub async fn errors_of_the_http_library_have_a_dialect_body<D: ServiceUnderTest>() {
    let app = D::start_with(&[("STELE_CLIENT_TIMEOUT", "1")]).await;
    let login = D::CALL_PATH;
    let malformed = RequestRejection::InvalidInput(FieldError::MalformedRequest);
    for (status, rejection, request) in [
        (400, &malformed, b"nonsense\r\n\r\n".to_vec()),
        // A head that is too long; a header name that is too long.
        (431, &malformed, [format!("POST {login} HTTP/1.1\r\nX: ").as_bytes(), &[b'x'; 300_000]].concat()),
        (431, &malformed, [b"GET / HTTP/1.1\r\n".as_slice(), &[b'x'; 66_000], b": y\r\n\r\n"].concat()),
        (408, &RequestRejection::RequestTimeout, format!("POST {login} HTTP/1.1\r\nHost:").into_bytes()),
    ] {
        let response = raw_http::send_raw(app.service.address(), &request).await;
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        assert_eq!(body, response_parts((D::SERVICE.render_rejection)(rejection)).2, "{response}");
        assert_eq!(find_header(head, "Content-Length"), Some(body.len().to_string().as_str()), "{response}");
        assert_eq!(find_header(head, "Connection"), Some("close"), "{response}");
    }
}

pub async fn duplicate_slashes_reach_the_same_route<D: ServiceUnderTest>() {
    let app = D::start_with(&[]).await;
    let document = fetch_document(&app).await;
    let not_found = response_parts((D::SERVICE.render_rejection)(&RequestRejection::NotFound)).2;
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "1");
        let get_status_line = |head: &str| head.lines().next().unwrap_or_default().to_owned();
        for method in served_methods(item) {
            let expected = get_status_line(&fetch_head(&app, method, &path, "").await);
            for variant in [format!("{path}/"), format!("{path}//?a=b/"), format!("/{path}"), path.replace('/', "//")] {
                let (head, body) = send_without_body(&app, method, &variant, "").await;
                assert_eq!(get_status_line(&head), expected, "{method} {variant}");
                assert_ne!(body, not_found, "{method} {variant}");
            }
        }
    }
}

pub async fn ambiguous_paths_are_rejected<D: ServiceUnderTest>() {
    let app = D::start_with(&[]).await;
    let (folder, name) = D::CALL_PATH.rsplit_once('/').unwrap();
    let (first, tail) = name.split_at(1);
    let escaped = format!("%{:02x}", first.as_bytes()[0]);
    for variant in [
        format!("{folder}/./{name}"),
        format!("{folder}/x/../{name}"),
        format!("{folder}/x/..//{name}/"),
        format!("{folder}%2f{name}"),
        format!("{folder}/{name}%2f"),
        format!("{folder}/{escaped}{tail}"),
        format!("{folder}/{name};a=b"),
    ] {
        let (head, body) = send_without_body(&app, "POST", &variant, "").await;
        assert!(head.starts_with("HTTP/1.1 404 "), "{variant}: {head}");
        assert_eq!(body, response_parts((D::SERVICE.render_rejection)(&RequestRejection::NotFound)).2, "{variant}");
    }
}
