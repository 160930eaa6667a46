//! The gateway's reading of a request, head and body: however the bytes are cut, they are read in one way; what is accepted
//! has one framing; and what is written for the service is read there, by actix-http, as the same request and nothing more.
#![no_main]

use actix_codec::Decoder as _;
use actix_http::h1::{Codec, Message};
use actix_http::{Request, ServiceConfig};
use actix_web::rt::System;
use bytes::{Bytes, BytesMut};
use gateway::fuzzing::{Frame, Head, PEER, forwarded, relayed, request};
use libfuzzer_sys::fuzz_target;

thread_local! {
    /// It starts a task that keeps the date, which nothing here asks for.
    static CONFIG: ServiceConfig = System::new().block_on(async { ServiceConfig::default() });
}

/// Name and value of each field of a head, read by hand.
fn fields(head: &str) -> Vec<(String, &str)> {
    let lines = head.trim_start_matches("\r\n").split("\r\n").skip(1).take_while(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a field line has a colon");
            (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']))
        })
        .collect()
}

fn values<'a>(fields: &[(String, &'a str)], name: &str) -> Vec<&'a str> {
    fields.iter().filter(|(field, _)| field == name).map(|(_, value)| *value).collect()
}

/// Every byte as the character of its number, so that offsets stay.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect()
}

/// RFC 9112, section 6.3, and section 3.2 about `Host`.
fn check_head(head: &Head, raw: &[u8]) {
    let raw = text(raw);
    assert!(raw.ends_with("\r\n\r\n") && !raw.replace("\r\n", "").contains(['\r', '\n']));
    let fields = fields(&raw);
    let (lengths, encodings) = (values(&fields, "content-length"), values(&fields, "transfer-encoding"));
    assert!(lengths.len() + encodings.len() <= 1, "two framings in {raw:?}");
    let frame = match (lengths.as_slice(), encodings.as_slice()) {
        ([length], []) => {
            assert!(length.bytes().all(|byte| byte.is_ascii_digit()));
            Frame::Sized(length.parse().expect("a length of 64 bits"))
        }
        ([], [encoding]) => {
            assert!(head.is_current && encoding.eq_ignore_ascii_case("chunked"));
            Frame::Chunked
        }
        _ => Frame::None,
    };
    assert_eq!(head.frame, frame);
    let hosts = values(&fields, "host").len();
    assert!(hosts == 1 || (hosts == 0 && !head.is_current), "{hosts} hosts in {raw:?}");
}

/// What no client says to a service.
fn check_forwarded(written: &[u8], head: &Head) {
    assert!(written.starts_with(format!("{} {} HTTP/1.1\r\n", head.method, head.target).as_bytes()));
    let written = text(written);
    let fields = fields(&written);
    assert_eq!(values(&fields, "host"), ["service"]);
    assert_eq!(values(&fields, "x-forwarded-for"), [PEER.to_string()]);
    assert_eq!(values(&fields, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&fields, "x-request-id").len(), 1);
    assert!(values(&fields, "x-forwarded-host").len() <= 1);
    for (name, _) in &fields {
        let ours = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].contains(&name.as_str());
        let begins = |with| name.starts_with(with);
        assert!(ours || !begins("x-forwarded-"), "{name} crosses");
        assert!(!begins("proxy-") && !name.contains('_'), "{name} crosses");
        assert!(
            !["connection", "keep-alive", "te", "trailer", "upgrade", "expect", "x-stele-hop"].contains(&name.as_str()),
            "{name} crosses"
        );
    }
    let (lengths, encodings) = (values(&fields, "content-length"), values(&fields, "transfer-encoding"));
    match head.frame {
        Frame::Sized(length) => assert_eq!((lengths, encodings.len()), (vec![length.to_string().as_str()], 0)),
        Frame::Chunked => assert_eq!((lengths.len(), encodings), (0, vec!["chunked"])),
        Frame::None | Frame::UntilClose => assert_eq!((lengths.len(), encodings.len()), (0, 0)),
    }
}

/// What actix-http reads: the request, its body as far as it came, whether that has ended, and what is left.
fn read_by_actix(bytes: &[u8]) -> Result<Option<(Request, Vec<u8>, bool, usize)>, String> {
    let (mut codec, mut come, mut body) =
        (CONFIG.with(|config| Codec::new(config.clone())), BytesMut::from(bytes), Vec::new());
    let Some(message) = codec.decode(&mut come).map_err(|e| e.to_string())? else { return Ok(None) };
    let Message::Item(request) = message else { return Err("a chunk before a head".to_owned()) };
    let mut is_over = codec.message_type() == actix_http::h1::MessageType::None;
    while !is_over {
        let before = come.len();
        match codec.decode(&mut come).map_err(|e| e.to_string())? {
            Some(Message::Chunk(Some(chunk))) => body.extend_from_slice(&Bytes::from(chunk)),
            Some(Message::Chunk(None)) => is_over = true,
            Some(Message::Item(_)) => return Err("a head in a body".to_owned()),
            None if come.len() == before => break,
            None => {}
        }
    }
    Ok(Some((request, body, is_over, come.len())))
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(cut) % 64 + 1).collect();
    let whole = request(&[bytes]);
    assert_eq!(whole, request(&pieces), "read in pieces it is something else");
    let Ok(Some(head)) = whole else { return };
    let (raw, rest) = bytes.split_at(head.size);
    check_head(&head, raw);
    let chunked = head.frame == Frame::Chunked;
    let Some(written) = forwarded(raw) else { return };
    check_forwarded(&written, &head);
    let pieces: Vec<&[u8]> = rest.chunks(usize::from(cut) % 64 + 1).collect();
    let relayed = match (relayed(head.frame, &[rest], chunked), relayed(head.frame, &pieces, chunked)) {
        (Ok(whole), Ok(cut)) => {
            assert_eq!((whole.content, &whole.rest, whole.is_over), (cut.content, &cut.rest, cut.is_over));
            cut
        }
        (whole, cut) => return assert_eq!(whole, cut),
    };
    let (request, body, is_over, left) = read_by_actix(&[written, relayed.written].concat())
        .expect("the service can read what the gateway writes")
        .expect("it is whole");
    assert_eq!((request.method().as_str(), left), (head.method.as_str(), 0), "nothing is left to be another request");
    assert_eq!(request.uri().path_and_query().map_or("", |target| target.as_str()), head.target);
    assert_eq!((body.len() as u64, is_over), (relayed.content, relayed.is_over));
    assert!(rest.len() >= body.len() + relayed.rest.len());
});
