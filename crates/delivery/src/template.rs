//! Templates: texts with placeholders such as `{code}`.

use std::cell::RefCell;
use std::collections::BTreeSet;

/// The value of a placeholder by name; `None` leaves the placeholder unchanged.
pub(super) type PlaceholderValues<'a> = dyn Fn(&str) -> Option<&'a str> + 'a;

/// Replaces each `{name}` (lowercase letters) in `text` by its value, in one pass: values are not expanded again.
pub(super) fn fill_placeholders(text: &str, value_of: &PlaceholderValues<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut remaining = text;
    while let Some((before, after)) = remaining.split_once('{') {
        out += before;
        let name =
            after.split_once('}').filter(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()));
        match name.and_then(|(name, tail)| Some((value_of(name)?, tail))) {
            Some((value, tail)) => {
                out += value;
                remaining = tail;
            }
            None => {
                out.push('{');
                remaining = after;
            }
        }
    }
    out + remaining
}

/// The names of the placeholders in `text`.
pub(super) fn placeholders(text: &str) -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    fill_placeholders(text, &|name| {
        names.borrow_mut().insert(name.to_owned());
        None
    });
    names.into_inner()
}
