//! What the values of a column show: the kinds of its hashes, the format of its times, and the values that mean "disabled"
//! or "administrator". Values of passwords are looked at and never returned.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stele_core::identifier::Phone;
use stele_core::user::UserId;
use stele_core::verifier::HashForm;

use crate::record::Cell;
use crate::source::SampledColumn;

/// The values that systems write for yes and no.
const YES: &[&str] = &["1", "t", "true", "y", "yes", "Y", "True"];
const NO: &[&str] = &["0", "f", "false", "n", "no", "N", "False"];
/// The most values of a column that are printed, and their length in bytes.
const MAX_DISTINCT: usize = 8;
const MAX_PRINTED_BYTES: usize = 32;

/// The kinds of a column of secrets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GuessedKinds {
    /// The names of kinds, for `kind` in the map; none if there are no values.
    pub(super) kinds: Vec<&'static str>,
    /// Whether there are rows without a secret.
    pub(super) has_empty: bool,
    /// How many values have none of the forms of the kinds.
    pub(super) unknown: usize,
}

/// The kinds of `secret`, whose salts are in `salt`.
pub(super) fn guess_kinds(secret: &SampledColumn, salt: Option<&SampledColumn>) -> GuessedKinds {
    let mut guessed = GuessedKinds::default();
    let (mut forms, mut hex, mut base64, mut clear) = (Vec::new(), Vec::new(), 0, 0);
    for (n, cell) in secret.values.iter().enumerate() {
        let Some(text) = text_of(cell) else {
            guessed.has_empty |= matches!(cell, Cell::Null | Cell::Text(_));
            guessed.unknown += usize::from(matches!(cell, Cell::NotText));
            continue;
        };
        let is_salted = salt.and_then(|salt| salt.values.get(n)).and_then(text_of).is_some();
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match HashForm::of(text) {
            Some(HashForm::Md5) => hex.push((32, is_salted)),
            Some(HashForm::Salted) => guessed.unknown += 1,
            Some(form) => forms.push(form),
            None if is_hex && matches!(text.len(), 40 | 64) => hex.push((text.len(), is_salted)),
            // Django's password of a user without one.
            None if text.starts_with('!') => {}
            None if is_base64_of_text(text) => base64 += 1,
            None => clear += 1,
        }
    }
    match forms.as_slice() {
        [] => {}
        [first, rest @ ..] if rest.iter().all(|form| form == first) => guessed.kinds.push(name_of(*first)),
        _ => guessed.kinds.push("auto"),
    }
    for (digits, is_salted, kind) in [
        (32, false, "md5"),
        (32, true, "md5ds"),
        (40, false, "sha1"),
        (40, true, "sha1ps"),
        (64, false, "sha256"),
        (64, true, "sha256ps"),
    ] {
        if hex.contains(&(digits, is_salted)) {
            guessed.kinds.push(kind);
        }
    }
    match (base64, clear, guessed.kinds.is_empty()) {
        (0, 0, _) => {}
        (_, 0, _) => guessed.kinds.push("base64"),
        (_, _, true) => guessed.kinds.push("clear"),
        (_, _, false) => guessed.unknown += base64 + clear,
    }
    guessed
}

fn name_of(form: HashForm) -> &'static str {
    match form {
        HashForm::Md5 | HashForm::Salted => "md5",
        HashForm::Argon2 => "argon2",
        HashForm::Bcrypt => "bcrypt",
        HashForm::Phpass => "phpass",
        HashForm::WordPress => "wordpress",
        HashForm::Django => "django",
        HashForm::Identity => "identity",
    }
}

fn is_base64_of_text(text: &str) -> bool {
    let decoded = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.is_some_and(|decoded| !decoded.is_empty() && !decoded.chars().any(char::is_control))
}

/// The text of a value that is not empty.
fn text_of(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text.trim()).filter(|text| !text.is_empty() && *text != "\\N"),
        Cell::Null | Cell::NotText => None,
    }
}

fn texts(column: &SampledColumn) -> impl Iterator<Item = &str> {
    column.values.iter().filter_map(text_of)
}

/// The format of the times of a column, for the map; `None` if it is not known. A column without times has the usual
/// format.
pub(super) fn guess_time_format(column: &SampledColumn) -> Option<&'static str> {
    let Some(text) = texts(column).find(|text| !text.starts_with("0000-00-00") && *text != "0") else {
        return Some("%Y-%m-%d %H:%M:%S");
    };
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let is_number = !shape.is_empty() && shape.chars().all(|c| c == '9');
    Some(match shape.as_str() {
        _ if is_number && text.len() > 11 => "unix_ms",
        _ if is_number => "unix",
        _ if shape.starts_with("9999-99-99T99:99:99") => "rfc3339",
        "9999-99-99" => "%Y-%m-%d",
        "9999-99-99 99:99" => "%Y-%m-%d %H:%M",
        "9999-99-99 99:99:99" => "%Y-%m-%d %H:%M:%S",
        _ if shape.strip_prefix("9999-99-99 99:99:99.").is_some_and(|rest| rest.chars().all(|c| c == '9')) => {
            "%Y-%m-%d %H:%M:%S"
        }
        _ => return None,
    })
}

/// The different values of a column, in the order in which they come; none if they are many or long, so that they are not
/// those of a flag.
pub(super) fn distinct(column: &SampledColumn) -> Vec<String> {
    let mut seen: Vec<&str> = Vec::new();
    for text in texts(column) {
        if text.len() > MAX_PRINTED_BYTES || (!seen.contains(&text) && seen.len() == MAX_DISTINCT) {
            return Vec::new();
        }
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen.into_iter().map(str::to_owned).collect()
}

/// The values of a column that are among `words`, without letter case.
pub(super) fn values_among(column: &SampledColumn, words: &[&str]) -> Vec<String> {
    let is_among = |value: &String| words.iter().any(|word| word.eq_ignore_ascii_case(value));
    distinct(column).into_iter().filter(is_among).collect()
}

/// How a flag writes yes, or no: as in the column, else `1` and `0`.
pub(super) fn flag_values(column: &SampledColumn, is_yes: bool) -> Vec<String> {
    let words = if is_yes { YES } else { NO };
    let found = values_among(column, words);
    if found.is_empty() { vec![words[0].to_owned()] } else { found }
}

/// Whether all values are numbers of one digit.
pub(super) fn are_digits(column: &SampledColumn) -> bool {
    texts(column).next().is_some() && texts(column).all(|text| text.len() == 1 && text.as_bytes()[0].is_ascii_digit())
}

pub(super) fn are_phones(column: &SampledColumn) -> bool {
    texts(column).next().is_some() && texts(column).all(|text| Phone::parse_provisioned(text).is_some())
}

pub(super) fn are_uuids(column: &SampledColumn) -> bool {
    texts(column).next().is_some() && texts(column).all(|text| UserId::parse(text).is_some())
}

pub(super) fn has_undecoded(column: &SampledColumn) -> bool {
    column.values.contains(&Cell::NotText)
}
