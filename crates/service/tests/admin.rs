//! The admin port rejects requests with a foreign `Host` (DNS rebinding).

use std::net::TcpListener;
use std::sync::Arc;

use stele_service::metrics::Metrics;
use stele_service::{Settings, admin};

// `cfg(test)` exempts the helper from the lint against `unwrap`.
#[cfg(test)]
async fn request_metrics(settings: &Settings, address: &str, host_line: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    let readiness_check = Arc::new(|| Box::pin(std::future::ready(Ok(()))) as _);
    let server = admin::serve(listener, settings, readiness_check, Metrics::default()).unwrap();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let version = if host_line.is_empty() { "1.0" } else { "1.1" };
    let request = format!("GET /metrics HTTP/{version}\r\n{host_line}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    handle.stop(false).await;
    response
}

/// DNS rebinding: the host name of a foreign web page resolves to loopback, and the page could read the metrics.
#[actix_web::test]
async fn only_an_admin_port_on_loopback_rejects_unlisted_hosts() {
    let settings = Settings::default().with_values([("STELE_ADMIN_HOSTS", "stele.internal".to_owned())]);
    let loopback = "127.0.0.1:0";
    for allowed in
        ["Host: 127.0.0.1:9080\r\n", "Host: localhost:9080\r\n", "Host: [::1]\r\n", "Host: stele.internal\r\n", ""]
    {
        let response = request_metrics(&settings, loopback, allowed).await;
        assert!(
            response.starts_with("HTTP/1.1 200") || response.starts_with("HTTP/1.0 200"),
            "{allowed:?}: {response}"
        );
    }
    for foreign in ["Host: evil.example:9080\r\n", "Host: 127.0.0.1.evil.example\r\n", "Host: \r\n"] {
        let response = request_metrics(&settings, loopback, foreign).await;
        assert!(response.starts_with("HTTP/1.1 421 "), "{foreign:?}: {response}");
        assert!(response.contains("STELE_ADMIN_HOSTS") && !response.contains("stele_"), "{response}");
    }
    // An admin port that other machines can reach accepts every name.
    assert!(request_metrics(&settings, "0.0.0.0:0", "Host: evil.example\r\n").await.starts_with("HTTP/1.1 200"));
}
