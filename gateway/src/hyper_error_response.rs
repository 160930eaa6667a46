//! Error responses that hyper generates for a head that it cannot parse. They have no body, which some clients take for
//! a broken connection, so the gateway recognizes these responses and sends them with a body.

use hyper::StatusCode;

/// Maximum length of hyper's error responses, in bytes. Longer writes are not parsed.
const MAX_LENGTH: usize = 256;

/// The status of an error response of hyper, if `bytes` are exactly one: status 400 or above, no body, and no header
/// but `Content-Length`, `Connection` and `Date`. Responses of the gateway and of services have further headers.
pub(crate) fn status_of_bare_error(bytes: &[u8]) -> Option<u16> {
    if bytes.len() > MAX_LENGTH {
        return None;
    }
    let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let is_bare = lines.all(|line| match line.split_once(": ") {
        Some((name, value)) if name.eq_ignore_ascii_case("content-length") => value == "0",
        Some((name, _)) => name.eq_ignore_ascii_case("connection") || name.eq_ignore_ascii_case("date"),
        None => false,
    });
    (is_bare && status >= 400).then_some(status)
}

/// A response with `status`, a JSON `body` and the `Date` of `hyper_response`, that closes the connection.
pub(crate) fn with_body(hyper_response: &[u8], status: StatusCode, body: &[u8]) -> Vec<u8> {
    let head = String::from_utf8_lossy(hyper_response);
    let lines = head.split("\r\n").skip(1);
    let mut message = format!("HTTP/1.1 {status}");
    for date in lines.filter_map(|line| line.split_once(": ")).filter(|(name, _)| name.eq_ignore_ascii_case("date")) {
        message += &format!("\r\nDate: {}", date.1);
    }
    let length = body.len();
    message += &format!(
        "\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\nCache-Control: no-store\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    [message.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYPER_RESPONSE: &str =
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: today\r\n\r\n";

    #[test]
    fn an_error_response_without_a_body_is_recognized_as_hypers_own() {
        assert_eq!(status_of_bare_error(HYPER_RESPONSE.as_bytes()), Some(400));
        assert_eq!(status_of_bare_error(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"), Some(408));
        for other in [
            "",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 1\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nx-request-id: a\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n",
            "xHTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert_eq!(status_of_bare_error(other.as_bytes()), None, "{other:?}");
        }
        assert_eq!(status_of_bare_error(&[HYPER_RESPONSE, HYPER_RESPONSE].concat().into_bytes()), None);
    }

    #[test]
    fn the_rewritten_response_has_hypers_date_and_a_body_and_closes_the_connection() {
        let message = String::from_utf8(with_body(HYPER_RESPONSE.as_bytes(), StatusCode::BAD_REQUEST, b"{}")).unwrap();
        let (head, body) = message.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\nDate: today\r\nConnection: close\r\n"), "{head}");
        assert!(head.ends_with("\r\nContent-Length: 2") && body == "{}", "{message}");
    }
}
