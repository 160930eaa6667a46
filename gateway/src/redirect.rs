//! Plain HTTP clients sent to HTTPS.

use hyper::header::{HOST, HeaderValue, LOCATION};
use hyper::{HeaderMap, StatusCode};

use crate::answer::Answer;
use crate::refusal::{self, Cause};
use crate::request::{RequestLine, names_a_host};

/// The port of `https://` without which a URL is written.
const DEFAULT_PORT: u16 = 443;

/// The same target at `https://` and this port of the host that is asked for. 308: the method and the body stay.
pub(crate) fn answer(line: &RequestLine, headers: &HeaderMap, port: u16) -> Answer {
    let location = location(line, headers, port).filter(|_| names_a_host(line, headers));
    location.map_or_else(
        || refusal::without_route(Cause::BadRequest),
        |url| Answer::new(StatusCode::PERMANENT_REDIRECT).with(LOCATION, url),
    )
}

fn location(line: &RequestLine, headers: &HeaderMap, port: u16) -> Option<HeaderValue> {
    let host = headers.get(HOST)?.to_str().ok()?;
    // An IPv6 address has its colons in brackets.
    let host = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(host, _)| host);
    let port = if port == DEFAULT_PORT { String::new() } else { format!(":{port}") };
    HeaderValue::try_from(format!("https://{host}{port}{}", line.target())).ok()
}
