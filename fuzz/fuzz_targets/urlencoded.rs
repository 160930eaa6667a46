//! A form and a query string: `Fields::from_urlencoded` and `add_query`, held against the URL standard's reading. The first
//! line is the query.
#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use stele_dialect::{FieldError, Fields};

/// The most fields that are taken.
const MAX_FIELDS: usize = 64;

fn reference_pairs(text: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(text.as_bytes()).collect()
}

/// Without what is around a form.
fn trim_form(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii_whitespace())
        .trim_end_matches(|c: char| c.is_ascii_whitespace() || c == '\0')
}

fuzz_target!(|text: &str| {
    let (query, body) = text.split_once('\n').unwrap_or((text, ""));
    let body = trim_form(body);
    let mut expected: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for (name, value) in reference_pairs(body) {
        if !expected.iter().any(|known| known.0 == name && known.1 == value) {
            expected.push((name, value));
        }
    }
    let is_replaced =
        |(name, value): &(Cow<'_, str>, Cow<'_, str>)| name.contains('\u{fffd}') || value.contains('\u{fffd}');
    match Fields::from_urlencoded(body) {
        Ok(mut fields) => {
            assert!(fields.len() <= MAX_FIELDS);
            let ours: Vec<_> = fields.text_fields().collect();
            // What is not UTF-8 may be GB18030, which the standard replaces.
            if !expected.iter().any(is_replaced) {
                assert_eq!(ours.len(), expected.len());
                for ((name, value), (their_name, their_value)) in ours.iter().zip(&expected) {
                    assert_eq!((name.as_str(), value.as_str()), (their_name.as_ref(), Some(their_value.as_ref())));
                }
            }
            fields.add_query(query);
            assert!(fields.len() <= MAX_FIELDS);
            let merged: Vec<_> = fields.text_fields().collect();
            assert_eq!(merged[..ours.len()], ours, "the body wins");
            for (name, value) in &merged[ours.len()..] {
                let theirs: Vec<_> = reference_pairs(query)
                    .into_iter()
                    .filter(|pair| !is_replaced(pair) && pair.0 == name.as_str())
                    .collect();
                assert!(theirs.iter().all(|(_, their)| *value == their.as_ref()));
            }
        }
        Err(FieldError::Duplicate(name)) => {
            assert!(
                expected.iter().filter(|(known, _)| known.starts_with(&name)).count() > 1
                    || expected.iter().any(is_replaced)
            );
        }
        // Too many, or in no charset.
        Err(FieldError::MalformedBody) => assert!(expected.len() > MAX_FIELDS || expected.iter().any(is_replaced)),
        Err(other) => panic!("{other}, before any field was asked for"),
    }
});
