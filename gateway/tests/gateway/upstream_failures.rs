//! Upstream failures: services that are unreachable, time out, or send invalid or truncated responses.

use std::time::Instant;

use actix_web::HttpResponse;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::{
    SERVICES, TEST_TIMEOUT, TestGateway, local_listener, read_all, read_until, start_echo_service, start_gateway,
    start_raw_service, start_service, unreachable_url,
};

#[actix_web::test]
async fn an_unreachable_service_is_reported_in_every_dialect() {
    let gateway = start_gateway(&[], &[]);
    for (service, path) in SERVICES {
        let file = format!("{}/../svc-{service}/refusals.toml", env!("CARGO_MANIFEST_DIR"));
        let pages: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
        let body = pages["unavailable"].as_str().unwrap();
        for (method, request_body) in [("GET", ""), ("POST", "a=b")] {
            let reply = gateway.send(method, path, "", request_body).await;
            assert_eq!((reply.status, reply.body.as_str()), (503, body), "{service}");
            assert_eq!(reply.header("retry-after"), Some("1"));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
    }
}

#[actix_web::test]
async fn failures_have_status_200_if_configured() {
    let settings = [("STELE_STATUS_200", "tms,mefp"), ("STELE_BODY_LIMIT", "10")];
    let gateway = start_gateway(&[], &settings);
    for (service, path) in SERVICES {
        let is_configured = ["tms", "mefp"].contains(&service);
        let expected = |status| if is_configured { 200 } else { status };
        let unavailable = gateway.send("POST", path, "", "a=b").await;
        assert_eq!((unavailable.status, unavailable.header("retry-after")), (expected(503), Some("1")), "{service}");
        let too_large = gateway.send("POST", path, "", "0123456789a").await;
        assert_eq!(too_large.status, expected(413), "{service}");
        let ambiguous_path = format!("{path}%2f");
        assert_eq!(gateway.get(&ambiguous_path).await.status, expected(404), "{service}");
    }
    assert_eq!(gateway.get("/nothing").await.status, 404, "without a route there is no dialect");
}

/// `X-Stele-Status` is the status that the service replaced by 200. It is for the gateway's log and metrics only.
#[actix_web::test]
async fn a_failure_sent_with_status_200_by_a_service_stays_200() {
    let response = "HTTP/1.1 200 OK\r\nX-Stele-Status: 401\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\n{}";
    let gateway = start_gateway(&[("tms", &start_raw_service(response))], &[]);
    let reply = gateway.get("/container/api/v1/cloudbox/tms/x").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "{}"));
    assert_eq!((reply.header("x-stele-status"), reply.header("www-authenticate")), (None, Some("Bearer")));
}

#[actix_web::test]
async fn a_service_that_does_not_respond_times_out() {
    // The kernel accepts connections to the backlog; no process reads from them.
    let silent = local_listener();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let gateway = start_gateway(&[("portal", &url), ("jwt", &url)], &[("STELE_UPSTREAM_TIMEOUT", "1")]);
    let started_at = Instant::now();
    let reply = gateway.send("POST", "/i/login", "", "a=b").await;
    assert!(started_at.elapsed().as_secs() >= 1);
    let timeout_page =
        r#"{"status":{"status_code":"503","status_message":"服务超时","message":"服务超时"},"content":{}}"#;
    assert_eq!((reply.status, reply.body.as_str()), (504, timeout_page));
    let reply = gateway.get("/api/vi/Auth/CAPTCHA").await;
    assert_eq!((reply.status, reply.body.as_str()), (504, r#"{"code":-1,"message":"服务超时"}"#));
}

#[actix_web::test]
async fn a_service_that_sends_no_valid_response_is_unavailable() {
    for response in ["", "nonsense\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 20"] {
        let gateway = start_gateway(&[("tms", &start_raw_service(response))], &[]);
        let reply = gateway.get("/container/api/v1/cloudbox/tms/x").await;
        let expected = r#"{"message":"服务暂不可用","code":"1009"}"#;
        assert_eq!((reply.status, reply.body.as_str()), (503, expected), "{response:?}");
    }
}

#[actix_web::test]
async fn a_truncated_response_is_truncated_for_the_client() {
    let (url, close_connection) =
        start_truncating_service("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").await;
    let gateway = start_gateway(&[("tms", &url)], &[("STELE_HEALTH_INTERVAL", "60")]);
    let mut client = gateway.connect().await;
    client.write_all(b"GET /container/api/v1/cloudbox/tms/x HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    // The service closes only after the client has read the beginning: a reset discards unread data.
    let mut received = Vec::new();
    read_until(&mut client, &mut received, "only this").await;
    close_connection.send(()).unwrap();
    // The gateway closes or resets the keep-alive connection, so that the client detects the truncation by the length.
    let remainder = read_all(&mut client).await;
    let received = String::from_utf8([received, remainder].concat()).unwrap();
    assert!(received.starts_with("HTTP/1.1 200 OK\r\n") && received.contains("Content-Length: 100\r\n"), "{received}");
    assert!(received.ends_with("\r\n\r\nonly this"), "bytes were added: {received}");
}

/// Starts a service that sends `beginning` as its response, and closes the connection when the returned sender sends.
async fn start_truncating_service(beginning: &'static str) -> (String, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (close_connection, mut close_requested) = oneshot::channel();
    actix_web::rt::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await.unwrap();
            if bytes[..read].starts_with(b"GET /readyz") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                continue;
            }
            stream.write_all(beginning.as_bytes()).await.unwrap();
            let _ = (&mut close_requested).await;
            return;
        }
    });
    (url, close_connection)
}

#[actix_web::test]
async fn a_stalled_response_is_aborted() {
    let url = start_service(|| async {
        let stalled = futures_util::stream::pending::<Result<actix_web::web::Bytes, actix_web::Error>>();
        HttpResponse::Ok().streaming(stalled)
    });
    let gateway = start_gateway(&[("tms", &url)], &[("STELE_UPSTREAM_TIMEOUT", "1")]);
    // Without the abort, this never returns.
    let reply = gateway.get("/container/api/v1/cloudbox/tms/x").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
}

#[actix_web::test]
async fn an_unreachable_instance_is_skipped() {
    let urls = format!("{},{},{}", unreachable_url(), start_echo_service("mefp"), unreachable_url());
    let gateway = start_gateway(&[("mefp", &urls)], &[]);
    for _ in 0..6 {
        let reply = gateway.send("POST", "/auth/login", "", "body").await;
        assert_eq!((reply.status, reply.json()["body"].as_str()), (200, Some("body")));
    }
}

#[actix_web::test]
async fn instances_are_used_in_turn() {
    let gateway =
        start_gateway(&[("mefp", &format!("{},{}", start_echo_service("one"), start_echo_service("two")))], &[]);
    gateway.wait_until_healthy(&["mefp"]).await;
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..10 {
        let instance = gateway.get("/auth/login").await.header("x-served-by").unwrap().to_owned();
        *counts.entry(instance).or_insert(0) += 1;
    }
    assert_eq!(counts, [("one".to_owned(), 5), ("two".to_owned(), 5)].into());
}

/// What a client received until its connection ended.
struct ReceivedResponse {
    text: String,
    /// The connection was reset instead of closed.
    was_reset: bool,
}

/// Sends a request of this HTTP version and reads until the connection ends.
async fn read_until_closed(gateway: &TestGateway, version: &str) -> ReceivedResponse {
    let mut client = gateway.connect().await;
    let request = format!("GET /container/api/v1/cloudbox/tms/x HTTP/{version}\r\nHost: h\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end =
        tokio::time::timeout(TEST_TIMEOUT, client.read_to_end(&mut bytes)).await.expect("the end of the connection");
    ReceivedResponse { text: String::from_utf8(bytes).unwrap(), was_reset: end.is_err() }
}

#[actix_web::test]
async fn a_truncated_close_delimited_response_resets_the_connection() {
    let truncated_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
    for invalid in [truncated_chunk, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n"] {
        let gateway = start_gateway(&[("tms", &start_raw_service(invalid))], &[]);
        // HTTP/1.0 has no chunks: a close would mark the body as complete.
        assert!(read_until_closed(&gateway, "1.0").await.was_reset, "{invalid:?}");
        let response = read_until_closed(&gateway, "1.1").await.text;
        assert!(!response.contains("\r\n0\r\n"), "{response:?}");
    }
    let complete = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let gateway = start_gateway(&[("tms", &start_raw_service(complete))], &[]);
    let ReceivedResponse { text, was_reset } = read_until_closed(&gateway, "1.0").await;
    assert!(text.starts_with("HTTP/1.0 200") && text.ends_with("\r\n\r\nhello") && !was_reset, "{text:?}");
}

#[actix_web::test]
async fn a_close_delimited_response_is_forwarded_completely() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
        let gateway = start_gateway(&[("tms", &start_raw_service(format!("{head}all of this").leak()))], &[]);
        assert_eq!(gateway.get("/container/api/v1/cloudbox/tms/x").await.body, "all of this");
    }
}

#[actix_web::test]
async fn a_response_sent_before_the_whole_body_is_forwarded() {
    let url = start_raw_service("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 5\r\n\r\nlater");
    let gateway = start_gateway(&[("tms", &url)], &[]);
    let head = "POST /container/api/v1/cloudbox/tms/x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf";
    let reply = gateway.send_raw(head).await;
    assert_eq!((reply.status, reply.body.as_str(), reply.header("connection")), (429, "later", Some("close")));
}
