//! Request body parsing: JSON, urlencoded or multipart, in any charset. Clients send wrong content types, so the format
//! is detected from the bytes; the content type only adds charset and boundary (`docs/FIELD.md`).
//!
//! - `inflate`: decompression (`Content-Encoding`)
//! - `charset`: charset detection and decoding
//! - `json`: strict JSON, then JSON5
//! - `form`: urlencoded bodies and query strings
//! - `multipart`: multipart bodies
//! - `json_prefix`: a JSON object followed by padding

mod charset;
mod form;
pub(crate) mod inflate;
mod json;
mod json_prefix;
mod multipart;

use std::borrow::Cow;

use zeroize::Zeroizing;

use crate::fields::{FieldError, FieldValue, Fields};

impl Fields {
    /// Parses a body that is not compressed, in the format that its bytes indicate.
    ///
    /// # Errors
    /// [`FieldError::MalformedRequest`], or [`FieldError::Duplicate`] with the field's name.
    pub fn from_body(content_type: Option<&str>, body: &[u8]) -> Result<Self, FieldError> {
        let content_type = content_type.unwrap_or_default().trim();
        let decoded = charset::BodyText::new(body, content_type)?;
        let (body, charset) = (decoded.bytes(), decoded.charset);
        let body = body.trim_ascii_start();
        if let Some(boundary) = multipart::find_boundary(content_type, body) {
            return multipart::parse(body, &boundary?, charset);
        }
        let body = trim_end_whitespace_and_nul(body);
        if body.starts_with(b"{") {
            return charset::decode_then(body, charset, json::parse);
        }
        if body.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"%7b")) {
            // JSON sent as the only name of a form. No documented field name begins with a brace.
            return charset::decode_then(&Zeroizing::new(form::decode_component(body)), charset, json::parse);
        }
        match body {
            // How HTTP clients send an empty body.
            b"" | b"null" | b"[]" | b"\"\"" => Ok(Self::default()),
            _ if is_json_type(content_type) && !body.contains(&b'=') => Err(FieldError::MalformedRequest),
            _ => form::parse(body, charset),
        }
    }

    /// Parses `a=1&b=2`, percent-encoded.
    ///
    /// # Errors
    /// As [`Fields::from_body`].
    pub fn from_urlencoded(text: &str) -> Result<Self, FieldError> {
        form::parse(trim_end_whitespace_and_nul(text.as_bytes()).trim_ascii_start(), None)
    }

    /// Adds the fields of a query string that the body does not have, up to 64 fields in all. A duplicate or
    /// undecodable field is an error only when it is read.
    pub fn add_query(&mut self, query: &str) {
        self.insert_query_fields(form::parse_query(query.as_bytes()));
    }
}

/// Trims trailing white space and NULs: firmware written in C sends the terminator of its strings.
fn trim_end_whitespace_and_nul(body: &[u8]) -> &[u8] {
    let end = body.iter().rposition(|byte| !byte.is_ascii_whitespace() && *byte != 0).map_or(0, |last| last + 1);
    &body[..end]
}

fn is_json_type(content_type: &str) -> bool {
    let (essence, _) = content_type.split_once(';').unwrap_or((content_type, ""));
    let essence = essence.trim();
    essence.get(essence.len().saturating_sub(4)..).is_some_and(|end| end.eq_ignore_ascii_case("json"))
}

/// The parameter `wanted` of a header, unquoted: `a;b` for `boundary` of `multipart/form-data; boundary = "a;b"`.
fn header_parameter<'a>(header: &'a [u8], wanted: &str) -> Option<Cow<'a, [u8]>> {
    let mut remaining = header;
    loop {
        let start = remaining.iter().position(|byte| *byte == b';')?;
        remaining = &remaining[start + 1..];
        let end = remaining.iter().position(|byte| matches!(byte, b';' | b'=')).unwrap_or(remaining.len());
        let (name, value) = remaining.split_at(end);
        let Some(value) = value.strip_prefix(b"=") else { continue };
        let (value, after_value) = header_parameter_value(value.trim_ascii_start());
        if name.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()) {
            return Some(value);
        }
        remaining = after_value;
    }
}

/// A parameter's value, unquoted, and the text after it.
fn header_parameter_value(text: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
        return (text[..end].trim_ascii().into(), &text[end..]);
    };
    let end = quoted.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(quoted.len());
    if quoted.get(end) != Some(&b'\\') {
        return (quoted[..end].into(), quoted.get(end + 1..).unwrap_or_default());
    }
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match (byte, quoted.get(at + 1)) {
            (b'"', _) => return (value.into(), &quoted[at + 1..]),
            // A backslash before any other character is literal: browsers sent whole Windows paths.
            (b'\\', Some(&escaped @ (b'"' | b'\\'))) => {
                value.push(escaped);
                bytes.next();
            }
            _ => value.push(byte),
        }
    }
    (value.into(), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_parameters_are_read_quoted_and_unquoted() {
        for (header, boundary) in [
            ("multipart/form-data; boundary=b", Some("b")),
            ("multipart/form-data;Boundary = b ; charset=gbk", Some("b")),
            (r#"multipart/form-data; charset="a;boundary=x"; boundary="b""#, Some("b")),
            (r#"multipart/mixed; boundary="a \"b\" \c;d"#, Some(r#"a "b" \c;d"#)),
            ("multipart/related; boundary=----=_Part_1_2.3=", Some("----=_Part_1_2.3=")),
            ("multipart/form-data; boundary", None),
            ("multipart/form-data; xboundary=b", None),
            ("boundary=b", None),
            ("", None),
        ] {
            let value = header_parameter(header.as_bytes(), "boundary");
            assert_eq!(value.as_deref(), boundary.map(str::as_bytes), "{header}");
        }
    }

    #[test]
    fn media_types_ending_in_json_are_json() {
        for kind in ["application/json", "text/JSON ; charset=x", "application/problem+json"] {
            assert!(is_json_type(kind), "{kind}");
        }
        for kind in ["", "json5", "application/x-www-form-urlencoded", "text/plain; json", "é"] {
            assert!(!is_json_type(kind), "{kind}");
        }
    }
}
