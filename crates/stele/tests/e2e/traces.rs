//! What a collector of traces sees of logins, and what they see of it.

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

/// The one span with this name in a trace.
fn span_named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.data.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

/// The five spans of one login, by whom, under whom, and what they say.
fn assert_login_span_tree(ours: &[Span]) {
    let front = span_named(ours, "POST cloudbox");
    let onward = span_named(ours, "POST");
    let served = span_named(ours, &format!("POST {CLOUDBOX_LOGIN}"));
    let (find, settle) = (span_named(ours, "find users"), span_named(ours, "settle state"));
    assert_eq!(ours.len(), 5, "{ours:#?}");
    let about = |span: &Span| (span.service.clone(), span.parent_span_id(), span.data.kind);
    assert_eq!(about(front), ("stele-gateway".into(), PARENT_SPAN_ID.into(), SPAN_KIND_SERVER));
    assert_eq!(about(onward), ("stele-gateway".into(), front.span_id(), SPAN_KIND_CLIENT));
    assert_eq!(about(served), ("stele-cloudbox".into(), onward.span_id(), SPAN_KIND_SERVER));
    assert_eq!(about(find), ("stele-cloudbox".into(), served.span_id(), SPAN_KIND_CLIENT));
    assert_eq!(about(settle), ("stele-cloudbox".into(), served.span_id(), SPAN_KIND_CLIENT));
    for (span, key, value) in [
        (front, "url.path", CLOUDBOX_LOGIN),
        (front, "http.response.status_code", "200"),
        (onward, "server.address", "127.0.0.1"),
        (served, "http.route", CLOUDBOX_LOGIN),
        (served, "http.request.method", "POST"),
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
    let mut home = Installation::new();
    for (name, value) in servers::store_settings() {
        home.set(name, &value);
    }
    home.run(&["migrate"]).assert_success();
    home.add_user("mark", "the-secret-password", &[]);
    for (name, value) in [
        ("STELE_LOG", "trace"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint().as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=collector-secret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ] {
        home.set(name, value);
    }
    let mut service = RunningProgram::start(&home, "svc-cloudbox", &[]);
    let upstream = format!("http://{}", service.address);
    let mut gateway = RunningProgram::start(&home, "gateway", &[("STELE_UPSTREAM_CLOUDBOX", &upstream)]);

    let http = stele_testkit::http_client();
    let login = async |traceparent: &str, password: &str| {
        let request =
            http.post(format!("http://{}{CLOUDBOX_LOGIN}", gateway.address)).json(&salted_login_body("mark", password));
        let answer = request.header("traceparent", traceparent).send().await.unwrap();
        (answer.headers()["x-request-id"].to_str().unwrap().to_owned(), answer.text().await.unwrap())
    };
    let (id, welcome) = login(&format!("00-{TRACE_ID}-{PARENT_SPAN_ID}-01"), "the-secret-password").await;
    let welcome: serde_json::Value = serde_json::from_str(&welcome).unwrap();
    let token = welcome["data"]["user_token"].as_str().unwrap_or_else(|| panic!("{welcome}")).to_owned();
    login("00-not-well-formed-01", "a-wrong-password").await;
    let mut seen = Vec::new();
    for address in [&gateway.admin, &service.admin] {
        let answer = http.get(format!("http://{address}/metrics")).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
        seen.push(answer.text().await.unwrap());
    }
    assert!(seen[0].contains("stele_gateway_requests_total{service=\"cloudbox\",method=\"POST\",status=\"200\"} 2\n"));
    let up = format!("stele_gateway_upstream_up{{service=\"cloudbox\",instance=\"{}\"}} 1\n", service.address);
    assert!(seen[0].contains(&up), "{}", seen[0]);
    assert!(seen[1].contains("store=\"users\",system=\"postgresql\",operation=\"find\"} 2\n"), "{}", seen[1]);
    for address in [&gateway.address, &service.address] {
        let public = http.get(format!("http://{address}/metrics")).send().await.unwrap();
        assert_eq!(public.status().as_u16(), 404, "{address}");
    }
    // What is not sent yet is sent before they end.
    gateway.stop();
    service.stop();

    let spans = collector.spans();
    let (ours, others): (Vec<_>, Vec<_>) = spans.iter().cloned().partition(|span| span.trace_id() == TRACE_ID);
    assert_login_span_tree(&ours);

    // A context that is not well formed is nobody's: a new trace begins.
    let root = span_named(&others, "POST cloudbox");
    let (second, strays): (Vec<_>, Vec<_>) = others.iter().partition(|span| span.trace_id() == root.trace_id());
    assert_eq!((root.parent_span_id(), second.len()), (String::new(), 5), "{second:#?}");
    // The two that asked for metrics at a public address, each a trace of its own.
    assert!(strays.len() == 2 && strays[0].trace_id() != strays[1].trace_id(), "{strays:#?}");

    // Each line of the request has its id and its trace, at the gateway and at the service.
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
        [gateway.log(), service.log(), seen.concat(), String::from_utf8_lossy(&collector.body_bytes()).into_owned()];
    let digest = crate::client::md5_hex("the-secret-password");
    for secret in ["the-secret-password", "a-wrong-password", "collector-secret", digest.as_str(), token.as_str()] {
        assert!(!logs.iter().any(|told| told.contains(secret)), "{secret} is told");
    }
}

#[tokio::test]
async fn an_unreachable_collector_does_not_affect_requests() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (place, told) in [(closed, true), (silent.local_addr().unwrap(), false)] {
        let mut home = Installation::new();
        home.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{place}"));
        home.set("OTEL_BSP_SCHEDULE_DELAY", "20");
        let server = home.start_up();
        let id = home.add_user("mark", "the-password", &["--email", "mark@example.com"]);
        let app = MefpApp { name: String::new(), shared_secret: String::new(), app_secret: String::new() };
        let client = DialectClient::new(&server, app, "");
        let person = TestUser { id, name: "mark".into(), phone: String::new(), email: "mark@example.com".into() };
        let mut sent = 0;
        // Until it was tried more than once.
        while sent < 20 || (told && !server.log().contains("traces cannot be sent")) {
            client.login(DialectKind::Jwt, &person, "the-password").await.assert_success();
            sent += 1;
            assert!(sent < 2_000, "{}", server.log());
        }
        let begun = Instant::now();
        let log = server.stop();
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_eq!(log.matches("traces cannot be sent").count(), usize::from(told), "{log}");
    }
}

#[test]
fn an_invalid_trace_endpoint_is_reported() {
    for (name, value, told) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost", "OTEL_EXPORTER_OTLP_ENDPOINT: is not an address"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL: `grpc` is not built in"),
    ] {
        let mut home = Installation::new();
        home.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        home.set(name, value);
        home.run(&["up", "--listen", "127.0.0.1:0"]).assert_failed(2, told);
    }
}
