//! The places that name the dialects name the same ones, and the gateway's own refusals are those of the service behind.

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

fn documented_routes() -> Vec<Value> {
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
    for Service { name, .. } in ALL {
        let tests = read_repository_file(&format!("svc-{name}/tests/contract/main.rs"));
        assert!(tests.contains("conformance!("), "{name}");
    }
}

/// Where the gateway's text for a fault is not what the service behind says.
async fn gateway_error_differences(faults: &[(&str, Rejection, RequestRejection)]) -> String {
    let mut differences = Vec::new();
    for route in documented_routes() {
        let service = ALL.into_iter().find(|service| route["service"].as_str() == Some(service.name)).unwrap();
        for (name, cause, refusal) in faults {
            let response = (service.render_rejection)(refusal);
            assert_eq!(response.status().as_u16(), cause.status().as_u16(), "{}: {name}", service.name);
            let body = to_bytes(response.into_body()).await.unwrap();
            let (says, table) = (str::from_utf8(&body).unwrap(), route["refusals"][name].as_str().unwrap());
            if says != table {
                differences.push(format!("{}: {name}: {says}, in routes.toml {table}", service.name));
            }
        }
    }
    differences.join("\n")
}

#[actix_web::test]
async fn gateway_errors_match_service_errors() {
    let faults = [
        ("not_found", Rejection::NotFound, RequestRejection::NotFound),
        ("method", Rejection::MethodNotAllowed, RequestRejection::MethodNotAllowed),
        ("too_large", Rejection::ContentTooLarge, RequestRejection::BodyTooLarge),
        ("bad_request", Rejection::BadRequest, RequestRejection::InvalidInput(FieldError::MalformedBody)),
    ];
    assert_eq!(gateway_error_differences(&faults).await, "");
}

#[actix_web::test]
async fn gateway_timeouts_match_service_timeouts() {
    assert_eq!(
        gateway_error_differences(&[("slow_request", Rejection::RequestTimeout, RequestRejection::BodyTimeout)]).await,
        ""
    );
}

#[tokio::test]
async fn gateway_and_service_errors_are_indistinguishable() {
    let home = Installation::new();
    let server = home.start_up();
    let keys = (String::new(), String::new());
    let client = DialectClient::new(&server, MefpApp::new("none", keys), "");
    for route in documented_routes() {
        let prefixes = match &route["prefix"] {
            Value::Array(list) => list.iter().map(|prefix| prefix.as_str().unwrap().to_owned()).collect(),
            one => vec![one.as_str().unwrap().to_owned()],
        };
        for prefix in prefixes {
            // Nothing is there, says the service; a path that could be read in two ways never reaches it.
            let behind = client.send(Method::POST, &format!("{prefix}nothing/here"), &[], String::new()).await;
            let before = client.send(Method::POST, &format!("{prefix}nothing%2fhere"), &[], String::new()).await;
            assert_eq!((behind.status, &behind.body), (404, &before.body), "{prefix}");
            assert_eq!(before.status, 404, "{prefix}");
            let mut bodies = [&behind, &before].map(|answer| {
                let mut headers: Vec<_> =
                    answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
                headers.retain(|line| !line.starts_with("date:") && !line.starts_with("x-request-id:"));
                headers.sort();
                headers
            });
            let last = std::mem::take(&mut bodies[1]);
            assert_eq!(bodies[0], last, "{prefix}");
            let large = "x".repeat(65_537);
            let refused = client.send(Method::POST, &format!("{prefix}login"), &[], large).await;
            assert_eq!(
                (refused.status, refused.body.as_str()),
                (413, route["refusals"]["too_large"].as_str().unwrap())
            );
        }
    }
}
