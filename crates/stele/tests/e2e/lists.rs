//! The places that name the dialects name the same ones, and the gateway's own refusals are those of the service behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::read_to_string;
use std::path::Path;

use actix_web::body::to_bytes;
use gateway::Cause;
use reqwest::Method;
use stele::services::ALL;
use stele_app::Service;
use stele_dialect::dialect::Refusal;
use stele_dialect::input::Fault;
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

/// The stanzas of a compose file's `services`, by name.
fn stanzas() -> BTreeMap<String, String> {
    let text = repository("docker-compose.yml");
    let mut stanzas = BTreeMap::new();
    let mut name = String::new();
    let services = text.lines().skip_while(|line| *line != "services:").skip(1);
    for line in services.take_while(|line| line.is_empty() || line.starts_with(' ') || line.starts_with('#')) {
        match line.strip_prefix("  ").and_then(|line| line.strip_suffix(':')) {
            Some(key) if !key.starts_with([' ', '#']) => key.clone_into(&mut name),
            _ => stanzas.entry(name.clone()).or_insert_with(String::new).extend([line, "\n"]),
        }
    }
    stanzas
}

#[test]
fn the_services_the_routes_and_the_compose_file_name_the_same_dialects() {
    let services: BTreeSet<_> = ALL.iter().map(|service| service.name.to_owned()).collect();
    let routed: BTreeSet<_> = routes().iter().map(|route| route["service"].as_str().unwrap().to_owned()).collect();
    let stanzas = stanzas();
    let composed: BTreeSet<_> =
        stanzas.iter().filter(|(_, text)| text.contains("image: stele/svc-")).map(|(name, _)| name.clone()).collect();
    assert_eq!(services, routed);
    assert_eq!(services, composed);
    for Service { name, port, .. } in ALL {
        let route = routes().into_iter().find(|route| route["service"].as_str() == Some(name)).unwrap();
        assert_eq!(route["upstream"].as_str().unwrap(), format!("http://127.0.0.1:{port}"), "{name}");
        let admin = port + 1_000;
        for text in [
            format!("target: {name} }}\n    image: stele/svc-{name}\n"),
            format!("STELE_LISTEN: \"0.0.0.0:{port}\", STELE_ADMIN_LISTEN: \"0.0.0.0:{admin}\" }}"),
        ] {
            assert!(stanzas[name].contains(&text), "{text} is not in {}", stanzas[name]);
        }
        let upstream = format!("STELE_UPSTREAM_{}: http://{name}:{port}\n", name.to_uppercase());
        assert!(stanzas["gateway"].contains(&upstream), "{upstream} is not in the gateway's stanza");
    }
}

#[test]
fn whatever_else_deploys_the_services_names_each_of_them() {
    for Service { name, port, .. } in ALL {
        let (admin, upper) = (port + 1_000, name.to_uppercase());
        for (file, line) in [
            ("deploy/Dockerfile", format!("FROM base AS {name}\n")),
            ("deploy/Dockerfile", format!("ENTRYPOINT [\"svc-{name}\"]\n")),
            ("deploy/compose.two.yml", format!("  {name}: {{ scale: 2 }}\n")),
            ("deploy/observability/compose.yml", format!("  {name}: {{ <<: *traced }}\n")),
            ("deploy/observability/prometheus/prometheus.yml", format!("names: [{name}], type: A, port: {admin},")),
            ("deploy/kubernetes/base/kustomization.yaml", format!("  - {name}.yaml\n")),
            ("deploy/kubernetes/base/gateway.env", format!("STELE_UPSTREAM_{upper}=http://{name}:8100\n")),
            ("deploy/kubernetes/overlays/production/kustomization.yaml", format!("name: stele/svc-{name}, newName:")),
        ] {
            assert!(repository(file).contains(&line), "{file} has no line with {line}");
        }
        // They differ in their names alone.
        let cloudbox = repository("deploy/kubernetes/base/cloudbox.yaml").replace("cloudbox", name);
        assert_eq!(repository(&format!("deploy/kubernetes/base/{name}.yaml")), cloudbox);
    }
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
            assert_eq!(response.status(), cause.status(), "{}: {name}", service.name);
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
