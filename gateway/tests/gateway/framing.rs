//! Requests made to be read as two: refused, and nothing of them reaches a service.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::HttpResponse;
use tokio::io::AsyncWriteExt as _;

use crate::support::{Gateway, gateway, read_all, service};

fn counting() -> (Gateway, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let url = service(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        async { HttpResponse::Ok().body("served") }
    });
    (gateway(&[("portal", &url), ("mefp", &url)], &[]), count)
}

const SMUGGLED: &str = "GET /auth/smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

async fn refused(head: &str, body: &str) {
    let (gateway, count) = counting();
    let reply = gateway.raw(format!("POST /i/login HTTP/1.1\r\n{head}\r\n{body}{SMUGGLED}")).await;
    assert_eq!(reply.status, 400, "{head}");
    assert!(!reply.body.contains("served"), "{head}: {reply:?}");
    assert_eq!(count.load(Ordering::SeqCst), 0, "{head}");
}

#[actix_web::test]
async fn two_hosts_or_none() {
    refused("Host: a\r\nHost: b\r\n", "").await;
    refused("Host: a\r\nHost: a\r\n", "").await;
    refused("", "").await;
}

#[actix_web::test]
async fn a_length_and_an_encoding() {
    refused("Host: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n").await;
    refused("Host: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n").await;
    refused("Host: h\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n").await;
}

#[actix_web::test]
async fn lengths_that_contradict_each_other_or_are_none() {
    for lengths in
        ["5\r\nContent-Length: 6", "5\r\nContent-Length: 5", "5, 5", "+5", "-1", "0x5", "5 5", "99999999999999999999"]
    {
        refused(&format!("Host: h\r\nContent-Length: {lengths}\r\n"), "hello").await;
    }
}

#[actix_web::test]
async fn encodings_in_disguise() {
    for encoding in
        ["gzip, chunked", "xchunked", "chunked, identity", "chunked\r\nTransfer-Encoding: chunked", "\"chunked\""]
    {
        refused(&format!("Host: h\r\nTransfer-Encoding: {encoding}\r\n"), "0\r\n\r\n").await;
    }
    refused("Host: h\r\nTransfer-Encoding : chunked\r\n", "0\r\n\r\n").await;
}

#[actix_web::test]
async fn folded_and_broken_header_lines() {
    refused("Host: h\r\nX-A: b\r\n folded: yes\r\n", "").await;
    refused("Host: h\r\nno colon\r\n", "").await;
    refused("Host: h\r\nX-A: a\0b\r\n", "").await;
}

#[actix_web::test]
async fn an_upgrade_is_told_in_the_dialect() {
    let (gateway, _) = counting();
    let upgrade = "GET /auth/login HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let told = r#"{"result":0,"errors":{"code":40000,"message":"请求无法解密"}}"#;
    assert_eq!(gateway.raw(upgrade).await.body, told);
    refused("Host: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n", "x").await;
}

#[actix_web::test]
async fn a_broken_chunk_ends_the_connection() {
    let (gateway, _) = counting();
    let mut client = gateway.connect().await;
    let raw = "POST /auth/login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n";
    client.write_all(raw.as_bytes()).await.unwrap();
    client.write_all(SMUGGLED.as_bytes()).await.unwrap_or_default();
    let told = String::from_utf8(read_all(&mut client).await).unwrap();
    assert!(!told.contains("served"), "{told}");
}

#[actix_web::test]
async fn requests_in_a_row_are_each_answered_in_order() {
    let (gateway, count) = counting();
    let one = "POST /i/login HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab";
    let last = "GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let reply = gateway.raw(format!("{one}{one}{last}")).await;
    assert_eq!(count.load(Ordering::SeqCst), 2);
    let (served, refused) = (reply.body.rfind("served").unwrap(), reply.body.find("no_route").unwrap());
    assert!(served < refused);
}
