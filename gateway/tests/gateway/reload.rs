//! Changes while the gateway serves: DNS answers, a reloaded routing table, draining.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use gateway::{LookupFuture, Resolver};
use tokio::io::AsyncWriteExt as _;

use crate::support::{
    read_all, read_until, start_echo_service, start_gateway, start_gateway_with, test_config, wait_until,
};

/// A resolver that returns the addresses set last, or an error if there are none.
#[derive(Default)]
struct FakeResolver(Mutex<Vec<SocketAddr>>);

impl FakeResolver {
    fn set_addresses(&self, urls: &[&str]) {
        let addresses = urls.iter().map(|url| url.strip_prefix("http://").unwrap().parse().unwrap());
        *self.0.lock().unwrap() = addresses.collect();
    }
}

impl Resolver for FakeResolver {
    fn lookup(&self, host: &str, port: u16) -> LookupFuture {
        assert_eq!((host, port), ("svc-mefp", 8104));
        let addresses = self.0.lock().unwrap().clone();
        let result = if addresses.is_empty() { Err(io::Error::other("no such name")) } else { Ok(addresses) };
        Box::pin(std::future::ready(result))
    }
}

#[actix_web::test]
async fn a_changed_dns_answer_adds_and_removes_instances() {
    let (one, two) = (start_echo_service("one"), start_echo_service("two"));
    let resolver = Arc::new(FakeResolver::default());
    let configured_resolver = resolver.clone();
    let settings = [("STELE_RESOLVE", "1"), ("STELE_HEALTH_INTERVAL", "1")];
    let gateway = start_gateway_with(&[("mefp", "http://svc-mefp:8104")], &settings, |config| {
        config.with_resolver(configured_resolver)
    });
    assert_eq!(gateway.get("/auth/login").await.status, 503);
    let healthy_count_is = |count: usize| {
        let views = gateway.inner.instances().into_iter().filter(|view| view.service == "mefp");
        views.filter(|view| view.is_healthy).count() == count
    };
    let serving_instances = async || {
        let mut instances = Vec::new();
        for _ in 0..4 {
            let reply = gateway.get("/auth/login").await;
            // The `Host` is the configured name, whichever address is used.
            assert_eq!(reply.forwarded_header("host"), ["svc-mefp:8104"]);
            instances.push(reply.header("x-served-by").unwrap().to_owned());
        }
        instances.sort();
        instances
    };
    resolver.set_addresses(&[&one]);
    wait_until("one instance", || healthy_count_is(1)).await;
    assert_eq!(serving_instances().await, ["one"; 4]);
    resolver.set_addresses(&[&two, &one]);
    wait_until("two instances", || healthy_count_is(2)).await;
    assert_eq!(serving_instances().await, ["one", "one", "two", "two"]);
    resolver.set_addresses(&[&two]);
    wait_until("one instance again", || healthy_count_is(1)).await;
    assert_eq!(serving_instances().await, ["two"; 4]);
    // The resolver fails from now on: the known addresses stay in use.
    resolver.set_addresses(&[]);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(serving_instances().await, ["two"; 4]);
}

#[actix_web::test]
async fn a_reloaded_table_serves_new_requests_and_keeps_instance_state() {
    let (stays, new) = (start_echo_service("stays"), start_echo_service("new"));
    let gateway = start_gateway(&[("mefp", &stays)], &[]);
    gateway.wait_until_healthy(&["mefp"]).await;
    // A request in flight during the reload, with half of its body still to come.
    let mut client = gateway.connect().await;
    let head = "POST /auth/login HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 8\r\n\r\nhalf";
    client.write_all(head.as_bytes()).await.unwrap();
    wait_until("the request in flight", || gateway.instance(&stays).in_flight == 1).await;
    gateway.inner.reload(test_config(&[("mefp", &format!("{stays},{new}")), ("tms", &new)], &[]));
    let view = gateway.instance(&stays);
    assert!(view.is_healthy && view.in_flight == 1, "{view:?}");
    assert_eq!(gateway.get("/container/api/v1/cloudbox/tms/x").await.header("x-served-by"), Some("new"));
    client.write_all(b"half").await.unwrap();
    assert!(String::from_utf8(read_all(&mut client).await).unwrap().contains("halfhalf"));
    gateway.wait_until_healthy(&["mefp", "tms"]).await;
    gateway.inner.reload(test_config(&[("mefp", &new)], &[]));
    for _ in 0..3 {
        assert_eq!(gateway.get("/auth/login").await.header("x-served-by"), Some("new"));
    }
    assert_eq!(gateway.get("/container/api/v1/cloudbox/tms/x").await.status, 503);
}

#[actix_web::test]
async fn a_draining_gateway_is_not_ready_and_closes_each_connection_after_its_response() {
    let url = start_echo_service("any");
    let all = crate::support::SERVICES.map(|(service, _)| (service, url.as_str()));
    let gateway = start_gateway(&all, &[]);
    gateway.wait_until_healthy(&all.map(|(service, _)| service)).await;
    let mut client = gateway.connect().await;
    client.write_all(b"GET /auth/login HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    read_until(&mut client, &mut bytes, "\"body\":\"\"}").await;
    assert!(!String::from_utf8_lossy(&bytes).to_ascii_lowercase().contains("connection: close"));
    assert_eq!(gateway.get("/readyz").await.status, 200);
    gateway.inner.drain().start();
    let reply = gateway.get("/readyz").await;
    assert_eq!((reply.status, reply.body.as_str()), (503, r#"{"missing":[],"ready":false}"#));
    assert_eq!(gateway.get("/healthz").await.status, 200);
    // The next request on the keep-alive connection is answered with `Connection: close`.
    client.write_all(b"GET /auth/login HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let last = String::from_utf8(read_all(&mut client).await).unwrap();
    assert!(last.starts_with("HTTP/1.1 200") && last.to_ascii_lowercase().contains("connection: close"), "{last}");
}
