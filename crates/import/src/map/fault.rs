//! Faults of the TOML of a map: the line, what is wrong there, and the nearest name that would be right.

use super::MapError;

/// The error of the parser in one line.
pub(super) fn describe(text: &str, error: &toml::de::Error) -> MapError {
    let number = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
    let place = number.map(|number| format!("line {number}: ")).unwrap_or_default();
    let key = number.and_then(|number| key_of(text.lines().nth(number - 1)?));
    let key = key.map(|key| format!("{key}: ")).unwrap_or_default();
    let message = without_value(&error.message().split_whitespace().collect::<Vec<_>>().join(" "));
    MapError(place + &explain_unknown_name(&message).unwrap_or_else(|| format!("{key}{message}")))
}

/// The key of a line `key = value`. The rest is not shown: the file may be one with passwords.
fn key_of(line: &str) -> Option<&str> {
    let key = line.split_once(" =")?.0.trim();
    (!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).then_some(key)
}

/// Serde's "invalid type: string "…", expected a map" without the string.
fn without_value(message: &str) -> String {
    match (message.find(" \""), message.rfind("\", expected")) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &message[..start], &message[end + 1..]),
        _ => message.to_owned(),
    }
}

/// Rewrites serde's "unknown field `a`, expected one of `b`, `c`".
fn explain_unknown_name(message: &str) -> Option<String> {
    let (what, rest) = [("key", "unknown field `"), ("value", "unknown variant `")]
        .into_iter()
        .find_map(|(what, start)| Some((what, message.strip_prefix(start)?)))?;
    let (name, rest) = rest.split_once('`')?;
    // Every second part is between backticks.
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let nearest = known.iter().min_by_key(|candidate| distance(name, candidate));
    let hint = nearest.filter(|candidate| distance(name, candidate) <= name.chars().count().div_ceil(2));
    let hint = hint.map(|candidate| format!(": did you mean `{candidate}`?")).unwrap_or_default();
    Some(format!("unknown {what} `{name}`{hint}; the {what}s are {}", known.join(", ")))
}

/// How many characters have to be inserted, removed or replaced to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, left) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], n + 1);
        for (m, &right) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[m + 1];
            row[m + 1] = replaced.min(diagonal + 1).min(row[m] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImportMap;

    #[test]
    fn words_are_compared_by_edits() {
        for (one, other, expected) in [("", "abc", 3), ("phon", "phone", 1), ("kitten", "sitting", 3), ("a", "a", 0)] {
            assert_eq!((distance(one, other), distance(other, one)), (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn an_unknown_name_is_shown_with_its_line_and_the_nearest_one() {
        let map =
            "format = \"csv\"\n[columns]\nid = \"id\"\nusername = \"name\"\n[secret]\nkind = \"md5\"\ncolumn = \"p\"\n";
        ImportMap::parse(map).unwrap();
        for (from, to, expected) in [
            (
                "username",
                "user_name",
                "line 4: unknown key `user_name`: did you mean `username`?; the keys are id, uuid",
            ),
            ("format", "fromat", "line 1: unknown key `fromat`: did you mean `format`?"),
            ("csv", "cvs", "line 1: unknown value `cvs`: did you mean `csv`?; the values are csv, jsonl"),
            ("\"md5\"", "\"md5pp\"", "line 6: unknown value `md5pp`: did you mean `md5ps`?"),
            ("column = \"p\"", "colunm = \"p\"", "line 7: unknown key `colunm`: did you mean `column`?"),
            ("id = \"id\"", "xyzzy = \"id\"", "line 3: unknown key `xyzzy`; the keys are id"),
            ("\"id\"", "\"id", "line 3: id: "),
        ] {
            let error = ImportMap::parse(&map.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_map_is_not_shown() {
        for text in [
            "7,zed,,,hunter2\n8,a,,,b\n",
            "id,name,password\n7,zed,hunter2\n",
            "hunter2",
            "hunter2==",
            "\"hunter2\"",
            "mysql://root:hunter2@h/d",
            "x = \"hunter2",
            "format = hunter2",
            "secret = \"hunter2\"",
            "format = \"csv\"\ncolumns = \"a hunter2\"",
            "{\"password\": \"hunter2\"}",
        ] {
            let error = ImportMap::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
