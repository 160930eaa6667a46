//! Bodies are streamed in both directions, with backpressure.

use std::sync::{Arc, Mutex};

use actix_web::web::{Bytes, Payload};
use actix_web::{Error, HttpResponse};
use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;

use crate::support::{TEST_TIMEOUT, read_all, read_until, start_gateway, start_service};

const CHUNK: usize = 64 * 1024;

#[actix_web::test]
async fn a_20_mb_response_is_streamed() {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let url = start_service(move || {
        let chunks = receiver.lock().unwrap().take().unwrap();
        let body = stream::unfold(chunks, |mut chunks| async { Some((Ok::<_, Error>(chunks.recv().await?), chunks)) });
        async { HttpResponse::Ok().streaming(body) }
    });
    let gateway = start_gateway(&[("portal", &url)], &[]);
    let mut client = gateway.connect().await;
    client.write_all(b"GET /i/big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    // The client receives the first chunk before the service produces the second.
    sender.send(Bytes::from_static(b"first chunk")).await.unwrap();
    read_until(&mut client, &mut bytes, "first chunk").await;
    let sending = actix_web::rt::spawn(async move {
        let chunk = Bytes::from(vec![b'x'; CHUNK]);
        for _ in 0..20_000_000 / CHUNK {
            sender.send(chunk.clone()).await.unwrap();
        }
    });
    let remainder = read_all(&mut client).await;
    sending.await.unwrap();
    let payload = remainder.iter().filter(|&&byte| byte == b'x').count();
    assert_eq!(payload, 20_000_000 / CHUNK * CHUNK);
    assert!(remainder.ends_with(b"0\r\n\r\n"));
}

/// Chunks of a response of 200 MB: far more than the kernel buffers of all sockets between service and client.
const OFFERED_CHUNKS: usize = 3_200;

#[actix_web::test]
async fn a_slow_client_applies_backpressure_to_the_service() {
    let produced = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = produced.clone();
    let url = start_service(move || {
        let counter = counter.clone();
        let chunk = Bytes::from(vec![b'x'; CHUNK]);
        let body = stream::iter(0..OFFERED_CHUNKS).map(move |_| {
            counter.fetch_add(CHUNK, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, Error>(chunk.clone())
        });
        async { HttpResponse::Ok().streaming(body) }
    });
    let gateway = start_gateway(&[("portal", &url)], &[]);
    let mut client = gateway.connect().await;
    client.write_all(b"GET /i/big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    // The client reads one MB. Once the service produces no more, the rest of what it produced fills all buffers.
    client.read_exact(&mut vec![0; 1_000_000]).await.unwrap();
    let produced_bytes = || produced.load(std::sync::atomic::Ordering::SeqCst);
    let (mut previous, mut unchanged_polls) = (0, 0);
    while unchanged_polls < 10 && produced_bytes() < OFFERED_CHUNKS * CHUNK {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        unchanged_polls = if produced_bytes() == previous { unchanged_polls + 1 } else { 0 };
        previous = produced_bytes();
    }
    assert!(produced_bytes() < 60_000_000, "{} bytes produced for a client that read one million", produced_bytes());
    // The client reads on, and the service resumes.
    assert!(read_all(&mut client).await.len() > OFFERED_CHUNKS * CHUNK - 1_000_000);
    assert_eq!(produced_bytes(), OFFERED_CHUNKS * CHUNK);
}

#[actix_web::test]
async fn a_request_body_is_streamed_to_the_service() {
    let (progress_sender, mut progress) = mpsc::unbounded_channel::<usize>();
    let url = start_service(move |mut payload: Payload| {
        let progress = progress_sender.clone();
        async move {
            let mut total = 0;
            while let Some(chunk) = payload.next().await {
                total += chunk.unwrap().len();
                let _ = progress.send(total);
            }
            HttpResponse::Ok().body(total.to_string())
        }
    });
    let gateway = start_gateway(&[("portal", &url)], &[]);
    let mut client = gateway.connect().await;
    let head = "POST /i/up HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 60000\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&vec![b'x'; 40_000]).await.unwrap();
    // The second part is sent only after the service has received some of the first.
    let first =
        tokio::time::timeout(TEST_TIMEOUT, progress.recv()).await.expect("nothing reached the service").unwrap();
    assert!((1..=40_000).contains(&first));
    client.write_all(&vec![b'x'; 20_000]).await.unwrap();
    assert!(read_all(&mut client).await.ends_with(b"60000"));
}

/// Starts a service with a tiny receive buffer that responds with the length of the request body.
async fn start_slow_reader() -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            actix_web::rt::spawn(async move {
                let mut received = Vec::new();
                read_until(&mut stream, &mut received, "\r\n\r\n").await;
                let text = String::from_utf8_lossy(&received);
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let (length, mut total) = (length.map_or(0, |length| length.parse().unwrap()), body.len());
                let mut buffer = [0; 1024];
                while total < length {
                    total += stream.read(&mut buffer).await.unwrap();
                }
                let total = total.to_string();
                let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{total}", total.len());
                stream.write_all(response.as_bytes()).await.unwrap();
            });
        }
    });
    url
}

#[actix_web::test]
async fn a_body_sent_faster_than_it_is_read_arrives_complete() {
    const LENGTH: usize = 8_000_000;
    let url = start_slow_reader().await;
    let settings = [("STELE_BODY_LIMIT", "10000000"), ("STELE_BODY_TIMEOUT", "10")];
    let gateway = start_gateway(&[("portal", &url)], &settings);
    for is_half_closed in [false, true] {
        let mut client = gateway.connect().await;
        let head = format!("POST /i/up HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {LENGTH}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b'x'; LENGTH]).await.unwrap();
        if is_half_closed {
            client.shutdown().await.unwrap();
        }
        let response = String::from_utf8(read_all(&mut client).await).unwrap();
        let is_complete = response.ends_with(&LENGTH.to_string());
        assert!(response.starts_with("HTTP/1.1 200") && is_complete, "half-closed {is_half_closed}: {response}");
    }
}

#[actix_web::test]
async fn a_slow_upload_does_not_consume_the_upstream_timeout() {
    let url = start_service(|body: Bytes| async move { HttpResponse::Ok().body(body) });
    let gateway = start_gateway(&[("portal", &url)], &[("STELE_UPSTREAM_TIMEOUT", "1")]);
    let mut client = gateway.connect().await;
    let head = "POST /i/up HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 8\r\n\r\nhalf";
    client.write_all(head.as_bytes()).await.unwrap();
    // Longer than `STELE_UPSTREAM_TIMEOUT`.
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    client.write_all(b"half").await.unwrap();
    let response = String::from_utf8(read_all(&mut client).await).unwrap();
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("halfhalf"), "{response}");
}
