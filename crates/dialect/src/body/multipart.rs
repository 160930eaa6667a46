//! Multipart bodies: any `multipart/…` whose parts are named, with whichever line ends, with or without a last boundary.
//!
//! The boundary of the content type counts if a line of the body is it, else the body's first line.

use std::borrow::Cow;

use encoding_rs::Encoding;

use super::charset::{RawField, declared_charset, decode_fields};
use super::{FieldError, Fields, header_parameter};

/// The longest boundary, in bytes (RFC 2046, section 5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// The boundary of a body that is multipart; `None` if it is something else.
pub(super) fn find_boundary(kind: &str, body: &[u8]) -> Option<Result<Vec<u8>, FieldError>> {
    let is_declared = kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    if !is_declared && !body.starts_with(b"--") {
        return None;
    }
    if is_declared
        && let Some(boundary) = header_parameter(kind.as_bytes(), "boundary").filter(|boundary| !boundary.is_empty())
        && lines(body).any(|line| parse_delimiter(line.text, &boundary).is_some())
    {
        return Some(Ok(boundary.into_owned()));
    }
    let mut lines = lines(body);
    let first = lines.next()?.text.strip_prefix(b"--")?.trim_ascii_end();
    let mut is_part = || lines.next().is_some_and(|line| has_header_name(line.text, "content-disposition"));
    if !is_declared && !is_part() {
        return None;
    }
    Some(if (1..=MAX_BOUNDARY_BYTES).contains(&first.len()) {
        Ok(first.to_vec())
    } else {
        Err(FieldError::MalformedBody)
    })
}

/// Reads the parts of a body as fields. A part that is a file is one, too.
pub(super) fn parse(body: &[u8], boundary: &[u8], charset: Option<&'static Encoding>) -> Result<Fields, FieldError> {
    let parts: Option<Vec<_>> = split_parts(body, boundary).into_iter().map(parse_part).collect();
    decode_fields(&parts.ok_or(FieldError::MalformedBody)?.iter().cloned(), charset)
}

/// A line without its end.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    start: usize,
    /// Where the next line starts.
    next_start: usize,
    end: LineEnd,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    CrLf,
    Lf,
    None,
}

impl LineEnd {
    fn len(self) -> usize {
        match self {
            Self::CrLf => 2,
            Self::Lf => 1,
            Self::None => 0,
        }
    }
}

fn lines(body: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = body.get(start..).filter(|rest| !rest.is_empty())?;
        let (text, end) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) if rest[..at].ends_with(b"\r") => (&rest[..at - 1], LineEnd::CrLf),
            Some(at) => (&rest[..at], LineEnd::Lf),
            None => (rest, LineEnd::None),
        };
        let line = Line { text, start, next_start: start + text.len() + end.len(), end };
        start = line.next_start;
        Some(line)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Part,
    Close,
}

/// Whether a line is the boundary, padded or not (RFC 2046, section 5.1.1).
fn parse_delimiter(line: &[u8], boundary: &[u8]) -> Option<Delimiter> {
    match line.strip_prefix(b"--")?.strip_prefix(boundary)?.trim_ascii_end() {
        b"" => Some(Delimiter::Part),
        b"--" => Some(Delimiter::Close),
        _ => None,
    }
}

/// What is between the boundaries, without the line ends before them. In a body whose first boundary ends in CR LF, a
/// boundary counts only behind CR LF.
fn split_parts<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut style = None;
    let mut start = None;
    let mut before = LineEnd::Lf;
    for line in lines(body) {
        let found =
            parse_delimiter(line.text, boundary).filter(|_| style != Some(LineEnd::CrLf) || before == LineEnd::CrLf);
        if let Some(found) = found {
            style.get_or_insert(line.end);
            let end = line.start - before.len().min(line.start);
            parts.extend(start.and_then(|start| body.get(start..end)));
            if found == Delimiter::Close {
                return parts;
            }
            start = Some(line.next_start);
        }
        before = line.end;
    }
    if let Some(rest) = start.and_then(|start| body.get(start..)) {
        // Without a last boundary, NULs at the end are the terminator that firmware counts.
        let end = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let part = &rest[..end];
        if !part.is_empty() {
            parts.push(part.strip_suffix(b"\r\n").or_else(|| part.strip_suffix(b"\n")).unwrap_or(part));
        }
    }
    parts
}

/// A part as a field; `None` if it has no name.
fn parse_part(part: &[u8]) -> Option<RawField<'_>> {
    let (mut name, mut charset) = (None, None);
    let mut current: &[u8] = b"";
    for line in lines(part) {
        if line.text.is_empty() {
            return Some(RawField { name: Cow::Owned(name?), value: Cow::Borrowed(&part[line.next_start..]), charset });
        }
        // A folded line belongs to the header before it.
        let text = match line.text.first() {
            Some(b' ' | b'\t') => &[b";", line.text].concat(),
            _ => {
                current = line.text;
                line.text
            }
        };
        if has_header_name(current, "content-disposition") {
            name = name.or_else(|| Some(header_parameter(text, "name")?.into_owned()));
        } else if has_header_name(current, "content-type") {
            charset = charset.or_else(|| declared_charset(text));
        }
    }
    None
}

/// Whether a line is this header.
fn has_header_name(line: &[u8], name: &str) -> bool {
    let end = line.iter().position(|byte| *byte == b':');
    end.is_some_and(|end| line[..end].trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}
