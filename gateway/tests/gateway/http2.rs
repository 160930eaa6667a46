//! HTTP/2 attacks, written frame by frame, over TLS: rapid reset, responses without `WINDOW_UPDATE`, excess streams, oversized and
//! endless header blocks.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{TEST_TIMEOUT, TestGateway, start_gateway_with, start_service, wait_until};

/// Frame types, flags and error codes (RFC 9113 §6, §7).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];

/// A received frame (RFC 9113 §4.1).
struct Frame {
    frame_type: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn encode_frame(frame_type: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[frame_type, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of `GET path` at `https://localhost`: two indexed fields (`:method: GET`, `:scheme: https`; RFC 7541
/// §6.1), and `:path` and `:authority` with indexed names and literal values (§6.2.2).
fn header_block(path: &str) -> Vec<u8> {
    let literal = |index: u8, text: &str| [&[index, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0x82, 0x87], literal(0x04, path), literal(0x01, "localhost")].concat()
}

fn get_request(stream: u32, path: &str) -> Vec<u8> {
    encode_frame(HEADERS, END_STREAM | END_HEADERS, stream, &header_block(path))
}

struct Http2Client {
    reader: ReadHalf<TlsStream<TcpStream>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
}

/// Starts a gateway over TLS in front of a portal; returns it with a certificate store that trusts it.
fn start_tls_gateway(url: &str, settings: &[(&'static str, &str)]) -> (TestGateway, RootCertStore) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let (cert, key) = (cert.pem(), signing_key.serialize_pem());
    let with_certificate = |config: gateway::Config| config.with_certificate(cert.as_bytes(), key.as_bytes()).unwrap();
    (start_gateway_with(&[("portal", url)], settings, with_certificate), roots)
}

impl Http2Client {
    /// Connects, and sends the connection preface (RFC 9113 §3.4).
    async fn connect(gateway: &TestGateway, roots: &RootCertStore) -> Self {
        let mut config = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, gateway.connect().await).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let (reader, mut writer) = split(stream);
        writer
            .write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &encode_frame(SETTINGS, 0, 0, &[])].concat())
            .await
            .unwrap();
        Self { reader, writer }
    }

    /// The next frame; `None` at the end of the connection.
    async fn next_frame(&mut self) -> Option<Frame> {
        let reading = async {
            let mut head = [0; 9];
            self.reader.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap()];
            self.reader.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame { frame_type: head[3], stream, payload })
        };
        tokio::time::timeout(TEST_TIMEOUT, reading).await.expect("a frame or the end of the connection")
    }

    /// Reads until the first frame for which `predicate` holds.
    async fn wait_for_frame(&mut self, predicate: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next_frame().await.expect("the connection ended before the frame");
            if predicate(&frame) {
                return frame;
            }
        }
    }

    /// Reads until the connection ends; returns the error code of the last `GOAWAY`, if there was one.
    async fn read_until_closed(&mut self) -> Option<[u8; 4]> {
        let mut error = None;
        while let Some(frame) = self.next_frame().await {
            if frame.frame_type == GOAWAY {
                error = frame.payload.get(4..8).map(|code| code.try_into().unwrap());
            }
        }
        error
    }
}

/// Fails if a well-behaved client on another connection gets no response.
async fn assert_other_clients_are_served(gateway: &TestGateway, roots: &RootCertStore) {
    let mut client = Http2Client::connect(gateway, roots).await;
    client.writer.write_all(&get_request(1, "/healthz")).await.unwrap();
    let response = client.wait_for_frame(|frame| frame.frame_type == HEADERS).await;
    // `:status: 200` is index 8 of the static table.
    assert_eq!((response.stream, response.payload.first()), (1, Some(&0x88)));
}

fn start_hanging_service() -> String {
    start_service(std::future::pending::<HttpResponse>)
}

#[actix_web::test]
async fn rapid_resets_close_the_connection() {
    let (gateway, roots) = start_tls_gateway(&start_hanging_service(), &[]);
    let mut client = Http2Client::connect(&gateway, &roots).await;
    for stream in (1..2_000).step_by(2) {
        let reset = encode_frame(RST_STREAM, 0, stream, &CANCEL);
        if client.writer.write_all(&[get_request(stream, "/i/login"), reset].concat()).await.is_err() {
            break;
        }
    }
    let error = client.read_until_closed().await;
    assert!(error.is_none_or(|error| error == ENHANCE_YOUR_CALM), "{error:?}");
    wait_until("the connection to be closed", || gateway.inner.connections() == 0).await;
    assert_other_clients_are_served(&gateway, &roots).await;
}

#[actix_web::test]
async fn a_flow_control_window_that_stays_exhausted_closes_the_connection() {
    let url = start_service(|| async { HttpResponse::Ok().body(vec![b'x'; 4 << 20]) });
    let (gateway, roots) = start_tls_gateway(&url, &[("STELE_BODY_TIMEOUT", "1")]);
    let mut client = Http2Client::connect(&gateway, &roots).await;
    // Without a `WINDOW_UPDATE`, the initial window lets 65,535 bytes through.
    client.writer.write_all(&get_request(1, "/i/login")).await.unwrap();
    let mut received = 0;
    while let Some(frame) = client.next_frame().await {
        received += if frame.frame_type == DATA { frame.payload.len() } else { 0 };
    }
    assert_eq!(received, 65_535);
    wait_until("the connection to be closed", || gateway.inner.connections() == 0).await;
    assert_other_clients_are_served(&gateway, &roots).await;
}

#[actix_web::test]
async fn streams_beyond_the_limit_are_refused_and_a_reset_frees_one() {
    let (gateway, roots) = start_tls_gateway(&start_hanging_service(), &[]);
    let mut client = Http2Client::connect(&gateway, &roots).await;
    let requests: Vec<u8> = (0..110).flat_map(|number| get_request(2 * number + 1, "/i/login")).collect();
    client.writer.write_all(&requests).await.unwrap();
    for _ in 0..10 {
        let refused = client.wait_for_frame(|frame| frame.frame_type == RST_STREAM).await;
        assert!(refused.stream > 200 && refused.payload == REFUSED_STREAM, "{} {:?}", refused.stream, refused.payload);
    }
    // The client resets one stream, so that it may open another.
    client.writer.write_all(&encode_frame(RST_STREAM, 0, 1, &CANCEL)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    client.writer.write_all(&get_request(221, "/healthz")).await.unwrap();
    client.wait_for_frame(|frame| frame.frame_type == HEADERS && frame.stream == 221).await;
}

#[actix_web::test]
async fn an_oversized_header_list_is_rejected() {
    let (gateway, roots) = start_tls_gateway(&start_hanging_service(), &[]);
    let mut client = Http2Client::connect(&gateway, &roots).await;
    // The literal field `x: y…` of about 100 bytes, 400 times.
    let field = [&[0, 1, b'x', 100], [b'y'; 100].as_slice()].concat();
    let list = [header_block("/i/login"), field.repeat(400)].concat();
    let mut pieces = list.chunks(16_000);
    client.writer.write_all(&encode_frame(HEADERS, END_STREAM, 1, pieces.next().unwrap())).await.unwrap();
    let count = pieces.len();
    for (number, piece) in pieces.enumerate() {
        let flags = if number + 1 == count { END_HEADERS } else { 0 };
        client.writer.write_all(&encode_frame(CONTINUATION, flags, 1, piece)).await.unwrap();
    }
    let refused = client.wait_for_frame(|frame| frame.stream == 1).await;
    // `:status: 431`: the value is Huffman-coded (RFC 7541, appendix B) or plain.
    let is_431 = refused.frame_type == HEADERS
        && refused.payload.windows(3).any(|three| three == [0x69, 0x90, 0xff] || three == b"431");
    assert!(is_431 || refused.frame_type == RST_STREAM, "{} {:?}", refused.frame_type, refused.payload);
    client.writer.write_all(&get_request(3, "/healthz")).await.unwrap();
    client.wait_for_frame(|frame| frame.frame_type == HEADERS && frame.stream == 3).await;
}

#[actix_web::test]
async fn an_endless_header_block_closes_the_connection() {
    let (gateway, roots) = start_tls_gateway(&start_hanging_service(), &[]);
    let mut client = Http2Client::connect(&gateway, &roots).await;
    client.writer.write_all(&encode_frame(HEADERS, END_STREAM, 1, &header_block("/i/login"))).await.unwrap();
    let piece = encode_frame(CONTINUATION, 0, 1, &[&[0, 1, b'x', 100], [b'y'; 100].as_slice()].concat().repeat(100));
    let (mut sent, max_sent) = (0, 20_000_000);
    while sent < max_sent && client.writer.write_all(&piece).await.is_ok() {
        sent += piece.len();
    }
    client.read_until_closed().await;
    assert!(sent < max_sent, "{sent} bytes of one header block were accepted");
    wait_until("the connection to be closed", || gateway.inner.connections() == 0).await;
    assert_other_clients_are_served(&gateway, &roots).await;
}
