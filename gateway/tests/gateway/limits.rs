//! Size limits, timeouts and the connection limit; rejections have the dialect of the route.

use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;

use crate::support::{TestGateway, read_all, read_until, start_echo_service, start_gateway, start_service, wait_until};

const TOO_LARGE: &str = r#"{"message":"请求内容过大","code":"1001"}"#;
const HEADERS_TOO_LARGE: &str = r#"{"result":0,"errors":{"code":40000,"message":"请求头过大"}}"#;

fn start_with_settings(settings: &[(&'static str, &str)]) -> TestGateway {
    start_gateway(&[("tms", &start_echo_service("tms")), ("mefp", &start_echo_service("mefp"))], settings)
}

const TMS_PATH: &str = "/container/api/v1/cloudbox/tms/x";

fn chunked_request(target: &str, chunks: impl Iterator<Item = String>) -> String {
    let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    let body: String = chunks.map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    format!("{head}{body}0\r\n\r\n")
}

#[actix_web::test]
async fn a_body_of_64_kib_is_forwarded_and_one_byte_more_is_rejected() {
    let gateway = start_with_settings(&[]);
    let body = "x".repeat(64 * 1024);
    let reply = gateway.send("POST", TMS_PATH, "", &body).await;
    assert_eq!((reply.status, reply.json()["body"].as_str()), (200, Some(body.as_str())));
    let reply = gateway.send("POST", TMS_PATH, "", &format!("{body}x")).await;
    assert_eq!((reply.status, reply.body.as_str()), (413, TOO_LARGE));
}

#[actix_web::test]
async fn an_excessive_content_length_is_rejected_before_the_body() {
    let gateway = start_with_settings(&[("STELE_BODY_LIMIT", "10")]);
    let reply = gateway.send_raw(format!("POST {TMS_PATH} HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n")).await;
    assert_eq!((reply.status, reply.body.as_str()), (413, TOO_LARGE));
    assert_eq!(reply.header("connection"), Some("close"));
    let huge = "POST /auth/x HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551613\r\n\r\n";
    assert_eq!(gateway.send_raw(huge).await.status, 413);
}

#[actix_web::test]
async fn chunked_bodies_are_limited_as_they_arrive() {
    let gateway = start_with_settings(&[]);
    let make_chunk = || "x".repeat(8 * 1024);
    let reply = gateway.send_raw(chunked_request(TMS_PATH, (0..8).map(|_| make_chunk()))).await;
    assert_eq!((reply.status, reply.json()["body"].as_str().map(str::len)), (200, Some(64 * 1024)));
    let reply = gateway.send_raw(chunked_request(TMS_PATH, (0..8).map(|_| make_chunk()).chain(["x".to_owned()]))).await;
    assert_eq!((reply.status, reply.body.as_str()), (413, TOO_LARGE));
}

#[actix_web::test]
async fn an_endless_body_closes_the_connection() {
    let gateway = start_with_settings(&[]);
    let mut stream = gateway.connect().await;
    let head = format!("POST {TMS_PATH} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    // The gateway closes at the limit; what is written beyond it fills kernel buffers.
    let (mut sent, max_sent) = (0, 20_000_000);
    let endless = async {
        while sent < max_sent && stream.write_all(chunk.as_bytes()).await.is_ok() {
            sent += chunk.len();
        }
    };
    tokio::time::timeout(crate::support::TEST_TIMEOUT, endless).await.expect("the gateway neither reads nor closes");
    assert!(sent < max_sent, "{sent} bytes were accepted; the limit is 65,536");
}

#[actix_web::test]
async fn too_many_or_too_long_headers_are_rejected() {
    let gateway = start_with_settings(&[]);
    let many: String = (0..70).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "y".repeat(17 * 1024));
    for headers in [&many, &long] {
        let reply = gateway.send("GET", "/auth/login", headers, "").await;
        assert_eq!((reply.status, reply.body.as_str()), (431, HEADERS_TOO_LARGE));
    }
    let reply = gateway.get(&format!("/auth/login?{}", "y".repeat(17 * 1024))).await;
    assert_eq!((reply.status, reply.body.as_str()), (431, HEADERS_TOO_LARGE));
    let within_limits: String = (0..55).map(|n| format!("X-{n}: {}\r\n", "y".repeat(200))).collect();
    assert_eq!(gateway.send("GET", "/auth/login", &within_limits, "").await.status, 200);
}

#[actix_web::test]
async fn headers_beyond_the_parser_limits_are_rejected_in_the_dialect() {
    let gateway = start_with_settings(&[]);
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let reply = gateway.send("GET", "/auth/login", &many, "").await;
    assert_eq!((reply.status, reply.body.as_str()), (431, HEADERS_TOO_LARGE));
    let endless = format!("GET /auth/login HTTP/1.1\r\nHost: h\r\nX: {}", "y".repeat(256 * 1024));
    let reply = gateway.send_raw(endless).await;
    assert_eq!((reply.status, reply.body.as_str()), (431, HEADERS_TOO_LARGE));
}

#[actix_web::test]
async fn a_malformed_request_gets_an_error_page_in_the_dialect_or_the_default_one() {
    let gateway = start_with_settings(&[]);
    let dialect_page = r#"{"result":0,"errors":{"code":40000,"message":"请求无法解密"}}"#;
    let default_page = r#"{"error":"bad_request","message":"请求无法解析 / bad request"}"#;
    let get = |target: &[u8]| [b"GET ", target, b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
    // GBK bytes in the query. Sent here as the first request of a connection, and below as the second one.
    let gbk = get(b"/auth/login?name=\xc1\xf5\xb5\xc2");
    for (bytes, body) in [
        (gbk.clone(), dialect_page),
        (get(b"//auth//login/?\xff"), dialect_page),
        (get(b"/nowhere?\xff"), default_page),
        (get(b"/auth/\xff"), dialect_page),
        (b"GET /auth/login HTTP/1.1\r\nbroken\r\n\r\n".to_vec(), dialect_page),
        (b"nonsense\r\n\r\n".to_vec(), default_page),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), default_page),
        (b"GET /auth/login HTTP/1.1\r\n\r\n".to_vec(), dialect_page),
        (b"GET /nowhere HTTP/1.1\r\n\r\n".to_vec(), default_page),
    ] {
        let reply = gateway.send_raw(&bytes).await;
        assert_eq!((reply.status, reply.body.as_str()), (400, body), "{}", bytes.escape_ascii());
        assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(reply.header("connection"), Some("close"));
    }
    let mut client = gateway.connect().await;
    let mut received = Vec::new();
    client.write_all(b"GET /auth/login HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    read_until(&mut client, &mut received, r#""target":"/auth/login""#).await;
    client.write_all(&gbk).await.unwrap();
    let received = String::from_utf8(read_all(&mut client).await).unwrap();
    assert!(received.contains("}HTTP/1.1 400 ") && received.ends_with(dialect_page), "{received}");
    // For a malformed head that is pipelined behind another one, the route is not determined.
    let reply = gateway.send_raw([get(b"/nowhere"), gbk].concat()).await;
    assert!(reply.status == 404 && reply.body.ends_with(default_page), "{reply:?}");
}

#[actix_web::test]
async fn an_unfinished_head_times_out() {
    let gateway = start_with_settings(&[("STELE_CLIENT_TIMEOUT", "1")]);
    let dialect_page = r#"{"result":0,"errors":{"code":40000,"message":"请求超时"}}"#;
    let default_page = r#"{"error":"slow_request","message":"请求超时 / request timeout"}"#;
    for (bytes, body) in [
        ("GET /auth/login HTTP/1.1\r\nHost: h\r\n", dialect_page),
        ("GET //auth/lo", dialect_page),
        ("GET /no", default_page),
        ("G", default_page),
        // A connection without a request.
        ("", default_page),
    ] {
        let reply = gateway.send_raw(bytes).await;
        assert_eq!(
            (reply.status, reply.body.as_str(), reply.header("connection")),
            (408, body, Some("close")),
            "{bytes}"
        );
    }
}

#[actix_web::test]
async fn every_head_on_a_keep_alive_connection_has_a_timeout() {
    let gateway = start_with_settings(&[("STELE_CLIENT_TIMEOUT", "1")]);
    for (unfinished, body) in
        [("\r\n", "timeout\"}"), ("G", "timeout\"}"), ("GET /auth/login HTTP/1.1\r\nHost: h\r\n", "\"请求超时\"}}")]
    {
        let mut client = gateway.connect().await;
        let mut received = Vec::new();
        for _ in 0..2 {
            client.write_all(b"GET /auth/login HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
            received.clear();
            read_until(&mut client, &mut received, r#""target":"/auth/login""#).await;
        }
        client.write_all(unfinished.as_bytes()).await.unwrap();
        let received = String::from_utf8(read_all(&mut client).await).unwrap();
        let last = received.rsplit("HTTP/1.1 ").next().unwrap();
        assert!(last.starts_with("408 Request Timeout\r\n") && last.ends_with(body), "{received}");
    }
}

#[actix_web::test]
async fn a_head_timeout_does_not_affect_the_previous_request() {
    let gateway = start_with_settings(&[("STELE_CLIENT_TIMEOUT", "1")]);
    let reply = gateway.send_raw("GET /auth/login HTTP/1.1\r\nHost: h\r\n\r\nGET /auth/login HTTP/1.1\r\n").await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("HTTP/1.1 408 "), "{}", reply.body);
}

#[actix_web::test]
async fn an_unneeded_body_is_not_awaited() {
    let gateway = start_with_settings(&[]);
    for target in ["/healthz", "/docs", "/nowhere"] {
        for framing in ["Content-Length: 9\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"] {
            let reply = gateway.send_raw(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{framing}")).await;
            assert_eq!(reply.header("connection"), Some("close"), "{target} {framing}");
        }
    }
}

#[actix_web::test]
async fn a_client_that_stops_reading_the_response_is_disconnected() {
    // The response is larger than all buffers between service and client.
    let url = start_service(|| async { HttpResponse::Ok().body(vec![b'x'; 64 << 20]) });
    let gateway = start_gateway(&[("mefp", &url)], &[("STELE_BODY_TIMEOUT", "1")]);
    let mut client = gateway.connect().await;
    client.write_all(b"GET /auth/login HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    read_until(&mut client, &mut received, "200 OK").await;
    assert_eq!(gateway.inner.connections(), 1);
    wait_until("the connection to be closed", || gateway.inner.connections() == 0).await;
}

#[actix_web::test]
async fn clients_beyond_max_connections_wait_for_a_free_slot() {
    // The clients have the address of a trusted proxy, because a client address may hold only half of the connections.
    let proxy = ("STELE_TRUSTED_PROXIES", "127.0.0.1");
    let gateway = start_with_settings(&[("STELE_MAX_CONNECTIONS", "8"), ("STELE_CLIENT_TIMEOUT", "2"), proxy]);
    let started_at = Instant::now();
    let silent = join_all((0..8).map(|_| gateway.connect())).await;
    wait_until("all connections to be in use", || gateway.inner.connections() == 8).await;
    // The kernel completes the connect and takes the request; the gateway does not accept the connection yet.
    let mut waiting = gateway.connect().await;
    waiting.write_all(b"GET /auth/login HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut peak_connections = 0;
    let response = read_all(&mut waiting);
    let watch_connections = async {
        loop {
            peak_connections = peak_connections.max(gateway.inner.connections());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let received = tokio::select! { received = response => received, () = watch_connections => unreachable!() };
    assert!(received.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&received));
    assert!(started_at.elapsed() >= Duration::from_secs(1), "answered while all connections were in use");
    assert_eq!((peak_connections, silent.len()), (8, 8));
}

#[actix_web::test]
async fn above_half_of_max_connections_keep_alive_is_disabled() {
    let gateway = start_with_settings(&[("STELE_MAX_CONNECTIONS", "8"), ("STELE_TRUSTED_PROXIES", "127.0.0.1")]);
    let get = "GET /auth/login HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut client = gateway.connect().await;
        client.write_all(get.as_bytes()).await.unwrap();
        read_until(&mut client, &mut Vec::new(), r#""target":"/auth/login""#).await;
        open.push(client);
    }
    assert_eq!(gateway.inner.connections(), 4);
    let reply = gateway.send_raw(get).await;
    assert_eq!((reply.status, reply.header("connection"), open.len()), (200, Some("close"), 4));
}

#[actix_web::test]
async fn a_body_timeout_is_reported_in_the_dialect() {
    let gateway = start_with_settings(&[("STELE_BODY_TIMEOUT", "1")]);
    let timeout = r#"{"message":"请求超时","code":"1009"}"#;
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let reply = gateway.send_raw(format!("POST {TMS_PATH} HTTP/1.1\r\nHost: h\r\n{framing}")).await;
        assert_eq!((reply.status, reply.body.as_str()), (408, timeout), "{framing}");
        assert_eq!(reply.header("connection"), Some("close"));
    }
}
