//! Multipart bodies (RFC 2046, RFC 7578), parsed leniently: any `multipart/…` with named parts, CR LF or LF line ends,
//! with or without a closing boundary.
//!
//! The boundary of the content type is used if it occurs in the body; otherwise the body's first line is the boundary.

use std::borrow::Cow;

use encoding_rs::Encoding;

use super::charset::{RawField, declared_charset, decode_fields};
use super::{FieldError, Fields, header_parameter};

/// The longest boundary, in bytes (RFC 2046 §5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// The boundary of a multipart body; `None` if the body has another format.
///
/// # Errors
/// [`FieldError::MalformedRequest`] if the first line has to be the boundary and is empty or too long.
pub(super) fn find_boundary(content_type: &str, body: &[u8]) -> Option<Result<Vec<u8>, FieldError>> {
    let is_declared = content_type.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
    if !is_declared && !body.starts_with(b"--") {
        return None;
    }
    if is_declared
        && let Some(boundary) =
            header_parameter(content_type.as_bytes(), "boundary").filter(|boundary| !boundary.is_empty())
        && split_lines(body).any(|line| parse_delimiter(line.text, &boundary).is_some())
    {
        return Some(Ok(boundary.into_owned()));
    }
    let mut lines = split_lines(body);
    let first = lines.next()?.text.strip_prefix(b"--")?.trim_ascii_end();
    let mut is_next_line_disposition =
        || lines.next().is_some_and(|line| has_header_name(line.text, "content-disposition"));
    if !is_declared && !is_next_line_disposition() {
        return None;
    }
    Some(if (1..=MAX_BOUNDARY_BYTES).contains(&first.len()) {
        Ok(first.to_vec())
    } else {
        Err(FieldError::MalformedRequest)
    })
}

/// Parses the parts of a body as fields. A file is a field like any other part.
pub(super) fn parse(body: &[u8], boundary: &[u8], charset: Option<&'static Encoding>) -> Result<Fields, FieldError> {
    let parts: Option<Vec<_>> = split_parts(body, boundary).into_iter().map(parse_part).collect();
    decode_fields(&parts.ok_or(FieldError::MalformedRequest)?.iter().cloned(), charset)
}

/// A line, without its line end.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    start: usize,
    /// The offset of the next line.
    next_start: usize,
    end: LineEnd,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    CrLf,
    Lf,
    /// The end of the body.
    Absent,
}

impl LineEnd {
    fn len(self) -> usize {
        match self {
            Self::CrLf => 2,
            Self::Lf => 1,
            Self::Absent => 0,
        }
    }
}

fn split_lines(body: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = body.get(start..).filter(|rest| !rest.is_empty())?;
        let (text, end) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) if rest[..at].ends_with(b"\r") => (&rest[..at - 1], LineEnd::CrLf),
            Some(at) => (&rest[..at], LineEnd::Lf),
            None => (rest, LineEnd::Absent),
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

/// Parses a line as boundary delimiter; trailing white space is padding (RFC 2046 §5.1.1).
fn parse_delimiter(line: &[u8], boundary: &[u8]) -> Option<Delimiter> {
    match line.strip_prefix(b"--")?.strip_prefix(boundary)?.trim_ascii_end() {
        b"" => Some(Delimiter::Part),
        b"--" => Some(Delimiter::Close),
        _ => None,
    }
}

/// The parts between boundaries. The line end before a boundary is not part of the content. If the first boundary ends
/// in CR LF, later boundaries must follow CR LF.
fn split_parts<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut first_boundary_end = None;
    let mut start = None;
    let mut previous_end = LineEnd::Lf;
    for line in split_lines(body) {
        let delimiter = parse_delimiter(line.text, boundary)
            .filter(|_| first_boundary_end != Some(LineEnd::CrLf) || previous_end == LineEnd::CrLf);
        if let Some(delimiter) = delimiter {
            first_boundary_end.get_or_insert(line.end);
            let end = line.start - previous_end.len().min(line.start);
            parts.extend(start.and_then(|start| body.get(start..end)));
            if delimiter == Delimiter::Close {
                return parts;
            }
            start = Some(line.next_start);
        }
        previous_end = line.end;
    }
    if let Some(rest) = start.and_then(|start| body.get(start..)) {
        // Without a closing boundary, trailing NULs are the string terminator of firmware written in C.
        let end = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let part = &rest[..end];
        if !part.is_empty() {
            parts.push(part.strip_suffix(b"\r\n").or_else(|| part.strip_suffix(b"\n")).unwrap_or(part));
        }
    }
    parts
}

/// Parses a part as a field; `None` if it has no name, or no blank line after the header fields.
fn parse_part(part: &[u8]) -> Option<RawField<'_>> {
    let (mut name, mut charset) = (None, None);
    let mut header_start: &[u8] = b"";
    for line in split_lines(part) {
        if line.text.is_empty() {
            return Some(RawField { name: Cow::Owned(name?), value: Cow::Borrowed(&part[line.next_start..]), charset });
        }
        // A folded line continues the previous header.
        let text = match line.text.first() {
            Some(b' ' | b'\t') => &[b";", line.text].concat(),
            _ => {
                header_start = line.text;
                line.text
            }
        };
        if has_header_name(header_start, "content-disposition") {
            name = name.or_else(|| Some(header_parameter(text, "name")?.into_owned()));
        } else if has_header_name(header_start, "content-type") {
            charset = charset.or_else(|| declared_charset(text));
        }
    }
    None
}

/// Whether the line is the header `name`.
fn has_header_name(line: &[u8], name: &str) -> bool {
    let end = line.iter().position(|byte| *byte == b':');
    end.is_some_and(|end| line[..end].trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}
