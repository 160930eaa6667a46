//! Malformed HTTP: invalid or ambiguous framing (request smuggling), invalid headers, and ambiguous paths (path
//! traversal).

use super::calls;
use super::seeded_rng::SeededRng;
use crate::target::Target;

/// Path, headers and body of a well-formed request.
fn request_parts(target: &Target, rng: &mut SeededRng) -> (String, String, String) {
    let call = calls::random_call(rng);
    let request = call.with_json(target, call.fields_as_json().as_bytes());
    let headers = request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    (request.path, headers, String::from_utf8_lossy(&request.body).into_owned())
}

/// A request with invalid or ambiguous framing (RFC 9112 §6). The gateway must close the connection
/// after it, since the end of the body is unknown.
pub(crate) fn malformed_framing(target: &Target, rng: &mut SeededRng) -> Vec<u8> {
    let (path, headers, body) = request_parts(target, rng);
    let length = body.len();
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: inner\r\n\r\n";
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let start = format!("POST {path} HTTP/1.1\r\n");
    let head = format!("{start}Host: bench\r\nConnection: close\r\n{headers}");
    let malformed_requests = [
        format!("{head}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}{smuggled}"),
        format!("{head}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunked}"),
        format!("{head}Content-Length: {length}\r\nContent-Length: {}\r\n\r\n{body}", length + 1),
        format!("{head}Content-Length: -1\r\n\r\n{body}"),
        format!("{head}Content-Length: +{length}\r\n\r\n{body}"),
        format!("{head}Content-Length: 0x{length:x}\r\n\r\n{body}"),
        format!("{head}Content-Length: {}\r\n\r\n{body}", "9".repeat(40)),
        format!("{head}Content-Length: {length}, {length}\r\n\r\n{body}"),
        format!("{head}Content-Length:\r\n\r\n{body}"),
        format!("{head}Transfer-Encoding: xchunked\r\n\r\n{chunked}"),
        format!("{head}Transfer-Encoding: chunked, identity\r\n\r\n{chunked}"),
        format!("{head}Transfer-Encoding: \x0bchunked\r\n\r\n{chunked}"),
        format!("{head}Transfer-Encoding : chunked\r\n\r\n{chunked}"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nZZ\r\n{body}\r\n0\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{}\r\n{body}", "f".repeat(17)),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n-1\r\n{body}\r\n0\r\n\r\n"),
        format!("{start}Host: a\r\nHost: b\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"),
        format!("{start}Connection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"),
        format!("{start}Host: a b\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"),
        format!("{head}X-A: 1\r\n folded\r\nContent-Length: {length}\r\n\r\n{body}"),
        format!("{head} Content-Length: {length}\r\n\r\n{body}"),
        format!("{head}NoColon\r\n\r\n"),
        format!("{head}: empty\r\n\r\n"),
        format!("{head}X\0Y: 1\r\n\r\n"),
        format!("{head}X: a\0b\r\nContent-Length: {length}\r\n\r\n{body}"),
        format!("POST {path} HTTP/9.9\r\nHost: bench\r\n\r\n"),
        format!("POST {path}\r\n\r\n"),
        format!("POST  {path}  HTTP/1.1\r\nHost: bench\r\n\r\n"),
        format!("PO ST {path} HTTP/1.1\r\nHost: bench\r\n\r\n"),
        format!("{} {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n", "M".repeat(1 + rng.next_below(300))),
        format!("CONNECT {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"),
        format!("TRACE {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n\r\n\r\n".to_owned(),
        format!("{head}Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n"),
        format!("{head}Expect: 200-maybe\r\nContent-Length: {length}\r\n\r\n{body}"),
    ];
    let mut bytes = rng.choose(&malformed_requests).clone().into_bytes();
    if rng.one_in(6) {
        let (at, byte) = (rng.next_below(bytes.len()), rng.random_bytes(1)[0]);
        bytes[at] = byte;
        // Without an empty line, the server could wait for the end of the head.
        bytes.extend_from_slice(b"\r\n\r\n");
    }
    bytes
}

/// Headers that are too long, too many, or reserved for proxies and the gateway.
pub(crate) fn malformed_headers(target: &Target, rng: &mut SeededRng) -> Vec<u8> {
    let (path, headers, body) = request_parts(target, rng);
    let length = body.len();
    let long = "a".repeat(1 << (4 + rng.next_below(15)));
    let extra = match rng.next_below(12) {
        0 => format!("X-Long: {long}\r\n"),
        1 => format!("{long}: x\r\n"),
        2 => (0..rng.next_below(400)).map(|n| format!("X-{n}: {n}\r\n")).collect(),
        3 => format!("Cookie: stele_session={long}\r\n"),
        4 => format!("Authorization: Bearer {long}\r\n"),
        5 => format!("token: {long}.{long}.{long}\r\n"),
        6 => format!("X-Forwarded-For: {}\r\n", "127.0.0.1,".repeat(rng.next_below(800))),
        7 => "X-Forwarded-For: \u{fe}\r\nX-Forwarded-Proto: gopher\r\nForwarded: for=_x\r\n".to_owned(),
        8 => "X-Stele-Hop: 0\r\nX_Stele_Hop: 0\r\nX-Request-Id: ../../x\r\n".to_owned(),
        9 => "Authorization: \r\nAuthorization: Bearer\r\nAuthorization: Basic YTpi\r\n".to_owned(),
        10 => "Connection: close, x-forwarded-for, host, content-length, authorization\r\n".to_owned(),
        _ => format!("traceparent: 00-{}-1-zz\r\nAccept: {long}\r\n", "f".repeat(rng.next_below(64))),
    };
    let head = format!("POST {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n{headers}{extra}");
    format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// Paths that two parsers may normalize differently.
pub(crate) fn ambiguous_paths(target: &Target, rng: &mut SeededRng) -> Vec<u8> {
    let (path, headers, body) = request_parts(target, rng);
    let at = rng.next_below(path.len());
    let (start, rest) = path.split_at(at);
    let tricks = [
        "/../",
        "//",
        "/./",
        "%2f",
        "%2e%2e/",
        "%252f",
        ";",
        ";a=b",
        "\\",
        "%00",
        "%",
        "%zz",
        "%c0%af",
        "/..;/",
        "#",
        "?",
        "??",
        "%0d%0aX-Injected:%201",
        "\t",
        "é",
        "%ff",
        "|",
        "{",
        "*",
    ];
    let trick = *rng.choose(&tricks);
    let path = match rng.next_below(7) {
        0 => format!("{path}{trick}"),
        1 => format!("{trick}{path}"),
        2 => path.to_uppercase(),
        3 => format!("http://127.0.0.1:9{path}"),
        4 => format!("/{}{path}", "../".repeat(rng.next_below(50))),
        5 => format!("{path}?{}", "a=%ff&".repeat(rng.next_below(500))),
        _ => format!("{start}{trick}{rest}"),
    };
    let head = format!("POST {path} HTTP/1.1\r\nHost: bench\r\n{headers}");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
