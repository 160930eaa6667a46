use super::*;

/// The map of the documentation.
const DOCUMENTED: &str = r#"
format = "csv"
dialect = "cloudbox"
merge = "none"
[columns]
id = "user_id"
username = "user_name"
phone = "mobile"
registered_at = { column = "created", format = "%Y-%m-%d %H:%M:%S", zone = "+08:00" }
disabled = { column = "status", when = ["0", "locked"] }
role = { column = "is_admin", admin = ["1"] }
group = { value = "rentuser" }
[secret]
column = "password"
kind = "md5"
"#;

#[test]
fn the_documented_map_is_read() {
    let map = ImportMap::parse(DOCUMENTED).unwrap();
    assert_eq!((map.format, map.merge), (Format::Csv, MergeRule::None));
    assert!(map.takes(SecretKind::Md5) && map.has_secrets());
    assert_eq!(map.dialect.as_deref(), Some("cloudbox"));
    assert_eq!(map.wanted_columns(), ["user_id", "user_name", "mobile", "created", "status", "is_admin", "password"]);
    assert_eq!(map.columns.group, Some(TextColumn::Value("rentuser".to_owned())));
}

#[test]
fn a_map_without_a_secret_imports_users_without_passwords() {
    let map = ImportMap::parse("format = \"jsonl\"\n[columns]\nphone = \"p\"").unwrap();
    assert_eq!((map.has_secrets(), map.wanted_columns()), (false, vec!["p"]));
    let map =
        ImportMap::parse("\u{feff}format = \"jsonl\"\n[columns]\nphone = \"p\"\n[secret]\nkind = \"none\"").unwrap();
    assert!(!map.has_secrets());
}

/// A map that is complete but for one line.
fn parse_with(line: &str, columns: &str, secret: &str) -> Result<ImportMap, MapError> {
    ImportMap::parse(&format!("format = \"csv\"\n{line}\n[columns]\nid = \"id\"\n{columns}\n[secret]\n{secret}"))
}

#[test]
fn faults_name_the_key_and_the_remedy() {
    let md5 = "column = \"p\"\nkind = \"md5\"";
    for (line, columns, secret, key, remedy) in [
        ("merge = \"name\"", "phone = \"p\"", md5, "merge", "\"username\""),
        ("merge = \"email\"", "phone = \"p\"", md5, "merge", "name its column"),
        ("encoding = \"klingon\"", "phone = \"p\"", md5, "encoding", "gb18030"),
        ("delimiter = \"ab\"", "phone = \"p\"", md5, "delimiter", "\";\""),
        ("query = \"SELECT 1\"", "phone = \"p\"", md5, "query", "remove it"),
        ("colour = \"red\"", "phone = \"p\"", md5, "colour", "the keys are format"),
        ("", "", md5, "[columns]", "username, phone and email"),
        ("", "phone = \"\"", md5, "phone", "remove the key"),
        ("", "phone = 1", md5, "phone", "string"),
        ("", "phone = \"p\"\nmobile = \"m\"", md5, "mobile", "the keys are id"),
        ("", "phone = \"p\"\ngroup = { values = \"x\" }", md5, "values", "did you mean `value`?"),
        ("", "phone = \"p\"\ngroup = {}", md5, "group", "needs either column or value"),
        ("", "phone = \"p\"\ngroup = 7", md5, "group", "the name of a column"),
        ("", "phone = \"p\"\ndisabled = \"status\"", md5, "disabled", "when = "),
        ("", "phone = \"p\"\nrole = { value = \"root\" }", md5, "role", "\"admin\" or \"user\""),
        ("", "phone = \"p\"\nrole = { column = \"r\" }", md5, "role", "column and admin"),
        (
            "",
            "phone = \"p\"\nregistered_at = { column = \"c\", format = \"%Y\" }",
            md5,
            "registered_at",
            "zone is missing",
        ),
        (
            "",
            "phone = \"p\"\nregistered_at = { column = \"c\", format = \"%Y\", zone = \"CST\" }",
            md5,
            "registered_at",
            "\"+08:00\"",
        ),
        ("", "phone = \"p\"", "kind = \"md5\"", "secret.column", "name the column"),
        ("", "phone = \"p\"", "column = \"p\"\nkind = \"sha3\"", "sha3", "the values are clear"),
        ("", "phone = \"p\"", "column = \"p\"\nkind = \"md5\"\nsalt = \"s\"", "secret.salt", "md5ps"),
        ("", "phone = \"p\"", "column = \"p\"\nkind = []", "kind", "at least one"),
        ("", "phone = \"p\"", "column = \"p\"\nkind = 7", "kind", "a kind, or a list of kinds"),
        ("", "phone = \"p\"", "column = \"p\"\nkind = [\"md5\", \"sha3\"]", "sha3", "the values are clear"),
        ("", "phone = \"p\"", "column = \"p\"\nkind = [\"clear\", \"md5\"]", "kind", "remove one of the two"),
        ("", "phone = \"p\"", "column = \"p\"\nkind = [\"md5ps\", \"sha1\", \"md5ds\"]", "kind", "look the same"),
        ("", "phone = \"p\"", "column = \"p\"\nkind = [\"auto\", \"md5\"]\nsalt = \"s\"", "secret.salt", "md5ds"),
        ("", "phone = \"p\"", "column = \"p\"\nkind = \"none\"", "secret.column", "remove one"),
        (
            "",
            "phone = \"p\"",
            "column = \"p\"\nkind = \"md5\"\nempty = \"skip\"",
            "skip",
            "the values are refuse, none",
        ),
    ] {
        let error = parse_with(line, columns, secret).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(remedy), "{line}|{columns}|{secret}: {error}");
    }
}

#[test]
fn a_database_needs_one_select() {
    let parse = |format: &str, query: &str| {
        ImportMap::parse(&format!("format = \"{format}\"\n{query}\n[columns]\nphone = \"p\""))
    };
    let map = parse("mysql", "query = \" SELECT p FROM t ; \"").unwrap();
    assert_eq!(map.query, "SELECT p FROM t");
    assert!(parse("postgres", "query = \"with x as (select 1 as p) select p from x\"").is_ok());
    for (format, query) in [
        ("mysql", ""),
        ("sqlite", "query = \"DELETE FROM t\""),
        ("postgres", "query = \"SELECT 1; DROP TABLE t\""),
        ("postgres", "query = \"選択する\""),
        ("mysql", "query = \"SELECT 1\"\nencoding = \"gbk\""),
        ("mysql", "query = \"SELECT 1\"\ndelimiter = \";\""),
    ] {
        assert!(parse(format, query).is_err(), "{format} {query}");
    }
}

#[test]
fn only_old_ids_are_those_of_a_dialect() {
    let parse = |columns: &str| {
        ImportMap::parse(&format!("format = \"csv\"\ndialect = \"tms\"\n[columns]\nusername = \"n\"\n{columns}"))
            .unwrap()
    };
    assert_eq!(parse("id = \"i\"").old_id_dialect(), Some("tms"));
    // Rows without old ids are identified by a name, which no client has stored as an id.
    assert_eq!(parse("").old_id_dialect(), None);
}
