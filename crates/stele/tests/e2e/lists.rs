//! The places that name the dialects name the same ones, and the gateway's own refusals are those of the service behind.

use std::fs::read_to_string;
use std::path::Path;
use std::process::Command;

use actix_web::body::to_bytes;
use gateway::Cause;
use reqwest::Method;
use stele::services::ALL;
use stele_app::Service;
use stele_dialect::{Fault, Refusal};
use toml::Value;

use crate::client::{App, Client};
use crate::support::Home;

fn repository(file: &str) -> String {
    read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)).unwrap()
}

fn routes() -> Vec<Value> {
    let table: toml::Table = repository("gateway/routes.toml").parse().unwrap();
    table["route"].as_array().unwrap().clone()
}

#[test]
fn what_names_the_dialects_is_as_the_manifest_has_it() {
    let manifest: toml::Table = repository("dialects.toml").parse().unwrap();
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
        let tests = repository(&format!("svc-{name}/tests/contract/main.rs"));
        assert!(tests.contains("conformance!("), "{name}");
    }
}

/// Where the gateway's text for a fault is not what the service behind says.
async fn differences(faults: &[(&str, Cause, Refusal)]) -> String {
    let mut differences = Vec::new();
    for route in routes() {
        let service = ALL.into_iter().find(|service| route["service"].as_str() == Some(service.name)).unwrap();
        for (name, cause, refusal) in faults {
            let response = (service.refuse)(refusal);
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
async fn what_the_gateway_refuses_reads_as_if_the_service_had() {
    let faults = [
        ("not_found", Cause::NotFound, Refusal::NotFound),
        ("method", Cause::Method, Refusal::Method),
        ("too_large", Cause::TooLarge, Refusal::TooLarge),
        ("bad_request", Cause::BadRequest, Refusal::Input(Fault::Unreadable)),
    ];
    assert_eq!(differences(&faults).await, "");
}

#[actix_web::test]
async fn a_slow_client_is_told_what_the_service_would_tell() {
    assert_eq!(differences(&[("slow_request", Cause::SlowRequest, Refusal::Timeout)]).await, "");
}

#[tokio::test]
async fn a_client_cannot_tell_who_refused() {
    let home = Home::new();
    let server = home.up();
    let keys = (String::new(), String::new());
    let client = Client::new(&server, App::new("none", keys), "");
    for route in routes() {
        let prefixes = match &route["prefix"] {
            Value::Array(list) => list.iter().map(|prefix| prefix.as_str().unwrap().to_owned()).collect(),
            one => vec![one.as_str().unwrap().to_owned()],
        };
        for prefix in prefixes {
            // Nothing is there, says the service; a path that could be read in two ways never reaches it.
            let behind = client.send(Method::POST, &format!("{prefix}nothing/here"), &[], String::new()).await;
            let before = client.send(Method::POST, &format!("{prefix}nothing%2fhere"), &[], String::new()).await;
            assert_eq!((behind.status, &behind.text), (404, &before.text), "{prefix}");
            assert_eq!(before.status, 404, "{prefix}");
            let mut told = [&behind, &before].map(|answer| {
                let mut headers: Vec<_> =
                    answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
                headers.retain(|line| !line.starts_with("date:") && !line.starts_with("x-request-id:"));
                headers.sort();
                headers
            });
            let last = std::mem::take(&mut told[1]);
            assert_eq!(told[0], last, "{prefix}");
            let large = "x".repeat(65_537);
            let refused = client.send(Method::POST, &format!("{prefix}login"), &[], large).await;
            assert_eq!(
                (refused.status, refused.text.as_str()),
                (413, route["refusals"]["too_large"].as_str().unwrap())
            );
        }
    }
}
