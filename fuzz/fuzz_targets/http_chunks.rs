//! Chunked bodies: however they are cut they are read in one way, which is that of a reader written by hand after RFC 9112,
//! section 7.1, and no other than actix-http's, which stands behind the gateway.
#![no_main]

use actix_codec::Decoder as _;
use actix_http::ServiceConfig;
use actix_http::h1::{Codec, Message};
use actix_web::rt::System;
use bytes::BytesMut;
use gateway::fuzzing::{Frame, relayed};
use libfuzzer_sys::fuzz_target;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";

thread_local! {
    /// It starts a task that keeps the date, which nothing here asks for.
    static CONFIG: ServiceConfig = System::new().block_on(async { ServiceConfig::default() });
}

/// A line and what follows it; `None` where there is no whole line that ends in CR LF and holds nothing like it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = bytes.split_at(end);
    let is_text = line.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    is_text.then_some((line, &rest[2..]))
}

/// The body's content and what follows it, if the body is whole and sound.
fn by_hand(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut content = Vec::new();
    loop {
        let (size, rest) = line(bytes)?;
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, extension) = size.split_at(digits);
        let extension = extension.trim_ascii_start();
        // White space alone behind a size is none of RFC 9112's.
        let is_sound = (1..=16).contains(&digits.len())
            && if extension.is_empty() { size.len() == digits.len() } else { extension[0] == b';' };
        let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|_| is_sound)?;
        bytes = rest;
        if size == 0 {
            break;
        }
        let (chunk, rest) = bytes.split_at_checked(usize::try_from(size).ok()?)?;
        content.extend_from_slice(chunk);
        bytes = rest.strip_prefix(b"\r\n")?;
    }
    loop {
        let (trailer, rest) = line(bytes)?;
        bytes = rest;
        if trailer.is_empty() {
            return Some((content, bytes));
        }
        let name = trailer.split(|&byte| byte == b':').next().filter(|name| name.len() < trailer.len())?;
        let is_token = |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        (!name.is_empty() && name.iter().all(is_token)).then_some(())?;
    }
}

/// The body's content and how much follows it, as actix-http reads it, if it takes it for whole.
fn by_actix(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut codec, mut come, mut content) =
        (CONFIG.with(|config| Codec::new(config.clone())), BytesMut::from(HEAD), Vec::new());
    come.extend_from_slice(bytes);
    codec.decode(&mut come).expect("a good head");
    loop {
        let before = come.len();
        match codec.decode(&mut come).ok()? {
            Some(Message::Chunk(Some(chunk))) => content.extend_from_slice(&chunk),
            Some(Message::Chunk(None)) => return Some((content, come.len())),
            Some(Message::Item(_)) => panic!("a head in a body"),
            None if come.len() == before => return None,
            None => {}
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(cut) % 64 + 1).collect();
    let (whole, plain) = (relayed(Frame::Chunked, &[bytes], true), relayed(Frame::Chunked, &pieces, false));
    let read = match (&whole, &plain) {
        (Ok(whole), Ok(plain)) => {
            assert_eq!((whole.content, &whole.rest, whole.is_over), (plain.content, &plain.rest, plain.is_over));
            assert_eq!(plain.content, plain.written.len() as u64);
            // What is written in chunks again has the same content, and no more than that.
            let again = relayed(Frame::Chunked, &[&whole.written], false).expect("chunks of our own");
            assert_eq!((&again.written, again.is_over, again.rest.len()), (&plain.written, whole.is_over, 0));
            plain.is_over.then(|| (plain.written.clone(), plain.rest.as_slice()))
        }
        (Err(_), Err(_)) => None,
        _ => panic!("read in pieces it is something else"),
    };
    assert_eq!(read, by_hand(bytes));
    if let (Some((content, rest)), Some(actix)) = (read, by_actix(bytes)) {
        assert_eq!((content, rest.len()), actix, "the gateway and a service read two bodies");
    }
});
