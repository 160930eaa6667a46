//! What changes while the gateway serves: addresses, the table, its own end.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use gateway::{Lookup, Resolver};
use tokio::io::AsyncWriteExt as _;

use crate::support::{config, echo, eventually, gateway, gateway_with, read_all, read_until};

/// A resolver that answers what it was told last, an error if that is nothing.
#[derive(Default)]
struct Told(Mutex<Vec<SocketAddr>>);

impl Told {
    fn tell(&self, urls: &[&str]) {
        let addresses = urls.iter().map(|url| url.strip_prefix("http://").unwrap().parse().unwrap());
        *self.0.lock().unwrap() = addresses.collect();
    }
}

impl Resolver for Told {
    fn lookup(&self, host: &str, port: u16) -> Lookup {
        assert_eq!((host, port), ("svc-mefp", 8104));
        let answer = self.0.lock().unwrap().clone();
        let known = if answer.is_empty() { Err(io::Error::other("no such name")) } else { Ok(answer) };
        Box::pin(std::future::ready(known))
    }
}

#[actix_web::test]
async fn instances_that_a_name_gains_and_loses_are_noticed() {
    let (one, two) = (echo("one"), echo("two"));
    let resolver = Arc::new(Told::default());
    let told = resolver.clone();
    let settings = [("STELE_RESOLVE", "1"), ("STELE_HEALTH_INTERVAL", "1")];
    let gateway = gateway_with(&[("mefp", "http://svc-mefp:8104")], &settings, |config| config.with_resolver(told));
    assert_eq!(gateway.get("/auth/login").await.status, 503);
    let usable = |count: usize| {
        let views = gateway.gateway.instances().into_iter().filter(|view| view.service == "mefp");
        views.filter(|view| view.usable).count() == count
    };
    let seen = async || {
        let mut seen = Vec::new();
        for _ in 0..4 {
            let reply = gateway.get("/auth/login").await;
            // Whatever the address, the service is called as the settings call it.
            assert_eq!(reply.seen("host"), ["svc-mefp:8104"]);
            seen.push(reply.header("x-served-by").unwrap().to_owned());
        }
        seen.sort();
        seen
    };
    resolver.tell(&[&one]);
    eventually("one instance", || usable(1)).await;
    assert_eq!(seen().await, ["one"; 4]);
    resolver.tell(&[&two, &one]);
    eventually("two instances", || usable(2)).await;
    assert_eq!(seen().await, ["one", "one", "two", "two"]);
    resolver.tell(&[&two]);
    eventually("one instance again", || usable(1)).await;
    assert_eq!(seen().await, ["two"; 4]);
    // The resolver fails from now on; looked up or not, nothing is lost.
    resolver.tell(&[]);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(seen().await, ["two"; 4]);
}

#[actix_web::test]
async fn a_new_table_serves_what_comes_next_and_keeps_what_is_known() {
    let (stays, new) = (echo("stays"), echo("new"));
    let gateway = gateway(&[("mefp", &stays)], &[]);
    gateway.usable(&["mefp"]).await;
    // On its way while the table changes, with a body still to come.
    let mut client = gateway.connect().await;
    let head = "POST /auth/login HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 8\r\n\r\nhalf";
    client.write_all(head.as_bytes()).await.unwrap();
    eventually("a request on its way", || gateway.instance(&stays).in_flight == 1).await;
    gateway.gateway.reload(config(&[("mefp", &format!("{stays},{new}")), ("tms", &new)], &[]));
    let kept = gateway.instance(&stays);
    assert!(kept.usable && kept.in_flight == 1, "{kept:?}");
    assert_eq!(gateway.get("/container/api/v1/cloudbox/tms/x").await.header("x-served-by"), Some("new"));
    client.write_all(b"half").await.unwrap();
    assert!(String::from_utf8(read_all(&mut client).await).unwrap().contains("halfhalf"));
    gateway.usable(&["mefp", "tms"]).await;
    gateway.gateway.reload(config(&[("mefp", &new)], &[]));
    for _ in 0..3 {
        assert_eq!(gateway.get("/auth/login").await.header("x-served-by"), Some("new"));
    }
    assert_eq!(gateway.get("/container/api/v1/cloudbox/tms/x").await.status, 503);
}

#[actix_web::test]
async fn before_it_stops_it_is_not_ready_and_closes_connections_with_each_answer() {
    let url = echo("any");
    let all = crate::support::SERVICES.map(|(service, _)| (service, url.as_str()));
    let gateway = gateway(&all, &[]);
    gateway.usable(&all.map(|(service, _)| service)).await;
    let mut kept = gateway.connect().await;
    kept.write_all(b"GET /auth/login HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    read_until(&mut kept, &mut bytes, "\"body\":\"\"}").await;
    assert!(!String::from_utf8_lossy(&bytes).to_ascii_lowercase().contains("connection: close"));
    assert_eq!(gateway.get("/readyz").await.status, 200);
    gateway.gateway.drain().begin();
    let reply = gateway.get("/readyz").await;
    assert_eq!((reply.status, reply.body.as_str()), (503, r#"{"missing":[],"ready":false}"#));
    assert_eq!(gateway.get("/healthz").await.status, 200);
    // What comes on a connection that was kept is answered, and then it is closed.
    kept.write_all(b"GET /auth/login HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let last = String::from_utf8(read_all(&mut kept).await).unwrap();
    assert!(last.starts_with("HTTP/1.1 200") && last.to_ascii_lowercase().contains("connection: close"), "{last}");
}
