//! Request smuggling through the gateway: a client's bytes are forwarded as the same requests, wherever they are split.
//! actix-http, which the services use, reads each forwarded request as one request with the same body, and no bytes are
//! left that could be another request.
#![no_main]

use actix_codec::Decoder as _;
use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{HttpMessage as _, Request, ServiceConfig};
use actix_web::rt::System;
use bytes::{Bytes, BytesMut};
use gateway::fuzzing::{ForwardedRequest, PEER, forward_requests};
use libfuzzer_sys::fuzz_target;

thread_local! {
    /// Needs a runtime, because it starts a task for the `Date` header.
    static ACTIX_CONFIG: ServiceConfig = System::new().block_on(async { ServiceConfig::default() });
}

/// Fails unless the headers that only the gateway sets have the gateway's values, and no hop-by-hop or identity header
/// of the client is forwarded.
fn assert_headers_sanitized(request: &Request) {
    let headers = request.headers();
    let assert_only_value = |name: &str, value: &str| {
        let values: Vec<_> = headers.get_all(name).map(|value| value.as_bytes()).collect();
        assert_eq!(values, [value.as_bytes()], "{name}");
    };
    assert_only_value("host", "service");
    assert_only_value("x-forwarded-for", &PEER.to_string());
    assert_only_value("x-forwarded-proto", "http");
    assert_eq!(headers.get_all("x-request-id").count(), 1);
    assert!(headers.get_all("x-forwarded-host").count() <= 1);
    for name in headers.keys().map(|name| name.as_str()) {
        let is_set_by_gateway = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].contains(&name);
        assert!(is_set_by_gateway || !name.starts_with("x-forwarded-"), "{name} was forwarded");
        assert!(!name.starts_with("proxy-") && !name.contains('_'), "{name} was forwarded");
        let hop_by_hop = ["connection", "keep-alive", "te", "trailer", "upgrade", "expect", "x-stele-hop"];
        assert!(!hop_by_hop.contains(&name), "{name} was forwarded");
    }
}

/// A request as actix-http reads it.
struct ParsedRequest {
    request: Request,
    body: Vec<u8>,
    is_complete: bool,
    unread_bytes: usize,
}

/// Parses bytes with actix-http. `None` if the head is incomplete.
fn parse_with_actix(bytes: &[u8]) -> Result<Option<ParsedRequest>, String> {
    let (mut codec, mut rest, mut body) =
        (ACTIX_CONFIG.with(|config| Codec::new(config.clone())), BytesMut::from(bytes), Vec::new());
    let Some(message) = codec.decode(&mut rest).map_err(|e| e.to_string())? else { return Ok(None) };
    let Message::Item(request) = message else { return Err("a chunk before a head".to_owned()) };
    let mut is_complete = codec.message_type() == MessageType::None;
    while !is_complete {
        let before = rest.len();
        match codec.decode(&mut rest).map_err(|e| e.to_string())? {
            Some(Message::Chunk(Some(chunk))) => body.extend_from_slice(&Bytes::from(chunk)),
            Some(Message::Chunk(None)) => is_complete = true,
            Some(Message::Item(_)) => return Err("a head in a body".to_owned()),
            None if rest.len() == before => break,
            None => {}
        }
    }
    Ok(Some(ParsedRequest { request, body, is_complete, unread_bytes: rest.len() }))
}

/// The parts that are equal in two runs. The headers are not, because they have a random request id.
fn comparable_parts(forwarded: &ForwardedRequest) -> (&str, &str, &[u8]) {
    (&forwarded.method, &forwarded.target, &forwarded.body)
}

/// Whether the service rejects the method with 400 and closes: actix-http's methods are those of http 0.2, which lacks
/// five of the characters that RFC 9110 §5.6.2 allows.
fn is_rejected_for_method(forwarded: &ForwardedRequest, parsed: &Result<Option<ParsedRequest>, String>) -> bool {
    forwarded.method.contains(['#', '$', '%', '&', '\''])
        && parsed.as_ref().is_err_and(|error| error.contains("invalid method"))
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, bytes)) = data.split_first() else { return };
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(first) % 64 + 1).collect();
    let (from_whole, from_pieces) = (forward_requests(&[bytes]), forward_requests(&pieces));
    let [whole_parts, pieces_parts] =
        [&from_whole, &from_pieces].map(|all| all.iter().map(comparable_parts).collect::<Vec<_>>());
    assert_eq!(whole_parts, pieces_parts, "split input is forwarded as the same requests");
    for sent in &from_whole {
        let parsed = parse_with_actix(&sent.written);
        if is_rejected_for_method(sent, &parsed) {
            continue;
        }
        let ParsedRequest { request, body, is_complete, unread_bytes } =
            parsed.expect("a request that the service can read").expect("a complete head");
        assert_eq!((request.method().as_str(), unread_bytes, is_complete), (sent.method.as_str(), 0, true));
        assert_eq!(request.uri().path_and_query().map_or("", |target| target.as_str()), sent.target);
        assert_eq!(body, sent.body);
        assert_headers_sanitized(&request);
    }
});
