use super::*;
use crate::map::{ImportMap, SecretKind};
use crate::record::Cell;

const D: &str = "e10adc3949ba59abbe56e057f20f883e";
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuuGkd/u1Xn9XQTH5fLOF2cGm4L4MSxFDe";

/// Columns with their values, separated by spaces; `-` is NULL.
fn source(columns: &[(&str, &str)]) -> SourceColumns {
    let cell = |value: &str| if value == "-" { Cell::Null } else { Cell::text(value.replace('_', " ")) };
    let columns = columns.iter().map(|(name, values)| SampledColumn {
        name: (*name).to_owned(),
        values: values.split_whitespace().map(cell).collect(),
    });
    SourceColumns { format: Format::Csv, query: None, delimiter: b',', columns: columns.collect() }
}

fn guess(columns: &[(&str, &str)]) -> (String, ImportMap) {
    let text = guess_map(&source(columns));
    let map = ImportMap::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (text, map)
}

/// The map for columns without values.
fn guess_names(names: &[&str]) -> (String, ImportMap) {
    guess(&names.iter().map(|name| (*name, "")).collect::<Vec<_>>())
}

#[test]
fn likely_tables_are_recognized_by_their_names() {
    // cloudbox, WordPress, Django, Discuz.
    let (_, map) = guess_names(&["user_id", "user_name", "password", "mobile", "created"]);
    assert_eq!(map.wanted_columns(), ["user_id", "user_name", "mobile", "created", "password"]);
    let (_, map) = guess_names(&["ID", "user_login", "user_pass", "user_nicename", "user_email", "user_registered"]);
    assert_eq!(map.wanted_columns(), ["ID", "user_login", "user_email", "user_registered", "user_pass"]);
    let (text, map) = guess_names(&["id", "password", "is_superuser", "username", "email", "is_active", "date_joined"]);
    let expected = ["id", "username", "email", "date_joined", "is_active", "is_superuser", "password"];
    assert_eq!(map.wanted_columns(), expected);
    assert!(text.contains("disabled = { column = \"is_active\", when = [\"0\"] }"), "{text}");
    let (_, map) = guess_names(&["uid", "username", "password", "salt", "email", "regdate"]);
    assert!(map.takes(SecretKind::Md5ds));
    assert_eq!(map.wanted_columns(), ["uid", "username", "email", "regdate", "password", "salt"]);
}

#[test]
fn odd_names_are_quoted_and_unknown_columns_left_out() {
    let (text, map) = guess_names(&["手机", "User \"Name\"", "x"]);
    assert_eq!(map.wanted_columns(), ["手机"], "{text}");
    assert!(!map.has_secrets());
}

#[test]
fn the_kinds_of_hashes_are_seen_in_their_values() {
    let sha1 = "2f9e53523b62abc141a2b4d6019d23cba835dbd0";
    for (values, salts, expected) in [
        (format!("{D} {D}"), "", "kind = \"md5\"\n"),
        (format!("{D} -"), "", "kind = \"md5\"\nempty = \"none\""),
        (format!("{D} {D}"), "ab cd", "kind = \"md5ds\""),
        (format!("{D} {D}"), "ab -", "kind = [\"md5\", \"md5ds\"]"),
        (format!("{BCRYPT} {D}"), "- cd", "kind = [\"bcrypt\", \"md5ds\"]"),
        (format!("{sha1} {sha1}"), "", "kind = \"sha1\""),
        (sha1.to_owned(), "ab", "kind = \"sha1ps\""),
        (sha1.repeat(2)[..64].to_owned(), "ab", "kind = \"sha256ps\""),
        (format!("{BCRYPT} $argon2id$x"), "", "kind = \"auto\""),
        ("md5$x$y !abc".to_owned(), "", "kind = \"django\"\n"),
        ("MTIzNDU2 cXdlcnR5".to_owned(), "", "kind = \"base64\""),
        (format!("MTIzNDU2 {D}"), "", "kind = [\"md5\", \"base64\"]"),
        ("MTIzNDU2 hunter2".to_owned(), "", "kind = \"clear\""),
        (format!("{D} hunter2"), "", "# 1 of the first rows"),
    ] {
        let columns = [("username", "a b"), ("password", values.as_str()), ("salt", salts)];
        let columns = if salts.is_empty() { &columns[..2] } else { &columns[..] };
        let (text, _) = guess(columns);
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(
            !values.split(' ').any(|value| value.len() > 3 && text.contains(value)),
            "a password is printed: {text}"
        );
    }
}

#[test]
fn times_flags_and_phones_are_seen_in_their_values() {
    for (columns, expected) in [
        (("created", "0 1521525602"), "format = \"unix\" }"),
        (("created", "1521525602000"), "format = \"unix_ms\" }"),
        (("created", "2018-03-20T14:00:02Z"), "format = \"rfc3339\" }"),
        (("created", "0000-00-00_00:00:00 2018-03-20"), "format = \"%Y-%m-%d\", zone = \"+08:00\""),
        (("date_joined", "2018-03-20_14:00:02.123456"), "format = \"%Y-%m-%d %H:%M:%S\", zone = \"Z\""),
        (("created", "20.3.2018"), "# registered_at ="),
        (
            ("status", "normal hidden"),
            "\ndisabled = { column = \"status\", when = [\"hidden\"] }  # seen: \"normal\", \"hidden\"",
        ),
        (("status", "0 1"), "\n# disabled = { column = \"status\", when = [\"0\"] }  # seen: \"0\", \"1\""),
        (("is_active", "t f"), "\ndisabled = { column = \"is_active\", when = [\"f\"] }"),
        (("locked", "0 1"), "\ndisabled = { column = \"locked\", when = [\"1\"] }"),
        (("role", "user 管理员"), "\nrole = { column = \"role\", admin = [\"管理员\"] }"),
        (("sex", "0 1 2"), "gender = { column = \"sex\", male = [\"1\"], female = [\"2\"] }"),
        (("sex", "男 女"), "gender = \"sex\""),
        (("login_name", "13800138000 13900139000"), "\nphone = \"login_name\""),
        (("id", "15a79fd3-4fb8-4ba2-8f6b-f616e86eb2e9"), "\nuuid = \"id\""),
    ] {
        let (text, _) = guess(&[columns, ("email", "a@b.cn"), ("x", "1")]);
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // Values of a column that is no flag are not printed.
    let names = (0..20).map(|n| format!("name{n} ")).collect::<String>();
    let (text, _) = guess(&[("email", "a@b.cn"), ("role", &names)]);
    assert!(!text.contains("name0") && !text.contains("a@b.cn"), "{text}");
}

#[test]
fn the_delimiter_and_encoding_of_a_file_are_proposed() {
    let mut source = source(&[("email", "a@b.cn")]);
    source.delimiter = b';';
    source.columns[0].values.push(Cell::NotText);
    let text = guess_map(&source);
    assert!(text.contains("delimiter = \";\"\nencoding = \"gb18030\""), "{text}");
    assert!(ImportMap::parse(&text).is_ok(), "{text}");
}
