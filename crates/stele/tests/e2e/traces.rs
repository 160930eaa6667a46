//! Distributed traces of logins: the spans that a collector receives, and an unreachable collector.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;
use stele_testkit::servers;

use crate::client::{CLOUDBOX_LOGIN, DialectClient, DialectKind, MefpApp, TestUser, salted_login_body};
use crate::separate_programs::RunningProgram;
use crate::support::Installation;
use crate::trace_collector::{Collector, Span};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT_SPAN_ID: &str = "b7ad6b7169203331";

const SPAN_KIND_SERVER: i32 = 2;
const SPAN_KIND_CLIENT: i32 = 3;

/// The span with this name, of which there must be exactly one.
fn span_named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.data.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

/// Asserts the five spans of one login: their services, parents, kinds and attributes.
fn assert_login_span_tree(ours: &[Span]) {
    let gateway_server = span_named(ours, "POST cloudbox");
    let gateway_client = span_named(ours, "POST");
    let service_server = span_named(ours, &format!("POST {CLOUDBOX_LOGIN}"));
    let (find, settle) = (span_named(ours, "find users"), span_named(ours, "settle state"));
    assert_eq!(ours.len(), 5, "{ours:#?}");
    let summary = |span: &Span| (span.service.clone(), span.parent_span_id(), span.data.kind);
    assert_eq!(summary(gateway_server), ("stele-gateway".into(), PARENT_SPAN_ID.into(), SPAN_KIND_SERVER));
    assert_eq!(summary(gateway_client), ("stele-gateway".into(), gateway_server.span_id(), SPAN_KIND_CLIENT));
    assert_eq!(summary(service_server), ("stele-cloudbox".into(), gateway_client.span_id(), SPAN_KIND_SERVER));
    assert_eq!(summary(find), ("stele-cloudbox".into(), service_server.span_id(), SPAN_KIND_CLIENT));
    assert_eq!(summary(settle), ("stele-cloudbox".into(), service_server.span_id(), SPAN_KIND_CLIENT));
    for (span, key, value) in [
        (gateway_server, "url.path", CLOUDBOX_LOGIN),
        (gateway_server, "http.response.status_code", "200"),
        (gateway_client, "server.address", "127.0.0.1"),
        (service_server, "http.route", CLOUDBOX_LOGIN),
        (service_server, "http.request.method", "POST"),
        (find, "db.system.name", "postgresql"),
        (settle, "db.system.name", "redis"),
        (settle, "db.operation.name", "settle"),
    ] {
        assert_eq!(span.attribute(key), value, "{key}: {span:#?}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_login_produces_one_trace_across_gateway_service_and_stores() {
    let collector = Collector::start();
    let mut installation = Installation::new();
    for (name, value) in servers::store_settings() {
        installation.set(name, &value);
    }
    installation.run(&["migrate"]).assert_success();
    installation.add_user("mark", "the-secret-password", &[]);
    for (name, value) in [
        ("STELE_LOG", "trace"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint().as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=collector-secret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ] {
        installation.set(name, value);
    }
    let mut service = RunningProgram::start(&installation, "svc-cloudbox", &[]);
    let upstream = format!("http://{}", service.address);
    let mut gateway = RunningProgram::start(&installation, "gateway", &[("STELE_UPSTREAM_CLOUDBOX", &upstream)]);

    let http = stele_testkit::http_client();
    let login = async |traceparent: &str, password: &str| {
        let request =
            http.post(format!("http://{}{CLOUDBOX_LOGIN}", gateway.address)).json(&salted_login_body("mark", password));
        let response = request.header("traceparent", traceparent).send().await.unwrap();
        (response.headers()["x-request-id"].to_str().unwrap().to_owned(), response.text().await.unwrap())
    };
    let (id, body) = login(&format!("00-{TRACE_ID}-{PARENT_SPAN_ID}-01"), "the-secret-password").await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let token = body["data"]["user_token"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
    login("00-not-well-formed-01", "a-wrong-password").await;
    let mut metrics = Vec::new();
    for address in [&gateway.admin, &service.admin] {
        let response = http.get(format!("http://{address}/metrics")).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
        metrics.push(response.text().await.unwrap());
    }
    assert!(
        metrics[0].contains("stele_gateway_requests_total{service=\"cloudbox\",method=\"POST\",status=\"200\"} 2\n")
    );
    let up = format!("stele_gateway_upstream_up{{service=\"cloudbox\",instance=\"{}\"}} 1\n", service.address);
    assert!(metrics[0].contains(&up), "{}", metrics[0]);
    assert!(metrics[1].contains("store=\"users\",system=\"postgresql\",operation=\"find\"} 2\n"), "{}", metrics[1]);
    for address in [&gateway.address, &service.address] {
        let public = http.get(format!("http://{address}/metrics")).send().await.unwrap();
        assert_eq!(public.status().as_u16(), 404, "{address}");
    }
    // At the graceful shutdown, the programs send the remaining spans.
    gateway.stop();
    service.stop();

    let spans = collector.spans();
    let (traced, others): (Vec<_>, Vec<_>) = spans.iter().cloned().partition(|span| span.trace_id() == TRACE_ID);
    assert_login_span_tree(&traced);

    // A malformed trace context is ignored: a new trace begins.
    let root = span_named(&others, "POST cloudbox");
    let (second, strays): (Vec<_>, Vec<_>) = others.iter().partition(|span| span.trace_id() == root.trace_id());
    assert_eq!((root.parent_span_id(), second.len()), (String::new(), 5), "{second:#?}");
    // The two requests for /metrics at the public addresses are separate traces.
    assert!(strays.len() == 2 && strays[0].trace_id() != strays[1].trace_id(), "{strays:#?}");

    // Each log line of the request has its request id and trace id, at the gateway and at the service.
    let access: Vec<_> = gateway.log_lines().into_iter().filter(|line| line["message"] == "request").collect();
    let access: Vec<_> = access.iter().filter(|line| line["id"] == id.as_str()).collect();
    assert_eq!((access.len(), &access[0]["trace_id"]), (1, &json!(TRACE_ID)));
    let event = service.log_lines().into_iter().find(|line| line["message"] == "event").expect("an event is logged");
    assert_eq!((&event["span"]["id"], &event["span"]["trace_id"]), (&json!(id), &json!(TRACE_ID)));
    assert_eq!((&event["act"], &event["outcome"]), (&json!("login"), &json!("ok")));

    assert!(
        collector
            .request_heads()
            .iter()
            .all(|head| head.contains("collector-secret") && head.starts_with("POST /v1/traces "))
    );
    let logs =
        [gateway.log(), service.log(), metrics.concat(), String::from_utf8_lossy(&collector.body_bytes()).into_owned()];
    let digest = crate::client::md5_hex("the-secret-password");
    for secret in ["the-secret-password", "a-wrong-password", "collector-secret", digest.as_str(), token.as_str()] {
        assert!(!logs.iter().any(|log| log.contains(secret)), "{secret} is logged");
    }
}

#[tokio::test]
async fn an_unreachable_collector_does_not_affect_requests() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (address, is_error_logged) in [(closed, true), (silent.local_addr().unwrap(), false)] {
        let mut installation = Installation::new();
        installation.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"));
        installation.set("OTEL_BSP_SCHEDULE_DELAY", "20");
        let server = installation.start_up();
        let id = installation.add_user("mark", "the-password", &["--email", "mark@example.com"]);
        let app = MefpApp { name: String::new(), shared_secret: String::new(), app_secret: String::new() };
        let client = DialectClient::new(&server, app, "");
        let person = TestUser { id, name: "mark".into(), phone: String::new(), email: "mark@example.com".into() };
        let mut sent = 0;
        // Until the export has failed at least once.
        while sent < 20 || (is_error_logged && !server.log().contains("traces cannot be exported")) {
            client.login(DialectKind::Jwt, &person, "the-password").await.assert_success();
            sent += 1;
            assert!(sent < 2_000, "{}", server.log());
        }
        let started_at = Instant::now();
        let log = server.stop();
        assert!(started_at.elapsed() < Duration::from_secs(10), "{:?}", started_at.elapsed());
        assert_eq!(log.matches("traces cannot be exported").count(), usize::from(is_error_logged), "{log}");
    }
}

#[test]
fn an_invalid_trace_endpoint_is_reported() {
    for (name, value, message) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost", "OTEL_EXPORTER_OTLP_ENDPOINT: the value is not an HTTP URL"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL: `grpc` is not supported"),
    ] {
        let mut installation = Installation::new();
        installation.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        installation.set(name, value);
        installation.run(&["up", "--listen", "127.0.0.1:0"]).assert_failed(2, message);
    }
}
