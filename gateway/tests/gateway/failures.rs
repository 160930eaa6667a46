//! Services that are away, slow or broken.

use std::time::Instant;

use actix_web::HttpResponse;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::{PATIENCE, SERVICES, babbling, echo, gateway, listener, nobody, read_all, read_until, service};

#[actix_web::test]
async fn a_service_that_is_away_is_told_in_every_dialect() {
    let gateway = gateway(&[], &[]);
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
async fn failures_have_status_200_where_that_is_set() {
    let settings = [("STELE_STATUS_200", "tms,mefp"), ("STELE_BODY_LIMIT", "10")];
    let gateway = gateway(&[], &settings);
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
async fn a_failure_that_a_service_answered_with_status_200_stays_so() {
    let answer = "HTTP/1.1 200 OK\r\nX-Stele-Status: 401\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\n{}";
    let gateway = gateway(&[("tms", &babbling(answer))], &[]);
    let reply = gateway.get("/container/api/v1/cloudbox/tms/x").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "{}"));
    assert_eq!((reply.header("x-stele-status"), reply.header("www-authenticate")), (None, Some("Bearer")));
}

#[actix_web::test]
async fn a_service_that_does_not_answer_is_given_up() {
    // The system accepts for it; nobody reads.
    let silent = listener();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let gateway = gateway(&[("portal", &url), ("jwt", &url)], &[("STELE_UPSTREAM_TIMEOUT", "1")]);
    let started = Instant::now();
    let reply = gateway.send("POST", "/i/login", "", "a=b").await;
    assert!(started.elapsed().as_secs() >= 1);
    let portal = r#"{"status":{"status_code":"503","status_message":"服务超时","message":"服务超时"},"content":{}}"#;
    assert_eq!((reply.status, reply.body.as_str()), (504, portal));
    let reply = gateway.get("/api/vi/Auth/CAPTCHA").await;
    assert_eq!((reply.status, reply.body.as_str()), (504, r#"{"code":-1,"message":"服务超时"}"#));
}

#[actix_web::test]
async fn a_service_that_talks_nonsense_or_hangs_up_is_unavailable() {
    for answer in ["", "nonsense\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 20"] {
        let gateway = gateway(&[("tms", &babbling(answer))], &[]);
        let reply = gateway.get("/container/api/v1/cloudbox/tms/x").await;
        let told = r#"{"message":"服务暂不可用","code":"1009"}"#;
        assert_eq!((reply.status, reply.body.as_str()), (503, told), "{answer:?}");
    }
}

#[actix_web::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let (url, break_off) = breaking("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").await;
    let gateway = gateway(&[("tms", &url)], &[("STELE_HEALTH_INTERVAL", "60")]);
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
async fn breaking(beginning: &'static str) -> (String, oneshot::Sender<()>) {
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
async fn an_answer_that_stalls_is_cut_off() {
    let url = service(|| async {
        let stalled = futures_util::stream::pending::<Result<actix_web::web::Bytes, actix_web::Error>>();
        HttpResponse::Ok().streaming(stalled)
    });
    let gateway = gateway(&[("tms", &url)], &[("STELE_UPSTREAM_TIMEOUT", "1")]);
    // Would wait for ever if it were not.
    let reply = gateway.get("/container/api/v1/cloudbox/tms/x").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
}

#[actix_web::test]
async fn an_instance_that_cannot_be_reached_is_passed_over() {
    let urls = format!("{},{},{}", nobody(), echo("mefp"), nobody());
    let gateway = gateway(&[("mefp", &urls)], &[]);
    for _ in 0..6 {
        let reply = gateway.send("POST", "/auth/login", "", "body").await;
        assert_eq!((reply.status, reply.json()["body"].as_str()), (200, Some("body")));
    }
}

#[actix_web::test]
async fn instances_take_turns() {
    let gateway = gateway(&[("mefp", &format!("{},{}", echo("one"), echo("two")))], &[]);
    gateway.usable(&["mefp"]).await;
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..10 {
        let by = gateway.get("/auth/login").await.header("x-served-by").unwrap().to_owned();
        *seen.entry(by).or_insert(0) += 1;
    }
    assert_eq!(seen, [("one".to_owned(), 5), ("two".to_owned(), 5)].into());
}

/// What comes of a request of this version, and whether the connection was reset rather than closed.
async fn told(gateway: &crate::support::Gateway, version: &str) -> (String, bool) {
    let mut client = gateway.connect().await;
    let get = format!("GET /container/api/v1/cloudbox/tms/x HTTP/{version}\r\nHost: h\r\n\r\n");
    client.write_all(get.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, client.read_to_end(&mut bytes)).await.expect("neither closed nor reset");
    (String::from_utf8(bytes).unwrap(), ended.is_err())
}

#[actix_web::test]
async fn an_answer_that_only_the_end_ends_is_reset_if_it_breaks_off() {
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
    for broken in [chunks, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n"] {
        let gateway = gateway(&[("tms", &babbling(broken))], &[]);
        // To HTTP/1.0 there are no chunks, and a close would say that this is all.
        assert!(told(&gateway, "1.0").await.1, "{broken:?}");
        let (came, _) = told(&gateway, "1.1").await;
        assert!(!came.contains("\r\n0\r\n"), "{came:?}");
    }
    let whole = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (came, reset) = told(&gateway(&[("tms", &babbling(whole))], &[]), "1.0").await;
    assert!(came.starts_with("HTTP/1.0 200") && came.ends_with("\r\n\r\nhello") && !reset, "{came:?}");
}

#[actix_web::test]
async fn an_answer_without_a_length_is_handed_on_to_its_end() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
        let gateway = gateway(&[("tms", &babbling(format!("{head}all of this").leak()))], &[]);
        assert_eq!(gateway.get("/container/api/v1/cloudbox/tms/x").await.body, "all of this");
    }
}

#[actix_web::test]
async fn a_service_that_answers_before_it_has_the_body_is_heard() {
    let url = babbling("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 5\r\n\r\nlater");
    let gateway = gateway(&[("tms", &url)], &[]);
    let head = "POST /container/api/v1/cloudbox/tms/x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf";
    let reply = gateway.raw(head).await;
    assert_eq!((reply.status, reply.body.as_str(), reply.header("connection")), (429, "later", Some("close")));
}
