//! Reads along what a client sends, byte by byte, to know where each request ends and what it must not be made of.
//!
//! The HTTP parser behind it is lenient where RFC 9112 lets it be: it takes a bare LF for the end of a line, and what
//! follows the last chunk for trailers until it meets a CR. A proxy in front that reads the same bytes otherwise is all
//! that smuggling needs, so such bytes are never handed on. What is handed on, the parser judges once more.

/// The largest head that is handed on. Up to here, one too large is refused in the dialect of its route.
const MOST_HEAD: usize = 32 * 1024;
/// All that a chunked body is allowed beside its bytes: extensions and trailers.
const MOST_EXTRA: usize = 16 * 1024;
/// A length in chunks has at most so many digits: what fits 64 bits.
const MOST_DIGITS: u8 = 16;
/// How much of a header line is looked at: enough for the two headers that frame a body.
const LINE: usize = 64;

/// Why no more is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A line, or the framing of a body, is not what RFC 9112 says.
    Malformed,
    /// The head exceeds all that is handed on.
    HeadTooLarge,
}

/// How far a piece was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// So many bytes may be handed on.
    pub(crate) good: usize,
    /// What is wrong with the one after them.
    pub(crate) fault: Option<Fault>,
}

/// Where in a request the next byte is.
#[derive(Debug, Default)]
pub(crate) enum Scanner {
    /// A request may begin.
    #[default]
    Start,
    /// In a head.
    Head(Head),
    /// In a body of so many more bytes.
    Body(u64),
    /// In a chunked body.
    Chunks(Chunks),
}

impl Scanner {
    /// Whether a request may begin here.
    pub(crate) fn is_at_start(&self) -> bool {
        matches!(self, Self::Start)
    }

    /// Whether a head has begun and not ended.
    pub(crate) fn is_in_head(&self) -> bool {
        matches!(self, Self::Head(_))
    }

    /// Reads on in `bytes`, at most to the end of the request.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Read {
        let mut good = 0;
        while let Some(rest) = bytes.get(good..).filter(|rest| !rest.is_empty()) {
            let step = match self {
                Self::Start => {
                    *self = Self::Head(Head::default());
                    continue;
                }
                Self::Head(head) => head.read(rest),
                Self::Body(left) => {
                    let taken = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    Ok((taken, (*left == 0).then_some(Self::Start)))
                }
                Self::Chunks(chunks) => chunks.read(rest),
            };
            let (taken, next) = match step {
                Ok(step) => step,
                Err((taken, fault)) => return Read { good: good + taken, fault: Some(fault) },
            };
            good += taken;
            match next {
                Some(Self::Start) => {
                    *self = Self::Start;
                    break;
                }
                Some(next) => *self = next,
                None => {}
            }
        }
        Read { good, fault: None }
    }
}

/// How many bytes were read, and what begins after them if this is over; or how many are good before the fault.
type Step = Result<(usize, Option<Scanner>), (usize, Fault)>;

/// A head on its way: only lines that end in CR LF, and what they say of the body.
#[derive(Debug)]
pub(crate) struct Head {
    size: usize,
    /// The first bytes of the line, as many as are looked at.
    line: [u8; LINE],
    /// How long the line is up to now.
    length: usize,
    after_cr: bool,
    /// The request line has been read; before it empty lines are skipped, as RFC 9112, section 2.2, asks for.
    begun: bool,
    chunked: bool,
    body: u64,
}

impl Default for Head {
    fn default() -> Self {
        Self { size: 0, line: [0; LINE], length: 0, after_cr: false, begun: false, chunked: false, body: 0 }
    }
}

impl Head {
    fn read(&mut self, bytes: &[u8]) -> Step {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.size == MOST_HEAD {
                return Err((at, Fault::HeadTooLarge));
            }
            self.size += 1;
            match (byte, self.after_cr) {
                (b'\n', true) => {
                    self.after_cr = false;
                    if let Some(next) = self.end_line().map_err(|fault| (at, fault))? {
                        return Ok((at + 1, Some(next)));
                    }
                }
                // Neither a line that ends in LF alone, nor a CR within one.
                (b'\n', false) | (_, true) => return Err((at, Fault::Malformed)),
                (b'\r', false) => self.after_cr = true,
                (_, false) => {
                    if let Some(place) = self.line.get_mut(self.length) {
                        *place = byte;
                    }
                    self.length += 1;
                }
            }
        }
        Ok((bytes.len(), None))
    }

    /// What follows, if this was the empty line that ends the head.
    fn end_line(&mut self) -> Result<Option<Scanner>, Fault> {
        let length = std::mem::take(&mut self.length);
        if length == 0 {
            return Ok(self.begun.then(|| match (self.chunked, self.body) {
                (true, _) => Scanner::Chunks(Chunks::default()),
                (false, 0) => Scanner::Start,
                (false, left) => Scanner::Body(left),
            }));
        }
        if !std::mem::replace(&mut self.begun, true) {
            return Ok(None);
        }
        let seen = self.line.get(..length.min(LINE)).unwrap_or_default();
        let Some(colon) = seen.iter().position(|&byte| byte == b':') else { return Ok(None) };
        let (name, value) = seen.split_at(colon);
        let frames = name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding");
        if !frames {
            return Ok(None);
        }
        // Nobody who means well writes a line of these two that is longer.
        let value = value.get(1..).filter(|_| length <= LINE).ok_or(Fault::Malformed)?.trim_ascii();
        if name.len() == b"content-length".len() {
            let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            self.body = digits.and_then(|digits| digits.parse().ok()).ok_or(Fault::Malformed)?;
        } else {
            self.chunked = true;
        }
        Ok(None)
    }
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
    fn read(&mut self, bytes: &[u8]) -> Step {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.at == At::Data {
                let rest = bytes.len() - at;
                let taken = rest.min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= taken as u64;
                at += taken;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            if (self.at, byte) == (At::EndLf, b'\n') {
                return Ok((at + 1, Some(Scanner::Start)));
            }
            self.at = self.after(byte).ok_or((at, Fault::Malformed))?;
            at += 1;
        }
        Ok((at, None))
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
#[path = "scan_tests.rs"]
mod tests;
