//! Lists of the dialects agree with `dialects.toml`, and the gateway's error pages equal the error responses of the
//! service behind it.

use std::fs::read_to_string;
use std::path::Path;
use std::process::Command;

use actix_web::body::to_bytes;
use gateway::Rejection;
use reqwest::Method;
use stele::services::ALL;
use stele_app::Service;
use stele_dialect::{FieldError, RequestRejection};
use toml::Value;

use crate::client::{DialectClient, MefpApp};
use crate::support::Installation;

fn read_repository_file(file: &str) -> String {
    read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)).unwrap()
}

fn read_routes() -> Vec<Value> {
    let table: toml::Table = read_repository_file("gateway/routes.toml").parse().unwrap();
    table["route"].as_array().unwrap().clone()
}

#[test]
fn generated_dialect_lists_match_the_manifest() {
    let manifest: toml::Table = read_repository_file("dialects.toml").parse().unwrap();
    let listed = manifest["dialects"].as_array().unwrap().iter();
    let listed = listed.map(|line| (line["name"].as_str().unwrap(), line["port"].as_integer().unwrap()));
    assert_eq!(listed.collect::<Vec<_>>(), ALL.map(|Service { name, port, .. }| (name, i64::from(port))));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/dialects");
    let checked = Command::new("python3").arg(script).arg("--check").output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn every_dialect_runs_the_conformance_suite() {
    for service in ALL {
        let name = service.name;
        let tests = read_repository_file(&format!("svc-{name}/tests/contract/main.rs"));
        let suite = if service.is_login_dialect() { "conformance!(" } else { "service_conformance!(" };
        assert!(tests.contains(suite), "{name}");
    }
}

/// The differences between the gateway's error pages and the service's bodies for the same errors.
async fn gateway_error_differences(errors: &[(&str, Rejection, RequestRejection)]) -> String {
    let mut differences = Vec::new();
    for route in read_routes() {
        let service = ALL.into_iter().find(|service| route["service"].as_str() == Some(service.name)).unwrap();
        for (name, by_gateway, by_service) in errors {
            let response = (service.render_rejection)(by_service);
            assert_eq!(response.status().as_u16(), by_gateway.status().as_u16(), "{}: {name}", service.name);
            let body = to_bytes(response.into_body()).await.unwrap();
            let (service_text, gateway_text) =
                (str::from_utf8(&body).unwrap(), route["refusals"][name].as_str().unwrap());
            if service_text != gateway_text {
                differences.push(format!("{}: {name}: {service_text}, in routes.toml {gateway_text}", service.name));
            }
        }
    }
    differences.join("\n")
}

#[actix_web::test]
async fn gateway_errors_match_service_errors() {
    let errors = [
        ("not_found", Rejection::NotFound, RequestRejection::NotFound),
        ("method", Rejection::MethodNotAllowed, RequestRejection::MethodNotAllowed),
        ("too_large", Rejection::ContentTooLarge, RequestRejection::BodyTooLarge),
        ("bad_request", Rejection::BadRequest, RequestRejection::InvalidInput(FieldError::MalformedRequest)),
    ];
    assert_eq!(gateway_error_differences(&errors).await, "");
}

#[actix_web::test]
async fn gateway_and_service_answer_a_request_timeout_alike() {
    assert_eq!(
        gateway_error_differences(&[("slow_request", Rejection::RequestTimeout, RequestRejection::RequestTimeout)])
            .await,
        ""
    );
}

#[tokio::test]
async fn gateway_and_service_errors_are_indistinguishable() {
    let installation = Installation::new();
    let server = installation.start_up();
    let keys = (String::new(), String::new());
    let client = DialectClient::new(&server, MefpApp::new("none", keys), "");
    for route in read_routes() {
        let prefixes = match &route["prefix"] {
            Value::Array(list) => list.iter().map(|prefix| prefix.as_str().unwrap().to_owned()).collect(),
            single => vec![single.as_str().unwrap().to_owned()],
        };
        for prefix in prefixes {
            // The service rejects the unknown path; the gateway rejects the ambiguous path itself.
            let from_service = client.send(Method::POST, &format!("{prefix}nothing/here"), &[], String::new()).await;
            let from_gateway = client.send(Method::POST, &format!("{prefix}nothing%2fhere"), &[], String::new()).await;
            assert_eq!((from_service.status, &from_service.body), (404, &from_gateway.body), "{prefix}");
            assert_eq!(from_gateway.status, 404, "{prefix}");
            let mut headers = [&from_service, &from_gateway].map(|response| {
                let mut headers: Vec<_> =
                    response.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
                headers.retain(|line| !line.starts_with("date:") && !line.starts_with("x-request-id:"));
                headers.sort();
                headers
            });
            let gateway_headers = std::mem::take(&mut headers[1]);
            assert_eq!(headers[0], gateway_headers, "{prefix}");
            let large = "x".repeat(65_537);
            let rejected = client.send(Method::POST, &format!("{prefix}login"), &[], large).await;
            assert_eq!(
                (rejected.status, rejected.body.as_str()),
                (413, route["refusals"]["too_large"].as_str().unwrap())
            );
        }
    }
}
