//! Bodies pass through; they are not collected first.

use std::sync::{Arc, Mutex};

use actix_web::web::{Bytes, Payload};
use actix_web::{Error, HttpResponse};
use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::support::{PATIENCE, gateway, read_all, read_until, service};

const PIECE: usize = 64 * 1024;

#[actix_web::test]
async fn an_answer_of_20_mb_comes_piece_by_piece() {
    let (send, receive) = mpsc::channel::<Bytes>(1);
    let receive = Arc::new(Mutex::new(Some(receive)));
    let url = service(move || {
        let pieces = receive.lock().unwrap().take().unwrap();
        let body = stream::unfold(pieces, |mut pieces| async { Some((Ok::<_, Error>(pieces.recv().await?), pieces)) });
        async { HttpResponse::Ok().streaming(body) }
    });
    let gateway = gateway(&[("portal", &url)], &[]);
    let mut client = gateway.connect().await;
    client.write_all(b"GET /i/big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    // The first piece is here before the second is made.
    send.send(Bytes::from_static(b"first piece")).await.unwrap();
    read_until(&mut client, &mut bytes, "first piece").await;
    let feeding = actix_web::rt::spawn(async move {
        let piece = Bytes::from(vec![b'x'; PIECE]);
        for _ in 0..20_000_000 / PIECE {
            send.send(piece.clone()).await.unwrap();
        }
    });
    let rest = read_all(&mut client).await;
    feeding.await.unwrap();
    let payload = rest.iter().filter(|&&byte| byte == b'x').count();
    assert_eq!(payload, 20_000_000 / PIECE * PIECE);
    assert!(rest.ends_with(b"0\r\n\r\n"));
}

#[actix_web::test]
async fn a_slow_client_holds_the_service_back() {
    let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = made.clone();
    let url = service(move || {
        let counter = counter.clone();
        let piece = Bytes::from(vec![b'x'; PIECE]);
        let body = stream::iter(0..1_600).map(move |_| {
            counter.fetch_add(PIECE, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, Error>(piece.clone())
        });
        async { HttpResponse::Ok().streaming(body) }
    });
    let gateway = gateway(&[("portal", &url)], &[]);
    let mut client = gateway.connect().await;
    client.write_all(b"GET /i/big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    // 100 MB are on offer; one is taken. What the service has made beyond it is what all buffers together hold.
    client.read_exact(&mut vec![0; 1_000_000]).await.unwrap();
    assert!(made.load(std::sync::atomic::Ordering::SeqCst) < 60_000_000);
}

#[actix_web::test]
async fn a_request_reaches_the_service_while_it_is_sent() {
    let (report, mut reported) = mpsc::unbounded_channel::<usize>();
    let url = service(move |mut payload: Payload| {
        let report = report.clone();
        async move {
            let mut total = 0;
            while let Some(chunk) = payload.next().await {
                total += chunk.unwrap().len();
                let _ = report.send(total);
            }
            HttpResponse::Ok().body(total.to_string())
        }
    });
    let gateway = gateway(&[("portal", &url)], &[]);
    let mut client = gateway.connect().await;
    let head = "POST /i/up HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 60000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&vec![b'x'; 40_000]).await.unwrap();
    // The rest is sent only when the service has seen the beginning.
    let first = tokio::time::timeout(PATIENCE, reported.recv()).await.expect("nothing reached the service").unwrap();
    assert!((1..=40_000).contains(&first));
    client.write_all(&vec![b'x'; 20_000]).await.unwrap();
    assert!(read_all(&mut client).await.ends_with(b"60000"));
}
