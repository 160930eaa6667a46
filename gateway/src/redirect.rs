//! Redirect from plain HTTP to HTTPS (status 308).

use hyper::header::{HOST, HeaderValue, LOCATION};
use hyper::{HeaderMap, StatusCode};

use crate::error_pages::{self, Rejection};
use crate::local_response::LocalResponse;
use crate::request_head::{RequestLine, has_valid_host};

/// The default port of `https://`, which a URL omits.
const HTTPS_PORT: u16 = 443;

/// Redirects to the same host and target at `https://` and `port`; 400 without a valid `Host`. Status 308 keeps the
/// method and the body (RFC 9110 §15.4.9).
pub(crate) fn respond(line: &RequestLine, headers: &HeaderMap, port: u16) -> LocalResponse {
    let location = https_location(line, headers, port).filter(|_| has_valid_host(line, headers));
    location.map_or_else(
        || error_pages::default_error_page(Rejection::BadRequest),
        |url| LocalResponse::new(StatusCode::PERMANENT_REDIRECT).with_header(LOCATION, url),
    )
}

fn https_location(line: &RequestLine, headers: &HeaderMap, port: u16) -> Option<HeaderValue> {
    let host_and_port = headers.get(HOST)?.to_str().ok()?;
    // The colons of an IPv6 address are inside brackets.
    let host_and_http_port = host_and_port.rsplit_once(':').filter(|(_, http_port)| !http_port.contains(']'));
    let host = host_and_http_port.map_or(host_and_port, |(host, _)| host);
    let https_port = if port == HTTPS_PORT { String::new() } else { format!(":{port}") };
    HeaderValue::try_from(format!("https://{host}{https_port}{}", line.target())).ok()
}
