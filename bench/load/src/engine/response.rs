//! Minimal response parser: status, end of the response, and whether it is the expected one.

use memchr::memmem;

/// Criteria of the expected response.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedResponse {
    status: [u8; 3],
    /// Bytes that the body must contain; empty matches any body.
    marker: memmem::Finder<'static>,
}

impl ExpectedResponse {
    /// A response with `status` and with `marker` in its body.
    pub(crate) fn new(status: u16, marker: &[u8]) -> Self {
        let last_digit = |number: u16| b'0' + u8::try_from(number % 10).unwrap_or_default();
        let status = [last_digit(status / 100), last_digit(status / 10), last_digit(status)];
        Self { status, marker: memmem::Finder::new(marker).into_owned() }
    }
}

/// Result of parsing the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParsedResponse {
    /// An incomplete response.
    Partial,
    /// The expected response, complete.
    Expected,
    /// Another complete response.
    Unexpected(String),
    /// Bytes that are not an HTTP/1.1 response, a response without `Content-Length`, or bytes after its end.
    Unreadable(String),
}

/// Parses `bytes`, which start at the beginning of a response.
pub(super) fn parse_response(bytes: &[u8], expected: &ExpectedResponse) -> ParsedResponse {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return ParsedResponse::Partial };
    let (head, body) = (&bytes[..end], &bytes[end + 4..]);
    if !head.starts_with(b"HTTP/1.1 ") {
        return ParsedResponse::Unreadable(format!("not HTTP/1.1: {}", escape_bytes(head)));
    }
    let Some(length) = content_length(head) else {
        return ParsedResponse::Unreadable(format!("a response without Content-Length: {}", escape_bytes(head)));
    };
    if body.len() < length {
        return ParsedResponse::Partial;
    }
    if body.len() > length {
        return ParsedResponse::Unreadable("bytes after the end of the response".to_owned());
    }
    if head.get(9..12) == Some(&expected.status) && expected.marker.find(body).is_some() {
        ParsedResponse::Expected
    } else {
        ParsedResponse::Unexpected(escape_bytes(bytes))
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    for line in memmem::find_iter(head, b"\r\n") {
        let line = &head[line + 2..];
        let Some((name, value)) = line.split_at_checked(15) else { continue };
        if name.eq_ignore_ascii_case(b"content-length:") {
            let digits = value.iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
            return digits.fold(None, |sum, digit| {
                Some(sum.unwrap_or(0_usize).saturating_mul(10).saturating_add(usize::from(digit - b'0')))
            });
        }
    }
    None
}

fn escape_bytes(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(400).collect::<String>().replace("\r\n", " | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_complete_when_its_body_has_arrived() {
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nx: y\r\n\r\n{\"code\":\"0\"";
        let expected = ExpectedResponse::new(200, b"\"code\":\"0\"");
        for end in 0..response.len() {
            assert_eq!(parse_response(&response[..end], &expected), ParsedResponse::Partial, "{end}");
        }
        assert_eq!(parse_response(response, &expected), ParsedResponse::Expected);
        assert!(matches!(parse_response(response, &ExpectedResponse::new(401, b"")), ParsedResponse::Unexpected(_)));
        assert!(matches!(
            parse_response(response, &ExpectedResponse::new(200, b"1002")),
            ParsedResponse::Unexpected(_)
        ));
        assert!(matches!(
            parse_response(&[response.as_slice(), b"x"].concat(), &expected),
            ParsedResponse::Unreadable(_)
        ));
    }

    #[test]
    fn a_response_without_length_is_rejected() {
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        assert!(matches!(parse_response(chunked, &ExpectedResponse::new(200, b"")), ParsedResponse::Unreadable(_)));
    }

    #[test]
    fn another_protocol_is_rejected() {
        assert!(matches!(
            parse_response(b"SSH-2.0\r\n\r\n", &ExpectedResponse::new(200, b"")),
            ParsedResponse::Unreadable(_)
        ));
    }
}
