//! The head of a service's answer.

use std::mem::MaybeUninit;

use actix_web::http::{Method, StatusCode};
use httparse::Status;

use super::body::Body;
use super::chunks::Chunks;
use super::fields::{Fields, Kind};
use super::{Malformed, Version};

/// The largest head of an answer that is read.
const MOST_HEAD: usize = 64 * 1024;
const MOST_FIELDS: usize = 96;

/// The head of an answer, as a service sent it.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    pub(crate) status: StatusCode,
    pub(crate) fields: Fields<'a>,
    /// The body that comes.
    pub(crate) body: Body,
    /// `Content-Length`: of an answer without a body it tells how long that would be.
    pub(crate) length: Option<u64>,
    /// Whether the service takes further requests on this connection.
    pub(crate) keeps: bool,
    /// How many bytes the head has.
    pub(crate) size: usize,
}

impl<'a> Response<'a> {
    /// Reads the head of the answer to a request of this method, if it is whole.
    pub(crate) fn parse(come: &'a [u8], method: &Method) -> Result<Option<Self>, Malformed> {
        let mut places = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let size = match config.parse_response_with_uninit_headers(&mut parsed, come, &mut places) {
            Ok(Status::Complete(size)) => size,
            Ok(Status::Partial) if come.len() < MOST_HEAD => return Ok(None),
            Ok(Status::Partial) | Err(_) => return Err(Malformed),
        };
        let status = StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| Malformed)?;
        let version = Version::of(parsed.version);
        let fields = Fields::of(parsed.headers);
        let (body, length) = framing(method, status, version, &fields)?;
        let closes = fields.options().any(|option| option.eq_ignore_ascii_case(b"close"));
        // Who tells of a body where there can be none may send one.
        let confused = status == StatusCode::NO_CONTENT
            && fields.iter().any(|field| match field.kind {
                Kind::Length => length != Some(0),
                Kind::Encoding => true,
                _ => false,
            });
        let keeps = version == Version::Http11 && !closes && !confused && !matches!(body, Body::UntilClose);
        Ok(Some(Self { status, fields, body, length, keeps, size }))
    }
}

/// The body, and its length if that is told: RFC 9112, section 6.3, without a word in it that two could read in two ways.
fn framing(
    method: &Method,
    status: StatusCode,
    version: Version,
    fields: &Fields<'_>,
) -> Result<(Body, Option<u64>), Malformed> {
    let (mut lengths, mut encodings) = (fields.of_kind(Kind::Length), fields.of_kind(Kind::Encoding));
    let length = lengths.next().map(super::length).transpose()?;
    let body = match (length, encodings.next()) {
        (Some(length), None) => Body::sized(length),
        (None, Some(encoding)) if version == Version::Http11 && encoding.eq_ignore_ascii_case(b"chunked") => {
            Body::Chunked(Chunks::default())
        }
        (None, None) => Body::UntilClose,
        (_, Some(_)) => return Err(Malformed),
    };
    if lengths.next().is_some() || encodings.next().is_some() {
        return Err(Malformed);
    }
    Ok((if is_bodiless(method, status) { Body::Over } else { body }, length))
}

/// Whether an answer has no body, whatever its head says.
fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(head: &str, method: &Method) -> Result<(String, bool), Malformed> {
        let response = Response::parse(head.as_bytes(), method)?.expect("a whole head");
        assert_eq!(response.size, head.len());
        Ok((format!("{:?}", response.body), response.keeps))
    }

    #[test]
    fn bodies_are_framed_as_the_head_says() {
        for (head, method, body, keeps) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Method::GET, "Sized(5)", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Method::GET, "Over", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n", Method::GET, "Sized(5)", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", Method::GET, "Sized(5)", false),
            ("HTTP/1.1 200 OK\r\n\r\n", Method::GET, "UntilClose", false),
            ("HTTP/1.1 200\r\ncontent-length: 5\r\n\r\n", Method::HEAD, "Over", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", Method::GET, "Over", true),
            ("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", Method::GET, "Over", false),
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", Method::GET, "Over", true),
        ] {
            assert_eq!(framed(head, &method), Ok((body.to_owned(), keeps)), "{head:?}");
        }
        let chunked = framed("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &Method::GET).unwrap();
        assert!(chunked.0.starts_with("Chunked") && chunked.1);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_no_answer() {
        for lines in [
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip\r\n",
            "content-length: -1\r\n",
            "content-length: 5\u{a0}\r\n",
        ] {
            let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
            assert!(Response::parse(head.as_bytes(), &Method::GET).is_err(), "{lines:?}");
        }
        let old = b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(Response::parse(old, &Method::GET).is_err());
        assert!(Response::parse(b"nonsense\r\n\r\n", &Method::GET).is_err());
        assert!(Response::parse(b"HTTP/1.1 20", &Method::GET).unwrap().is_none());
        assert!(
            Response::parse(format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(MOST_HEAD)).as_bytes(), &Method::GET)
                .is_err()
        );
    }
}
