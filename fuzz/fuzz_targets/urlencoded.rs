//! A form and a query string: `Fields::from_urlencoded` and `add_urlencoded`, held against the URL standard's reading.
//! The first line is the query.
#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use stele_dialect::{Fault, Fields};

/// The most fields that are taken.
const MOST: usize = 64;

fn pairs(text: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(text.trim().as_bytes()).collect()
}

fuzz_target!(|text: &str| {
    let (query, body) = text.split_once('\n').unwrap_or((text, ""));
    let expected = [pairs(body), pairs(query)].concat();
    let read = Fields::from_urlencoded(body).and_then(|mut fields| fields.add_urlencoded(query).map(|()| fields));
    match read {
        Ok(fields) => {
            assert!(fields.len() <= MOST);
            let ours: Vec<_> = fields.texts().collect();
            assert_eq!(ours.len(), expected.len());
            for ((name, value), (their_name, their_value)) in ours.iter().zip(&expected) {
                assert_eq!(name, their_name);
                assert_eq!(value, their_value.as_ref());
            }
        }
        Err(Fault::Doubled(name)) => {
            assert!(expected.iter().filter(|(known, _)| known.starts_with(&name)).count() > 1);
        }
        // Too many, or not UTF-8, which the standard replaces.
        Err(Fault::Unreadable) => {
            let replaced = |text: &str| text.contains('\u{fffd}');
            assert!(expected.len() > MOST || expected.iter().any(|(name, value)| replaced(name) || replaced(value)));
        }
        Err(other) => panic!("{other}, before anybody has asked for a field"),
    }
});
