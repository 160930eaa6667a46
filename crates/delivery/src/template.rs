//! Texts with places such as `{code}`.

use std::cell::RefCell;
use std::collections::BTreeSet;

/// What a place's name stands for; `None` leaves the place as it is.
pub(super) type PlaceholderValues<'a> = dyn Fn(&str) -> Option<&'a str> + 'a;

/// `text` with each `{name}`, of lowercase letters, filled in, in one pass.
pub(super) fn fill_placeholders(text: &str, fill: &PlaceholderValues<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out += before;
        let name =
            after.split_once('}').filter(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()));
        match name.and_then(|(name, behind)| Some((fill(name)?, behind))) {
            Some((value, behind)) => {
                out += value;
                rest = behind;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out + rest
}

/// The names of the places in `text`.
pub(super) fn placeholders(text: &str) -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    fill_placeholders(text, &|name| {
        names.borrow_mut().insert(name.to_owned());
        None
    });
    names.into_inner()
}
