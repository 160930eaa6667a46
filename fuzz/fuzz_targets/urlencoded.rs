//! A form and a query string: compares `Fields::from_urlencoded` and `add_query` with the URL standard's parser. The
//! first line of the input is the query.
#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use stele_dialect::{FieldError, Fields};

/// The limit of fields in a request.
const MAX_FIELDS: usize = 64;

fn reference_pairs(text: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(text.as_bytes()).collect()
}

/// Removes white space around a form, and NUL bytes after it.
fn trim_form(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii_whitespace())
        .trim_end_matches(|c: char| c.is_ascii_whitespace() || c == '\0')
}

fuzz_target!(|text: &str| {
    let (query, body) = text.split_once('\n').unwrap_or((text, ""));
    let body = trim_form(body);
    let mut expected: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for (name, value) in reference_pairs(body) {
        if !expected.iter().any(|pair| pair.0 == name && pair.1 == value) {
            expected.push((name, value));
        }
    }
    let has_replacement =
        |(name, value): &(Cow<'_, str>, Cow<'_, str>)| name.contains('\u{fffd}') || value.contains('\u{fffd}');
    match Fields::from_urlencoded(body) {
        Ok(mut fields) => {
            assert!(fields.len() <= MAX_FIELDS);
            let ours: Vec<_> = fields.text_fields().collect();
            // Invalid UTF-8 may be GB18030, which Stele decodes and the standard replaces.
            if !expected.iter().any(has_replacement) {
                assert_eq!(ours.len(), expected.len());
                for ((name, value), (their_name, their_value)) in ours.iter().zip(&expected) {
                    assert_eq!((name.as_str(), value.as_str()), (their_name.as_ref(), Some(their_value.as_ref())));
                }
            }
            fields.add_query(query);
            assert!(fields.len() <= MAX_FIELDS);
            let merged: Vec<_> = fields.text_fields().collect();
            assert_eq!(merged[..ours.len()], ours, "the body takes precedence");
            for (name, value) in &merged[ours.len()..] {
                let theirs: Vec<_> = reference_pairs(query)
                    .into_iter()
                    .filter(|pair| !has_replacement(pair) && pair.0 == name.as_str())
                    .collect();
                assert!(theirs.iter().all(|(_, their)| *value == their.as_ref()));
            }
        }
        Err(FieldError::Duplicate(name)) => {
            assert!(
                expected.iter().filter(|(key, _)| key.starts_with(&name)).count() > 1
                    || expected.iter().any(has_replacement)
            );
        }
        // Too many fields, or a charset that is neither UTF-8 nor GB18030.
        Err(FieldError::MalformedRequest) => {
            assert!(expected.len() > MAX_FIELDS || expected.iter().any(has_replacement))
        }
        Err(other) => panic!("{other}, before a field was read"),
    }
});
