//! The service serves exactly the routes of the dialect's OpenAPI document; errors match their golden texts.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use stele_app::Service;
use stele_core::Error;
use stele_dialect::{FieldError, RequestRejection};

use super::ServiceUnderTest;
use crate::raw_http;
use crate::test_app::response_parts;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// The OpenAPI document as it is served.
pub(crate) async fn fetch_document(app: &impl ServiceUnderTest) -> Value {
    let response = app.request("GET", "/openapi.json").send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

/// Every documented path serves the documented method, HEAD along with GET, and both GET and POST if the call takes no
/// parameters. Other methods are rejected in the dialect's format, also with a method override header. (No test is
/// needed for undocumented paths, because the routes and the document are generated from one list.)
pub async fn routes_match_the_openapi_document<D: ServiceUnderTest>() {
    let app = D::start_with(&[]).await;
    let document = fetch_document(&app).await;
    let paths = document["paths"].as_object().unwrap();
    assert!(!paths.is_empty(), "no path is documented");
    let not_found = response_parts((D::SERVICE.render_rejection)(&RequestRejection::NotFound)).2;
    for (path, item) in paths {
        let served = served_methods(item);
        let url = app.service.url(&path.replace("{id}", "1"));
        for method in METHODS {
            let request = crate::http_client().request(Method::from_bytes(method.as_bytes()).unwrap(), &url);
            let request = request.header("x-http-method-override", served[0]);
            if served.contains(&method) {
                let response = request.send().await.unwrap();
                let status = response.status();
                let body = response.bytes().await.unwrap();
                assert!(status != 405 && body != not_found, "{method} {path} is not served: {status}");
                continue;
            }
            let mut response = app.send(request).await;
            assert_eq!(response.header("allow"), served.join(", "), "{method} {path} is served");
            if method == "HEAD" {
                response.text = response_parts((D::SERVICE.render_rejection)(&RequestRejection::MethodNotAllowed)).2;
            }
            app.assert_rejected(&response, &RequestRejection::MethodNotAllowed);
        }
    }
}

/// The methods that are served for a path item of the document.
pub(crate) fn served_methods(item: &Value) -> Vec<&'static str> {
    let (method, operation) = item.as_object().unwrap().iter().next().unwrap();
    let takes_no_parameters = operation["parameters"].as_array().is_none_or(Vec::is_empty)
        && operation["requestBody"]["required"] != Value::Bool(true);
    match (takes_no_parameters, method.as_str()) {
        (true, _) => vec!["GET", "HEAD", "POST"],
        (false, "get") => vec!["GET", "HEAD"],
        (false, _) => vec!["POST"],
    }
}

pub async fn oversized_bodies_are_rejected_on_every_route<D: ServiceUnderTest>() {
    let app = D::start_with(&[]).await;
    let large = format!(r#"{{"username":"{}"}}"#, "x".repeat(200_000));
    let too_large = response_parts((D::SERVICE.render_rejection)(&RequestRejection::BodyTooLarge)).2;
    for (path, item) in fetch_document(&app).await["paths"].as_object().unwrap() {
        if !item["post"].is_object() {
            continue;
        }
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n");
        let with_length = format!("{head}content-length: {}\r\n\r\n{large}", large.len());
        let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
        for request in [with_length, chunked] {
            let response = raw_http::send_raw(app.service.address(), request.as_bytes()).await;
            assert!(response.starts_with("HTTP/1.1 413 ") && response.ends_with(&too_large), "{path}: {response}");
        }
    }
}

pub async fn unknown_paths_are_rejected<D: ServiceUnderTest>() {
    let app = D::start_with(&[]).await;
    for path in D::UNKNOWN_PATHS.iter().chain(&["/", "/%ff"]) {
        for method in ["GET", "POST"] {
            app.assert_rejected(&app.send(app.request(method, path)).await, &RequestRejection::NotFound);
        }
    }
}

/// `tests/golden/errors.txt` contains every domain error and every rejection: status, `Retry-After` and body.
/// `UPDATE_GOLDEN=1` rewrites it.
pub async fn every_error_matches_its_golden_text<D: ServiceUnderTest>() {
    let path = Path::new("tests/golden/errors.txt");
    let rendered = render_all_errors(D::SERVICE);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &rendered).unwrap();
    }
    let pinned = std::fs::read_to_string(path).unwrap();
    for (rendered, pinned) in rendered.lines().zip(pinned.lines()) {
        assert_eq!(rendered, pinned);
    }
    assert_eq!(rendered, pinned);
}

fn render_all_errors(service: Service) -> String {
    let mut lines = String::new();
    for error in all_errors() {
        let response = stele_dialect::finish_error_response(&error, (service.render_error)(&error));
        assert_eq!(response.headers().get("cache-control").unwrap(), "no-store");
        let (status, retry_after, body) = response_parts(response);
        let retry_after = retry_after.map_or(String::new(), |seconds| format!(", retry after {seconds}"));
        let name = format!("{error:?}");
        let name = match error {
            Error::Unavailable(_) | Error::Internal(_) => name.split('(').next().unwrap(),
            _ => name.split(' ').next().unwrap(),
        };
        writeln!(lines, "{name}: {status}{retry_after}: {body}").unwrap();
    }
    let rejections = [
        RequestRejection::NotFound,
        RequestRejection::MethodNotAllowed,
        RequestRejection::BodyTooLarge,
        RequestRejection::RequestTimeout,
        RequestRejection::Internal,
    ];
    let field_errors = [
        FieldError::MalformedRequest,
        FieldError::Missing("username".into()),
        FieldError::Duplicate("user\"name".into()),
        FieldError::Invalid("timestamp".into()),
    ];
    for rejection in rejections.into_iter().chain(field_errors.map(RequestRejection::InvalidInput)) {
        let (status, _, body) = response_parts((service.render_rejection)(&rejection));
        writeln!(lines, "{rejection:?}: {status}: {body}").unwrap();
    }
    lines
}

fn all_errors() -> [Error; 19] {
    let retry_after = Duration::from_millis(1_001);
    let all = [
        Error::Invalid("password"),
        Error::Invalid("phone"),
        Error::UnknownUser,
        Error::WrongPassword,
        Error::Stale,
        Error::Replayed,
        Error::Disabled,
        Error::ChallengeRequired,
        Error::ChallengeFailed,
        Error::WrongCode,
        Error::CommonPassword,
        Error::IdentifierTaken,
        Error::NotAuthenticated,
        Error::NotAllowed,
        Error::TicketRefused,
        Error::RateLimited { retry_after },
        Error::Busy { retry_after },
        Error::unavailable("redis at 10.0.0.1"),
        Error::internal("sealing key 1 is missing"),
    ];
    for error in &all {
        // A new variant does not compile until it is added here. Add the variant to the list above, too.
        match error {
            Error::Invalid(_) | Error::UnknownUser | Error::WrongPassword | Error::Stale | Error::Replayed => {}
            Error::Disabled | Error::ChallengeRequired | Error::ChallengeFailed | Error::WrongCode => {}
            Error::IdentifierTaken | Error::NotAuthenticated | Error::NotAllowed | Error::TicketRefused => {}
            Error::CommonPassword => {}
            Error::RateLimited { .. } | Error::Busy { .. } | Error::Unavailable(_) | Error::Internal(_) => {}
        }
    }
    all
}
