//! Where a head ends, found while it comes.
//!
//! The parser is lenient where RFC 9112 lets it be: it takes a bare LF for the end of a line. Here a line ends in CR LF,
//! and neither of the two is anywhere else, so that what the parser is given it can read in one way only.

use super::Fault;

/// The largest head that is looked at. Up to here, one too large is refused in the dialect of its route.
pub(crate) const MOST_HEAD: usize = 32 * 1024;

/// A head on its way.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// So many bytes have been read.
    seen: usize,
    /// How long the line is up to now.
    length: usize,
    after_cr: bool,
    /// The request line has begun; before it empty lines are skipped, as RFC 9112, section 2.2, asks for.
    begun: bool,
}

impl Lines {
    /// Reads on in `come`, which is all that has come of the head: how long the head is, once it is whole.
    pub(crate) fn end(&mut self, come: &[u8]) -> Result<Option<usize>, Fault> {
        for &byte in come.get(self.seen..).unwrap_or_default() {
            if self.seen == MOST_HEAD {
                return Err(Fault::HeadTooLarge);
            }
            self.seen += 1;
            match (byte, self.after_cr) {
                (b'\n', true) => {
                    self.after_cr = false;
                    if std::mem::take(&mut self.length) == 0 && self.begun {
                        return Ok(Some(self.seen));
                    }
                }
                // Neither a line that ends in LF alone, nor a CR within one.
                (b'\n', false) | (_, true) => return Err(Fault::Malformed),
                (b'\r', false) => self.after_cr = true,
                (_, false) => {
                    self.begun = true;
                    self.length += 1;
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The length of the head, or the fault and how many bytes were fine before it; read in pieces of `size`.
    fn read(text: &[u8], size: usize) -> Result<Option<usize>, (usize, Fault)> {
        let mut lines = Lines::default();
        let ends = (size..text.len()).step_by(size).chain([text.len()]);
        for end in ends {
            match lines.end(&text[..end]) {
                Ok(None) => {}
                Ok(Some(length)) => return Ok(Some(length)),
                Err(fault) => return Err((lines.seen - usize::from(fault == Fault::Malformed), fault)),
            }
        }
        Ok(None)
    }

    fn whole(text: &str) -> Result<Option<usize>, (usize, Fault)> {
        let read_whole = read(text.as_bytes(), text.len().max(1));
        for size in [1, 2, 3, 7] {
            assert_eq!(read(text.as_bytes(), size), read_whole, "in pieces of {size}: {text:?}");
        }
        read_whole
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        for (text, length) in [
            (get.to_owned(), Some(get.len())),
            (get.repeat(3), Some(get.len())),
            (format!("\r\n\r\n{get}"), Some(get.len() + 4)),
            (format!("{get}\nbody\r"), Some(get.len())),
            ("GET / HTTP/1.1\r\nHost: h\r\n".to_owned(), None),
            ("\r\n\r\n".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(whole(&text), Ok(length), "{text:?}");
        }
    }

    #[test]
    fn line_ends_that_are_none_are_faults() {
        for (good, bad) in [
            ("GET / HTTP/1.1", "\nHost: h\n\n"),
            ("GET / HTTP/1.1\r\nHost: h\r\n", "\n"),
            ("GET / HTTP/1.1\r\nA: b\r", "c\r\n\r\n"),
            ("GET / HTTP/1.1\r\nA: b\r", "\r\n\r\n"),
            ("", "\nGET / HTTP/1.1\r\n\r\n"),
        ] {
            assert_eq!(whole(&format!("{good}{bad}")), Err((good.len(), Fault::Malformed)), "{good:?} {bad:?}");
        }
    }

    #[test]
    fn a_head_without_an_end_is_ended() {
        let endless = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(MOST_HEAD));
        assert_eq!(whole(&endless), Err((MOST_HEAD, Fault::HeadTooLarge)));
        assert_eq!(whole(&"\r\n".repeat(MOST_HEAD)), Err((MOST_HEAD, Fault::HeadTooLarge)));
    }

    proptest! {
        #[test]
        fn how_it_is_cut_changes_nothing(text in "(GET / HTTP/1.1|A: b|\r\n|\n|\r|\r\n\r\n){0,12}", size in 1_usize..40) {
            prop_assert_eq!(read(text.as_bytes(), size), read(text.as_bytes(), text.len().max(1)));
        }

        #[test]
        fn no_head_has_a_bare_line_end(text in "(GET / HTTP/1.1|A: b|\r\n|\n|\r|\r\n\r\n){0,12}") {
            let head = match read(text.as_bytes(), text.len().max(1)) {
                Ok(Some(length)) => &text[..length],
                Ok(None) => text.as_str(),
                Err((good, _)) => &text[..good],
            };
            prop_assert!(!head.replace("\r\n", "").contains('\n'), "{head:?}");
            prop_assert!(!head.replace("\r\n", "").trim_end_matches('\r').contains('\r'), "{head:?}");
        }
    }
}
