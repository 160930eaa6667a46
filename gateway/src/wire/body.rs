//! Bodies: which bytes of those that come are content, and how content is framed on its further way.

use std::io::Write as _;

use super::Malformed;
use super::chunks::{Chunks, Piece};

/// A body that comes, as its head frames it.
#[derive(Debug)]
pub(crate) enum Body {
    /// All of it has come, or there is none.
    Over,
    /// So many more bytes.
    Sized(u64),
    /// Chunks.
    Chunked(Chunks),
    /// All that comes until the connection is closed: only a service's answer can be such.
    UntilClose,
}

impl Body {
    /// Of a length.
    pub(crate) fn sized(length: u64) -> Self {
        if length == 0 { Self::Over } else { Self::Sized(length) }
    }

    /// Whether nothing more comes.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Whether the end of the connection is its end.
    pub(crate) fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// Takes from the front of `come` what is of this body, and writes its content to `out` in `coding`, with the end
    /// if it ends. How many bytes the content has.
    pub(crate) fn relay(&mut self, come: &mut Vec<u8>, coding: Coding, out: &mut Vec<u8>) -> Result<u64, Malformed> {
        let (mut at, mut content) = (0, 0);
        if self.is_over() {
            return Ok(content);
        }
        while let Some(rest) = come.get(at..).filter(|rest| !rest.is_empty()) {
            let piece = self.read(rest)?;
            at += piece.taken;
            content += piece.content.len() as u64;
            coding.put(rest.get(piece.content).unwrap_or_default(), out);
            if piece.over {
                *self = Self::Over;
                coding.end(out);
                break;
            }
        }
        come.drain(..at);
        Ok(content)
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Piece, Malformed> {
        let all = |length| Piece { taken: length, content: 0..length, over: false };
        match self {
            Self::Over => Ok(Piece { over: true, ..all(0) }),
            Self::Sized(left) => {
                let length = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= length as u64;
                Ok(Piece { over: *left == 0, ..all(length) })
            }
            Self::Chunked(chunks) => chunks.read(bytes),
            Self::UntilClose => Ok(all(bytes.len())),
        }
    }
}

/// How content is framed where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is: its length was told, or it ends with the connection.
    Plain,
    /// In chunks.
    Chunked,
}

impl Coding {
    fn put(self, content: &[u8], out: &mut Vec<u8>) {
        if content.is_empty() {
            return;
        }
        match self {
            Self::Plain => out.extend_from_slice(content),
            Self::Chunked => {
                // Writing to memory does not fail.
                let _ = write!(out, "{:x}\r\n", content.len());
                out.extend_from_slice(content);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Says that there is no more.
    pub(crate) fn end(self, out: &mut Vec<u8>) {
        match self {
            Self::Plain => {}
            Self::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relayed(mut body: Body, come: &str, coding: Coding) -> (String, String, bool) {
        let (mut come, mut out) = (come.as_bytes().to_vec(), Vec::new());
        body.relay(&mut come, coding, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(come).unwrap(), body.is_over())
    }

    #[test]
    fn content_is_framed_anew_and_what_follows_stays() {
        let chunks = || Body::Chunked(Chunks::default());
        for (body, come, coding, out, left, over) in [
            (Body::sized(5), "helloGET", Coding::Plain, "hello", "GET", true),
            (Body::sized(5), "hel", Coding::Plain, "hel", "", false),
            (Body::sized(0), "GET", Coding::Plain, "", "GET", true),
            (chunks(), "5;x\r\nhello\r\n0\r\nA: b\r\n\r\nGET", Coding::Chunked, "5\r\nhello\r\n0\r\n\r\n", "GET", true),
            (chunks(), "5;x\r\nhello\r\n0\r\n\r\nGET", Coding::Plain, "hello", "GET", true),
            (chunks(), "5\r\nhe", Coding::Chunked, "2\r\nhe\r\n", "", false),
            (Body::UntilClose, "hello", Coding::Chunked, "5\r\nhello\r\n", "", false),
        ] {
            assert_eq!(relayed(body, come, coding), (out.to_owned(), left.to_owned(), over), "{come:?} {coding:?}");
        }
    }
}
