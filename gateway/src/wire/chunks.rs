//! A chunked body, read while it comes.

use std::ops::Range;

use super::Malformed;

/// All that a chunked body is allowed beside its bytes: extensions and trailers.
const MOST_EXTRA: usize = 16 * 1024;
/// A length in chunks has at most so many digits: what fits 64 bits.
const MOST_DIGITS: u8 = 16;

/// How far was read, and which of it is content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// So many bytes were read.
    pub(crate) taken: usize,
    /// Those of them that are content; nothing but framing comes before them.
    pub(crate) content: Range<usize>,
    /// Whether the body ends here.
    pub(crate) over: bool,
}

/// A chunked body on its way, as RFC 9112, section 7.1, has it: no bare line ends, no spaces but before an extension,
/// and trailers that are field lines.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    at: At,
    left: u64,
    digits: u8,
    extra: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// Spaces after the size, which only an extension may have before it.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line after the last chunk.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

impl Chunks {
    /// Reads on in `bytes`: to the end of some content, of the body, or of all there is.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Piece, Malformed> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.at == At::Data {
                let rest = bytes.len() - at;
                let length = rest.min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= length as u64;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                return Ok(Piece { taken: at + length, content: at..at + length, over: false });
            }
            if (self.at, byte) == (At::EndLf, b'\n') {
                return Ok(Piece { taken: at + 1, content: 0..0, over: true });
            }
            self.at = self.after(byte).ok_or(Malformed)?;
            at += 1;
        }
        Ok(Piece { taken: at, content: 0..0, over: false })
    }

    fn after(&mut self, byte: u8) -> Option<At> {
        if matches!(self.at, At::Space | At::Extension | At::Trailer | At::TrailerName | At::TrailerValue) {
            self.extra += 1;
            if self.extra > MOST_EXTRA {
                return None;
            }
        }
        Some(match (self.at, byte) {
            (At::Size, _) if byte.is_ascii_hexdigit() => {
                self.digits = self.digits.checked_add(1).filter(|&digits| digits <= MOST_DIGITS)?;
                self.left = self.left << 4 | u64::from(char::from(byte).to_digit(16)?);
                At::Size
            }
            (At::Size, _) if self.digits == 0 => return None,
            (At::Size | At::Extension, b'\r') => At::SizeLf,
            (At::Size | At::Space, b';') => At::Extension,
            (At::Size | At::Space, b' ' | b'\t') => At::Space,
            (At::Extension, _) if is_text(byte) => At::Extension,
            (At::SizeLf, b'\n') => {
                self.digits = 0;
                if self.left == 0 { At::Trailer } else { At::Data }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::Trailer, b'\r') => At::EndLf,
            (At::TrailerName, b':') => At::TrailerValue,
            (At::Trailer | At::TrailerName, _) if is_token(byte) => At::TrailerName,
            (At::TrailerValue, b'\r') => At::TrailerLf,
            (At::TrailerValue, _) if is_text(byte) => At::TrailerValue,
            (At::TrailerLf, b'\n') => At::Trailer,
            _ => return None,
        })
    }
}

/// RFC 9110, section 5.5: what a field's value may hold.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// RFC 9110, section 5.6.2: what a field's name may hold.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The content of `text` read in pieces of `size`, how much of it the body is, and whether it ends.
    fn read(text: &[u8], size: usize) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let (mut chunks, mut content, mut taken) = (Chunks::default(), Vec::new(), 0);
        for mut part in text.chunks(size) {
            while !part.is_empty() {
                let piece = chunks.read(part)?;
                content.extend_from_slice(&part[piece.content]);
                taken += piece.taken;
                if piece.over {
                    return Ok((content, taken, true));
                }
                part = &part[piece.taken..];
            }
        }
        Ok((content, taken, false))
    }

    fn whole(text: &str) -> Result<(String, usize, bool), Malformed> {
        let read_whole = read(text.as_bytes(), text.len().max(1));
        for size in [1, 2, 3, 7] {
            assert_eq!(read(text.as_bytes(), size), read_whole, "in pieces of {size}: {text:?}");
        }
        read_whole.map(|(content, taken, over)| (String::from_utf8(content).unwrap(), taken, over))
    }

    #[test]
    fn content_is_what_is_in_the_chunks() {
        for (text, content, rest) in [
            ("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
            ("5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", "hello", "GET / HTTP/1.1\r\n\r\n"),
            ("A ;x=\"y\"\r\n0123456\n\r9\r\n00\r\nX-T: a\r\n\r\n", "0123456\n\r9", ""),
            ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc", ""),
            ("0\r\n\r\n", "", ""),
        ] {
            assert_eq!(whole(text), Ok((content.to_owned(), text.len() - rest.len(), true)), "{text:?}");
        }
        assert_eq!(whole("5\r\nhel"), Ok(("hel".to_owned(), 6, false)));
    }

    #[test]
    fn what_is_no_chunk_is_a_fault() {
        for text in [
            "5\nhello\r\n",
            "5 \r\nhello\r\n",
            "5 5\r\nhello\r\n",
            "5;a\nhello\r\n",
            "5;a\rhello\r\n",
            "\r\nhello",
            "-5\r\n",
            ";a\r\n",
            "0x5\r\nhello\r\n",
            &format!("{}5\r\nhello\r\n", "0".repeat(16)),
            "5\r\nhello!\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello\r0\r\n\r\n",
            "0\r\nA: b\n\r\n",
            "0\r\nA: b\r\n c\r\n\r\n",
            "0\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "0\r\nA: \0\r\n\r\n",
            "0\r\n\rA: b\r\n\r\n",
        ] {
            assert_eq!(whole(text), Err(Malformed), "{text:?}");
        }
    }

    #[test]
    fn what_has_no_end_is_ended() {
        let long = "x".repeat(MOST_EXTRA);
        for endless in [format!("5;{long}x"), format!("0\r\nA:{long}"), format!("0\r\n{}", "A:\r\n".repeat(MOST_EXTRA))]
        {
            assert_eq!(whole(&endless), Err(Malformed));
        }
        assert_eq!(whole(&"1;xxxx\r\na\r\n".repeat(MOST_EXTRA / 4 + 1)), Err(Malformed));
    }

    proptest! {
        #[test]
        fn how_it_is_cut_changes_nothing(
            text in "(5\r\nhello\r\n|0\r\n\r\n|A: b\r\n|5;a=b\r\n|\r\n|\n|\r| |hello){0,12}",
            size in 1_usize..40,
        ) {
            prop_assert_eq!(read(text.as_bytes(), size), read(text.as_bytes(), text.len().max(1)));
        }

        #[test]
        fn what_is_sent_in_chunks_comes_out(parts in prop::collection::vec("[ -~\r\n]{1,40}", 0..8), size in 1_usize..40) {
            let chunks: String = parts.iter().map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
            let text = format!("{chunks}0\r\n\r\nmore");
            let wanted = (parts.concat().into_bytes(), text.len() - "more".len(), true);
            prop_assert_eq!(read(text.as_bytes(), size), Ok(wanted));
        }
    }
}
