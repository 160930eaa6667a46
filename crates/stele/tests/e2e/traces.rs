//! What a collector of traces sees of logins, and what they see of it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;
use stele_testkit::servers;

use crate::client::{App, CLOUDBOX, Client, Dialect, Person, salted};
use crate::collector::{Collector, Span};
use crate::programs::Program;
use crate::support::Home;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// The one span with this name in a trace.
fn the<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.sent.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

/// The five spans of one login, by whom, under whom, and what they say.
fn is_the_tree_of_a_login(ours: &[Span]) {
    let front = the(ours, "POST cloudbox");
    let onward = the(ours, "POST");
    let served = the(ours, &format!("POST {CLOUDBOX}"));
    let (find, settle) = (the(ours, "find users"), the(ours, "settle state"));
    assert_eq!(ours.len(), 5, "{ours:#?}");
    let about = |span: &Span| (span.service.clone(), span.parent(), span.sent.kind);
    assert_eq!(about(front), ("stele-gateway".into(), PARENT.into(), SERVER));
    assert_eq!(about(onward), ("stele-gateway".into(), front.id(), CLIENT));
    assert_eq!(about(served), ("stele-cloudbox".into(), onward.id(), SERVER));
    assert_eq!(about(find), ("stele-cloudbox".into(), served.id(), CLIENT));
    assert_eq!(about(settle), ("stele-cloudbox".into(), served.id(), CLIENT));
    for (span, key, value) in [
        (front, "url.path", CLOUDBOX),
        (front, "http.response.status_code", "200"),
        (onward, "server.address", "127.0.0.1"),
        (served, "http.route", CLOUDBOX),
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
async fn one_login_through_gateway_service_postgres_and_redis_is_one_tree() {
    let collector = Collector::start();
    let mut home = Home::new();
    for (name, value) in servers::settings() {
        home.set(name, &value);
    }
    home.run(&["migrate"]).done();
    home.add_user("mark", "the-secret-password", &[]);
    for (name, value) in [
        ("STELE_LOG", "trace"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint().as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=collector-secret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ] {
        home.set(name, value);
    }
    let mut service = Program::start(&home, "svc-cloudbox", &[]);
    let upstream = format!("http://{}", service.address);
    let mut gateway = Program::start(&home, "gateway", &[("STELE_UPSTREAM_CLOUDBOX", &upstream)]);

    let http = stele_testkit::http();
    let login = async |traceparent: &str, password: &str| {
        let request = http.post(format!("http://{}{CLOUDBOX}", gateway.address)).json(&salted("mark", password));
        let answer = request.header("traceparent", traceparent).send().await.unwrap();
        (answer.headers()["x-request-id"].to_str().unwrap().to_owned(), answer.text().await.unwrap())
    };
    let (id, welcome) = login(&format!("00-{TRACE}-{PARENT}-01"), "the-secret-password").await;
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
    let (ours, others): (Vec<_>, Vec<_>) = spans.iter().cloned().partition(|span| span.trace() == TRACE);
    is_the_tree_of_a_login(&ours);

    // A context that is not well formed is nobody's: a new trace begins.
    let root = the(&others, "POST cloudbox");
    let (second, strays): (Vec<_>, Vec<_>) = others.iter().partition(|span| span.trace() == root.trace());
    assert_eq!((root.parent(), second.len()), (String::new(), 5), "{second:#?}");
    // The two that asked for metrics at a public address, each a trace of its own.
    assert!(strays.len() == 2 && strays[0].trace() != strays[1].trace(), "{strays:#?}");

    // Each line of the request has its id and its trace, at the gateway and at the service.
    let access: Vec<_> = gateway.lines().into_iter().filter(|line| line["message"] == "request").collect();
    let access: Vec<_> = access.iter().filter(|line| line["id"] == id.as_str()).collect();
    assert_eq!((access.len(), &access[0]["trace_id"]), (1, &json!(TRACE)));
    let event = service.lines().into_iter().find(|line| line["message"] == "event").expect("an event is logged");
    assert_eq!((&event["span"]["id"], &event["span"]["trace_id"]), (&json!(id), &json!(TRACE)));
    assert_eq!((&event["act"], &event["outcome"]), (&json!("login"), &json!("ok")));

    assert!(
        collector.heads().iter().all(|head| head.contains("collector-secret") && head.starts_with("POST /v1/traces "))
    );
    let told = [gateway.log(), service.log(), seen.concat(), String::from_utf8_lossy(&collector.bytes()).into_owned()];
    let digest = crate::client::md5_hex("the-secret-password");
    for secret in ["the-secret-password", "a-wrong-password", "collector-secret", digest.as_str(), token.as_str()] {
        assert!(!told.iter().any(|told| told.contains(secret)), "{secret} is told");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_or_hangs_hinders_nobody() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (place, told) in [(closed, true), (silent.local_addr().unwrap(), false)] {
        let mut home = Home::new();
        home.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{place}"));
        home.set("OTEL_BSP_SCHEDULE_DELAY", "20");
        let server = home.up();
        let id = home.add_user("mark", "the-password", &["--email", "mark@example.com"]);
        let app = App { name: String::new(), shared: String::new(), own: String::new() };
        let client = Client::new(&server, app, "");
        let person = Person { id, name: "mark".into(), phone: String::new(), email: "mark@example.com".into() };
        let mut sent = 0;
        // Until it was tried more than once.
        while sent < 20 || (told && !server.log().contains("traces cannot be sent")) {
            client.login(Dialect::Jwt, &person, "the-password").await.good();
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
fn what_cannot_be_used_is_told() {
    for (name, value, told) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost", "OTEL_EXPORTER_OTLP_ENDPOINT: is not an address"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL: `grpc` is not built in"),
    ] {
        let mut home = Home::new();
        home.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        home.set(name, value);
        home.run(&["up", "--listen", "127.0.0.1:0"]).refused(2, told);
    }
}
