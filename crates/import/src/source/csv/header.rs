//! Distinguishes a header line from a row of data, which must not be printed: it has names, phones and passwords.

use std::path::Path;

use super::SourceError;
use crate::map::ImportMap;

/// The longest name of a column, in characters: MySQL's limit.
const MAX_NAME_CHARS: usize = 64;
/// The number of digits of the shortest hash in hex (md5).
const HASH_DIGITS: usize = 32;

/// Why the map's columns are not in the first line: `error`, which lists the names in it, only if it is a header.
pub(super) fn fault_of(path: &Path, map: &ImportMap, names: &[String], error: SourceError) -> SourceError {
    if !names.iter().all(|name| is_column_name(name)) {
        return SourceError::DataInHeader(path.to_owned());
    }
    let wanted = map.wanted_columns();
    if names.iter().any(|name| wanted.contains(&name.as_str())) {
        return error;
    }
    SourceError::NoColumn(path.to_owned())
}

fn is_column_name(name: &str) -> bool {
    let starts_like_one = name.starts_with(|first: char| first.is_alphabetic() || first == '_');
    starts_like_one && name.chars().count() <= MAX_NAME_CHARS && !name.contains('$') && !is_value(name)
}

/// Whether this is no column's name, but an id, a phone, an e-mail address or a hash.
pub(super) fn is_value(name: &str) -> bool {
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let is_hex_hash = name.len() >= HASH_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number || is_hex_hash || name.contains('@') || name.starts_with('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_columns_are_distinguished_from_values() {
        for name in ["id", "_id", "user name", "手机", "mail2", "col$"] {
            assert!(!is_value(name), "{name}");
        }
        assert!(is_column_name("手机") && is_column_name("_id") && !is_column_name("col$") && !is_column_name(""));
        assert!(!is_column_name(&"a".repeat(65)));
        for value in ["7", "13800138000", "zed@qq.com", "$2y$10$abc", "e10adc3949ba59abbe56e057f20f883e"] {
            assert!(is_value(value) && !is_column_name(value), "{value}");
        }
    }
}
