//! The gateway's way from a client's bytes to a service's: however the bytes are cut, the same requests go on; and each is
//! read by actix-http, as the services read it, as the same request, with the same body, and nothing left that could be
//! another request.
#![no_main]

use actix_codec::Decoder as _;
use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{HttpMessage as _, Request, ServiceConfig};
use actix_web::rt::System;
use bytes::{Bytes, BytesMut};
use gateway::fuzzing::{Forwarded, PEER, forwarded};
use libfuzzer_sys::fuzz_target;

thread_local! {
    /// It starts a task that keeps the date, which nothing here asks for.
    static ACTIX_CONFIG: ServiceConfig = System::new().block_on(async { ServiceConfig::default() });
}

/// What the gateway itself says, and what no client says to a service.
fn assert_headers_sanitized(request: &Request) {
    let headers = request.headers();
    let only = |name: &str, value: &str| {
        let values: Vec<_> = headers.get_all(name).map(|value| value.as_bytes()).collect();
        assert_eq!(values, [value.as_bytes()], "{name}");
    };
    only("host", "service");
    only("x-forwarded-for", &PEER.to_string());
    only("x-forwarded-proto", "http");
    assert_eq!(headers.get_all("x-request-id").count(), 1);
    assert!(headers.get_all("x-forwarded-host").count() <= 1);
    for name in headers.keys().map(|name| name.as_str()) {
        let is_ours = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].contains(&name);
        assert!(is_ours || !name.starts_with("x-forwarded-"), "{name} crosses");
        assert!(!name.starts_with("proxy-") && !name.contains('_'), "{name} crosses");
        let hop = ["connection", "keep-alive", "te", "trailer", "upgrade", "expect", "x-stele-hop"];
        assert!(!hop.contains(&name), "{name} crosses");
    }
}

/// A request, its body, whether that has ended, and how many bytes are left.
type ActixParse = Result<Option<(Request, Vec<u8>, bool, usize)>, String>;

/// What actix-http reads.
fn read_by_actix(bytes: &[u8]) -> ActixParse {
    let (mut codec, mut rest, mut body) =
        (ACTIX_CONFIG.with(|config| Codec::new(config.clone())), BytesMut::from(bytes), Vec::new());
    let Some(message) = codec.decode(&mut rest).map_err(|e| e.to_string())? else { return Ok(None) };
    let Message::Item(request) = message else { return Err("a chunk before a head".to_owned()) };
    let mut is_over = codec.message_type() == MessageType::None;
    while !is_over {
        let before = rest.len();
        match codec.decode(&mut rest).map_err(|e| e.to_string())? {
            Some(Message::Chunk(Some(chunk))) => body.extend_from_slice(&Bytes::from(chunk)),
            Some(Message::Chunk(None)) => is_over = true,
            Some(Message::Item(_)) => return Err("a head in a body".to_owned()),
            None if rest.len() == before => break,
            None => {}
        }
    }
    Ok(Some((request, body, is_over, rest.len())))
}

/// Request ids are random.
fn comparable_parts(one: &Forwarded) -> (&str, &str, &[u8]) {
    (&one.method, &one.target, &one.body)
}

/// The service answers 400 to it and closes: actix-http's methods are those of http 0.2, which lacks five of the characters
/// that RFC 9110 5.6.2 allows in one.
fn is_rejected_for_method(one: &Forwarded, read: &ActixParse) -> bool {
    one.method.contains(['#', '$', '%', '&', '\''])
        && read.as_ref().is_err_and(|error| error.contains("invalid method"))
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(cut) % 64 + 1).collect();
    let (whole, cut) = (forwarded(&[bytes]), forwarded(&pieces));
    let [seen, seen_cut] = [&whole, &cut].map(|all| all.iter().map(comparable_parts).collect::<Vec<_>>());
    assert_eq!(seen, seen_cut, "read in pieces it is something else");
    for one in &whole {
        let read = read_by_actix(&one.written);
        if is_rejected_for_method(one, &read) {
            continue;
        }
        let (request, body, is_over, left) =
            read.expect("the service can read what the gateway writes").expect("it is whole");
        assert_eq!((request.method().as_str(), left, is_over), (one.method.as_str(), 0, true));
        assert_eq!(request.uri().path_and_query().map_or("", |target| target.as_str()), one.target);
        assert_eq!(body, one.body);
        assert_headers_sanitized(&request);
    }
});
