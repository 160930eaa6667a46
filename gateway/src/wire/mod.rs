//! HTTP/1.1 as it is on the wire, read and written (RFC 9112).
//!
//! Heads are read by httparse, where a line ends in CR LF and in nothing else; what they say of the framing of a body is
//! judged here, by the strictest reading there is, for a proxy in front that reads the same bytes otherwise is all that
//! smuggling needs. Nothing is passed on as it came: the gateway writes each head, each length and each chunk itself.
//!
//! - [`lines`]: where a head ends; [`request`], [`response`]: what it says, by its [`fields`]
//! - [`body`], [`chunks`]: which bytes of those that follow are content

pub(crate) mod body;
pub(crate) mod chunks;
pub(crate) mod fields;
pub(crate) mod lines;
pub(crate) mod request;
pub(crate) mod response;

/// The bytes are not what RFC 9112 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Why no request can be made of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A line, or what it says of the body's framing, is not what RFC 9112 says.
    Malformed,
    /// It exceeds all that is looked at.
    HeadTooLarge,
}

impl From<Malformed> for Fault {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl Fault {
    /// What is said where no route is known, and so no dialect.
    pub(crate) fn answer(self) -> &'static [u8] {
        match self {
            Self::Malformed => b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            Self::HeadTooLarge => {
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            }
        }
    }
}

/// The versions that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// HTTP/1.0: no chunks, and a connection ends with its answer unless both sides want it kept.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// By the minor version that the parser tells.
    fn of(minor: Option<u8>) -> Self {
        if minor == Some(0) { Self::Http10 } else { Self::Http11 }
    }
}

/// The value of `Content-Length`: digits, and nothing else.
fn length(value: &[u8]) -> Result<u64, Malformed> {
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).ok_or(Malformed)
}
