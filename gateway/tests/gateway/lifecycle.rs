//! Health endpoints, many concurrent connections, graceful shutdown.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, mpsc};

use crate::support::{SERVICES, read_all, start_echo_service, start_gateway, start_service, unreachable_url};

#[actix_web::test]
async fn the_gateway_answers_health_checks_itself() {
    let gateway = start_gateway(&[], &[]);
    let reply = gateway.get("/healthz").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));
    assert_eq!(gateway.send("HEAD", "/healthz", "", "").await.status, 200);
    assert_eq!(gateway.send("POST", "/healthz", "", "").await.status, 404);
}

#[actix_web::test]
async fn readiness_names_the_unavailable_services() {
    let url = start_echo_service("any");
    let unreachable = unreachable_url();
    let mut upstreams = SERVICES.map(|(name, _)| (name, url.clone()));
    let start_with = |upstreams: &[(&str, String)]| {
        start_gateway(&upstreams.iter().map(|(name, url)| (*name, url.as_str())).collect::<Vec<_>>(), &[])
    };
    let status_with_body = async |upstreams: &[(&str, String)], body: &str| {
        let gateway = start_with(upstreams);
        for _ in 0..1_000 {
            let reply = gateway.get("/readyz").await;
            if reply.body == body {
                return reply.status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("/readyz never returned {body}");
    };
    assert_eq!(status_with_body(&upstreams, r#"{"missing":[],"ready":true}"#).await, 200);
    upstreams[1].1 = unreachable.clone();
    upstreams[3].1 = unreachable.clone();
    upstreams[4].1 = format!("{unreachable},{url}");
    assert_eq!(status_with_body(&upstreams, r#"{"missing":["tms","mefp"],"ready":false}"#).await, 503);
}

#[actix_web::test]
async fn two_thousand_idle_connections_from_one_address_do_not_block_requests() {
    let gateway = start_gateway(&[("portal", &start_echo_service("portal"))], &[("STELE_CLIENT_TIMEOUT", "60")]);
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.extend(join_all((0..100).map(|_| gateway.connect())).await);
    }
    // Each connection starts a request.
    for stream in &mut idle {
        stream.write_all(b"GET /i/login HTTP/1.1\r\n").await.unwrap();
    }
    assert_eq!(gateway.get("/i/login").await.status, 200);
    for stream in idle.iter_mut().step_by(100) {
        stream.write_all(b"Host: h\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(read_all(stream).await.starts_with(b"HTTP/1.1 200 OK"));
    }
    assert_eq!(idle.len(), 2_000);
}

#[actix_web::test]
async fn concurrent_responses_reach_their_own_clients() {
    let urls = format!("{},{}", start_echo_service("one"), start_echo_service("two"));
    let gateway = start_gateway(&[("portal", &urls)], &[("STELE_WORKERS", "2")]);
    let client = awc::Client::default();
    join_all((0..40).map(|client_number| {
        let (client, url) = (client.clone(), format!("http://{}/i/{client_number}", gateway.address));
        async move {
            for n in 0..25 {
                let sent = format!("{client_number}:{n}:").repeat(n * 20 + 1);
                let mut response = client.post(&url).send_body(sent.clone()).await.unwrap();
                let echo: serde_json::Value = response.json().await.unwrap();
                assert_eq!((&echo["body"], &echo["target"]), (&sent.into(), &format!("/i/{client_number}").into()));
            }
        }
    }))
    .await;
}

#[actix_web::test]
async fn graceful_shutdown_completes_requests_in_flight() {
    let (entered, mut entries) = mpsc::unbounded_channel();
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let url = start_service(move || {
        let _ = entered.send(());
        let released = released.clone();
        async move {
            released.notified().await;
            HttpResponse::Ok().body("answered during shutdown")
        }
    });
    let gateway = start_gateway(&[("portal", &url)], &[]);
    let mut client = gateway.connect().await;
    client.write_all(b"GET /i/login HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    entries.recv().await.unwrap();
    let stopping = actix_web::rt::spawn(gateway.handle.stop(true));
    // The gateway closes the listener before the requests in flight are complete.
    while tokio::net::TcpStream::connect(gateway.address).await.is_ok() {
        actix_web::rt::task::yield_now().await;
    }
    release.notify_one();
    assert!(read_all(&mut client).await.ends_with(b"answered during shutdown"));
    stopping.await.unwrap();
}

#[actix_web::test]
async fn an_invalid_gateway_secret_prevents_the_start() {
    let config = || gateway::Config::from_settings(&stele_service::config::Settings::default()).unwrap();
    let config_with_bad_secret = config().with_gateway_secret(crate::support::secret_string("line\nbreak"));
    assert!(
        gateway::Gateway::new(config_with_bad_secret)
            .start(crate::support::local_listener())
            .err()
            .unwrap()
            .to_string()
            .contains("gateway secret")
    );
}

#[test]
fn the_configuration_returns_the_error_page_of_a_service() {
    let config = gateway::Config::from_settings(&stele_service::config::Settings::default()).unwrap();
    let error_page = config.error_page("portal", gateway::Rejection::GatewayTimeout).unwrap().to_owned();
    assert!(error_page.contains("服务超时"));
    assert_eq!(gateway::Rejection::ALL.len(), 8);
}
