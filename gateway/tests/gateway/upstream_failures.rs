//! Services that are away, slow or broken.

use std::time::Instant;

use actix_web::HttpResponse;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::{
    SERVICES, TEST_TIMEOUT, local_listener, read_all, read_until, start_echo_service, start_gateway, start_raw_service,
    start_service, unreachable_url,
};

#[actix_web::test]
async fn an_unreachable_service_is_reported_in_every_dialect() {
    let gateway = start_gateway(&[], &[]);
    for ((service, path), body) in SERVICES.iter().zip([
        r#"{"message":"服务暂不可用","code":"1009"}"#,
        r#"{"message":"服务暂不可用","code":"1009"}"#,
        r#"{"status":{"status_code":"503","status_message":"服务暂不可用","message":"服务暂不可用"},"content":{}}"#,
        r#"{"result":0,"errors":{"code":50300,"message":"服务暂不可用"}}"#,
        r#"{"code":-1,"message":"服务暂不可用"}"#,
    ]) {
        for (method, sent) in [("GET", ""), ("POST", "a=b")] {
            let reply = gateway.send(method, path, "", sent).await;
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
        let covered = ["tms", "mefp"].contains(&service);
        let expected = |status| if covered { 200 } else { status };
        let away = gateway.send("POST", path, "", "a=b").await;
        assert_eq!((away.status, away.header("retry-after")), (expected(503), Some("1")), "{service}");
        let large = gateway.send("POST", path, "", "0123456789a").await;
        assert_eq!(large.status, expected(413), "{service}");
        let ambiguous = format!("{path}%2f");
        assert_eq!(gateway.get(&ambiguous).await.status, expected(404), "{service}");
    }
    assert_eq!(gateway.get("/nothing").await.status, 404, "no route, no dialect");
}

/// What the status would have been is for the gateway's log and metrics.
#[actix_web::test]
async fn a_failure_sent_with_status_200_by_a_service_stays_200() {
    let answer = "HTTP/1.1 200 OK\r\nX-Stele-Status: 401\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\n{}";
    let gateway = start_gateway(&[("tms", &start_raw_service(answer))], &[]);
    let reply = gateway.get("/container/api/v1/cloudbox/tms/x").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "{}"));
    assert_eq!((reply.header("x-stele-status"), reply.header("www-authenticate")), (None, Some("Bearer")));
}

#[actix_web::test]
async fn a_service_that_does_not_respond_times_out() {
    // The system accepts for it; nobody reads.
    let silent = local_listener();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let gateway = start_gateway(&[("portal", &url), ("jwt", &url)], &[("STELE_UPSTREAM_TIMEOUT", "1")]);
    let started = Instant::now();
    let reply = gateway.send("POST", "/i/login", "", "a=b").await;
    assert!(started.elapsed().as_secs() >= 1);
    let portal = r#"{"status":{"status_code":"503","status_message":"服务超时","message":"服务超时"},"content":{}}"#;
    assert_eq!((reply.status, reply.body.as_str()), (504, portal));
    let reply = gateway.get("/api/vi/Auth/CAPTCHA").await;
    assert_eq!((reply.status, reply.body.as_str()), (504, r#"{"code":-1,"message":"服务超时"}"#));
}

#[actix_web::test]
async fn a_service_that_sends_no_valid_response_is_unavailable() {
    for answer in ["", "nonsense\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 20"] {
        let gateway = start_gateway(&[("tms", &start_raw_service(answer))], &[]);
        let reply = gateway.get("/container/api/v1/cloudbox/tms/x").await;
        let told = r#"{"message":"服务暂不可用","code":"1009"}"#;
        assert_eq!((reply.status, reply.body.as_str()), (503, told), "{answer:?}");
    }
}

#[actix_web::test]
async fn a_truncated_response_is_truncated_for_the_client() {
    let (url, break_off) = start_truncating_service("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").await;
    let gateway = start_gateway(&[("tms", &url)], &[("STELE_HEALTH_INTERVAL", "60")]);
    let mut client = gateway.connect().await;
    client.write_all(b"GET /container/api/v1/cloudbox/tms/x HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    // The service breaks off only when the client has what there is: a reset takes what was not read yet.
    let mut came = Vec::new();
    read_until(&mut client, &mut came, "only this").await;
    break_off.send(()).unwrap();
    // Closed or reset, although the client would have gone on: it has less than it was promised, and sees that.
    let more = read_all(&mut client).await;
    let came = String::from_utf8([came, more].concat()).unwrap();
    assert!(came.starts_with("HTTP/1.1 200 OK\r\n") && came.contains("Content-Length: 100\r\n"), "{came}");
    assert!(came.ends_with("\r\n\r\nonly this"), "nothing was made up: {came}");
}

/// A service that says `beginning` of its answer, and closes the connection when it is sent word.
async fn start_truncating_service(beginning: &'static str) -> (String, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (word, mut sent) = oneshot::channel();
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
            let _ = (&mut sent).await;
            return;
        }
    });
    (url, word)
}

#[actix_web::test]
async fn a_stalled_response_is_aborted() {
    let url = start_service(|| async {
        let stalled = futures_util::stream::pending::<Result<actix_web::web::Bytes, actix_web::Error>>();
        HttpResponse::Ok().streaming(stalled)
    });
    let gateway = start_gateway(&[("tms", &url)], &[("STELE_UPSTREAM_TIMEOUT", "1")]);
    // Would wait for ever if it were not.
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
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..10 {
        let by = gateway.get("/auth/login").await.header("x-served-by").unwrap().to_owned();
        *seen.entry(by).or_insert(0) += 1;
    }
    assert_eq!(seen, [("one".to_owned(), 5), ("two".to_owned(), 5)].into());
}

/// What comes of a request of this version, and whether the connection was reset rather than closed.
async fn read_until_closed(gateway: &crate::support::TestGateway, version: &str) -> (String, bool) {
    let mut client = gateway.connect().await;
    let get = format!("GET /container/api/v1/cloudbox/tms/x HTTP/{version}\r\nHost: h\r\n\r\n");
    client.write_all(get.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let ended =
        tokio::time::timeout(TEST_TIMEOUT, client.read_to_end(&mut bytes)).await.expect("neither closed nor reset");
    (String::from_utf8(bytes).unwrap(), ended.is_err())
}

#[actix_web::test]
async fn a_truncated_close_delimited_response_resets_the_connection() {
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
    for broken in [chunks, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n"] {
        let gateway = start_gateway(&[("tms", &start_raw_service(broken))], &[]);
        // To HTTP/1.0 there are no chunks, and a close would say that this is all.
        assert!(read_until_closed(&gateway, "1.0").await.1, "{broken:?}");
        let (came, _) = read_until_closed(&gateway, "1.1").await;
        assert!(!came.contains("\r\n0\r\n"), "{came:?}");
    }
    let whole = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (came, reset) = read_until_closed(&start_gateway(&[("tms", &start_raw_service(whole))], &[]), "1.0").await;
    assert!(came.starts_with("HTTP/1.0 200") && came.ends_with("\r\n\r\nhello") && !reset, "{came:?}");
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
