//! A request's head.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use actix_web::http::{Method, Uri};
use httparse::{Error, Status};

use super::chunks::Chunks;
use super::fields::{Fields, Kind};
use super::{Fault, Malformed, Version, body};

/// More are not even read; fewer are refused in the dialect of their route.
const MOST_FIELDS: usize = 96;

/// How a request says that its body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// No body, and no word about one.
    None,
    /// `Content-Length`.
    Sized(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl Framing {
    /// The body that comes.
    pub(crate) fn body(self) -> body::Body {
        match self {
            Self::None => body::Body::Over,
            Self::Sized(length) => body::Body::sized(length),
            Self::Chunked => body::Body::Chunked(Chunks::default()),
        }
    }

    /// How it is framed where it goes.
    pub(crate) fn coding(self) -> body::Coding {
        match self {
            Self::None | Self::Sized(_) => body::Coding::Plain,
            Self::Chunked => body::Coding::Chunked,
        }
    }
}

/// The head of a request, as it was sent.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Path and query; without the origin and the fragment, should the client have sent any.
    target: Cow<'a, str>,
    pub(crate) version: Version,
    pub(crate) fields: Fields<'a>,
    pub(crate) framing: Framing,
}

impl<'a> Request<'a> {
    /// Reads a head, which is whole.
    ///
    /// # Errors
    /// If a service or a proxy could read it otherwise than it is read here.
    pub(crate) fn parse(head: &'a [u8]) -> Result<Self, Fault> {
        let mut places = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(head, &mut places) {
            Ok(Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(Fault::Malformed),
            Err(Error::TooManyHeaders) => return Err(Fault::HeadTooLarge),
            Err(_) => return Err(Fault::Malformed),
        }
        let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes()).map_err(|_| Malformed)?;
        let target = target(parsed.path.unwrap_or_default())?;
        let version = Version::of(parsed.version);
        let fields = Fields::of(parsed.headers);
        let framing = framing(&method, version, &fields)?;
        match fields.of_kind(Kind::Host).count() {
            0 if version == Version::Http10 => {}
            1 => {}
            // RFC 9112, section 3.2.
            _ => return Err(Fault::Malformed),
        }
        Ok(Self { method, target, version, fields, framing })
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The path before anything decodes it.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Whether the client would send further requests on this connection.
    pub(crate) fn keeps(&self) -> bool {
        let has = |wanted: &[u8]| self.fields.options().any(|option| option.eq_ignore_ascii_case(wanted));
        // What follows CONNECT, and another protocol's beginning, is no request.
        let asks_for_another = has(b"upgrade") || self.method == Method::CONNECT;
        !has(b"close") && !asks_for_another && (self.version == Version::Http11 || has(b"keep-alive"))
    }

    /// Whether the client waits for leave to send its body: RFC 9110, section 10.1.1.
    pub(crate) fn waits(&self) -> bool {
        let expects =
            |value: &[u8]| value.split(|&b| b == b',').any(|e| e.trim_ascii().eq_ignore_ascii_case(b"100-continue"));
        self.version == Version::Http11 && self.fields.of_kind(Kind::Expect).any(expects)
    }
}

/// Path and query of a request's target; no path, if it has none.
fn target(text: &str) -> Result<Cow<'_, str>, Malformed> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    if text.starts_with('/') && text.bytes().all(plain) {
        return Ok(Cow::Borrowed(text));
    }
    let uri = Uri::try_from(text).map_err(|_| Malformed)?;
    Ok(Cow::Owned(uri.path_and_query().map(|target| target.as_str().to_owned()).unwrap_or_default()))
}

/// RFC 9112, section 6.3, without a word in it that two could read in two ways.
fn framing(method: &Method, version: Version, fields: &Fields<'_>) -> Result<Framing, Malformed> {
    let (mut lengths, mut encodings) = (fields.of_kind(Kind::Length), fields.of_kind(Kind::Encoding));
    let framing = match (lengths.next(), encodings.next()) {
        (None, None) => Framing::None,
        (Some(length), None) => Framing::Sized(super::length(length)?),
        (None, Some(encoding)) if version == Version::Http11 && encoding.eq_ignore_ascii_case(b"chunked") => {
            Framing::Chunked
        }
        _ => return Err(Malformed),
    };
    let twice = lengths.next().is_some() || encodings.next().is_some();
    // RFC 1945, section 7.2.2: a POST has a length.
    let missing = framing == Framing::None && version == Version::Http10 && *method == Method::POST;
    if twice || missing { Err(Malformed) } else { Ok(framing) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Request<'_>, Fault> {
        Request::parse(head.as_bytes())
    }

    #[test]
    fn targets_lose_what_is_not_for_a_service() {
        for (sent, target, path) in [
            ("/i/login?a=b?c", "/i/login?a=b?c", "/i/login"),
            ("/", "/", "/"),
            ("http://u@h/i/a?b", "/i/a?b", "/i/a"),
            ("/i/a#/../../auth/b", "/i/a", "/i/a"),
            ("/i/a?b=|c^", "/i/a?b=|c^", "/i/a"),
            ("*", "*", "*"),
            ("h:80", "", ""),
        ] {
            let head = format!("GET {sent} HTTP/1.1\r\nHost: h\r\n\r\n");
            let request = parse(&head).unwrap();
            assert_eq!((request.target(), request.path()), (target, path), "{sent}");
        }
    }

    #[test]
    fn framing_is_told_once_and_in_one_way() {
        for (lines, framing) in [
            ("", Ok(Framing::None)),
            ("Content-Length: 5\r\n", Ok(Framing::Sized(5))),
            ("Content-Length:\t5 \r\n", Ok(Framing::Sized(5))),
            ("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked)),
            ("X-Content-Length: 5\r\n", Ok(Framing::None)),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Err(Fault::Malformed)),
            ("Content-Length: 5, 5\r\n", Err(Fault::Malformed)),
            ("Content-Length: +5\r\n", Err(Fault::Malformed)),
            ("Content-Length: 0x5\r\n", Err(Fault::Malformed)),
            // White space to Unicode, and to nobody else.
            ("Content-Length: \u{a0}5\r\n", Err(Fault::Malformed)),
            ("Content-Length: 5\u{85}\r\n", Err(Fault::Malformed)),
            ("Content-Length: 5\u{3000}\r\n", Err(Fault::Malformed)),
            ("Transfer-Encoding: chunked\u{a0}\r\n", Err(Fault::Malformed)),
            ("Content-Length:\r\n", Err(Fault::Malformed)),
            ("Content-Length: 99999999999999999999\r\n", Err(Fault::Malformed)),
            ("Transfer-Encoding: identity\r\n", Err(Fault::Malformed)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(Fault::Malformed)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(Fault::Malformed)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Err(Fault::Malformed)),
        ] {
            let head = format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
            assert_eq!(parse(&head).map(|request| request.framing), framing, "{lines:?}");
        }
        for lines in ["", "Transfer-Encoding: chunked\r\n"] {
            assert_eq!(parse(&format!("POST / HTTP/1.0\r\n{lines}\r\n")).err(), Some(Fault::Malformed), "{lines:?}");
        }
    }

    #[test]
    fn a_connection_is_kept_as_its_version_has_it() {
        for (version, lines, kept) in [
            ("1.1", "", true),
            ("1.1", "Connection: keep-alive\r\n", true),
            ("1.1", "Connection: x, Close\r\n", false),
            ("1.1", "Connection: keep-alive, Upgrade\r\n", false),
            ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
        ] {
            let head = format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n");
            assert_eq!(parse(&head).unwrap().keeps(), kept, "{version} {lines:?}");
        }
    }
}
