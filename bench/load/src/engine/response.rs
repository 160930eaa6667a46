//! As much of an answer as tells whether it is right and where it ends.

use memchr::memmem;

/// What a right answer is.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedResponse {
    status: [u8; 3],
    /// What its body has in it; empty: anything.
    marker: memmem::Finder<'static>,
}

impl ExpectedResponse {
    /// An answer of `status` with `marker` in its body.
    pub(crate) fn new(status: u16, marker: &[u8]) -> Self {
        let digit = |of: u16| b'0' + u8::try_from(of % 10).unwrap_or_default();
        let status = [digit(status / 100), digit(status / 10), digit(status)];
        Self { status, marker: memmem::Finder::new(marker).into_owned() }
    }
}

/// What the bytes that came so far are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParsedResponse {
    /// The beginning of an answer.
    Partial,
    /// A right answer.
    Expected,
    /// A whole answer, and what is wrong with it.
    Unexpected(String),
    /// Not an answer, or one whose end cannot be told.
    Unreadable(String),
}

/// Reads `bytes`, which begin where an answer begins.
pub(super) fn parse_response(bytes: &[u8], expected: &ExpectedResponse) -> ParsedResponse {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return ParsedResponse::Partial };
    let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
    if !head.starts_with(b"HTTP/1.1 ") {
        return ParsedResponse::Unreadable(format!("not HTTP/1.1: {}", escape_bytes(head)));
    }
    let Some(length) = content_length(head) else {
        return ParsedResponse::Unreadable(format!("an answer without Content-Length: {}", escape_bytes(head)));
    };
    if rest.len() < length {
        return ParsedResponse::Partial;
    }
    if rest.len() > length {
        return ParsedResponse::Unreadable("more than the answer".to_owned());
    }
    if head.get(9..12) == Some(&expected.status) && expected.marker.find(rest).is_some() {
        ParsedResponse::Expected
    } else {
        ParsedResponse::Unexpected(escape_bytes(bytes))
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    for line in memmem::find_iter(head, b"\r\n") {
        let line = &head[line + 2..];
        let Some((name, rest)) = line.split_at_checked(15) else { continue };
        if name.eq_ignore_ascii_case(b"content-length:") {
            let digits = rest.iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
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
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nx: y\r\n\r\n{\"code\":\"0\"";
        let expected = ExpectedResponse::new(200, b"\"code\":\"0\"");
        for end in 0..answer.len() {
            assert_eq!(parse_response(&answer[..end], &expected), ParsedResponse::Partial, "{end}");
        }
        assert_eq!(parse_response(answer, &expected), ParsedResponse::Expected);
        assert!(matches!(parse_response(answer, &ExpectedResponse::new(401, b"")), ParsedResponse::Unexpected(_)));
        assert!(matches!(parse_response(answer, &ExpectedResponse::new(200, b"1002")), ParsedResponse::Unexpected(_)));
        assert!(matches!(
            parse_response(&[answer.as_slice(), b"x"].concat(), &expected),
            ParsedResponse::Unreadable(_)
        ));
    }

    #[test]
    fn a_response_without_length_is_rejected() {
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        assert!(matches!(parse_response(chunked, &ExpectedResponse::new(200, b"")), ParsedResponse::Unreadable(_)));
        assert!(matches!(
            parse_response(b"SSH-2.0\r\n\r\n", &ExpectedResponse::new(200, b"")),
            ParsedResponse::Unreadable(_)
        ));
    }
}
