use stele_core::verifier::ImportedHash;

use super::*;

const MAP: &str = r#"
format = "csv"
[columns]
id = "id"
uuid = "uuid"
alias_id = "alias"
username = "name"
phone = "phone"
email = "mail"
registered_at = { column = "at", format = "%Y-%m-%d %H:%M:%S", zone = "+08:00" }
disabled = { column = "status", when = ["0", "locked"] }
role = { column = "admin", admin = ["1"] }
gender = "sex"
enterprise = "firm"
group = { value = "rentuser" }
memo = "memo"
[secret]
column = "password"
kind = "clear"
"#;

/// A row with these columns; the others are NULL.
fn read_with(map: &str, columns: &[(&str, &str)]) -> SourceRow {
    let map = ImportMap::parse(map).unwrap();
    let cell = |column: &&str| {
        columns.iter().find(|(name, _)| name == column).map_or(Cell::Null, |(_, text)| Cell::text(*text))
    };
    let cells = map.wanted_columns().iter().map(cell).collect();
    RowReader::new(&map).unwrap().read(Record { position: 1, line: Some(2), cells: Ok(cells) })
}

fn read(columns: &[(&str, &str)]) -> Result<ImportRow, Refusal> {
    let defaults = [("id", "7"), ("name", "alice"), ("password", "123456")];
    let missing = defaults.iter().filter(|(name, _)| !columns.iter().any(|(given, _)| given == name));
    let all: Vec<_> = columns.iter().chain(missing).copied().collect();
    read_with(MAP, &all).row
}

fn refusal(columns: &[(&str, &str)]) -> String {
    read(columns).err().map(Refusal::code).unwrap_or_default()
}

#[test]
fn every_field_is_read_by_the_parser_of_the_domain() {
    let row = read(&[
        ("uuid", "0B922F14-D00B-11E7-AAFD-525400BBAC8E"),
        ("alias", "0b922f14-d00b-11e7-aafd-525400bbac8f"),
        ("phone", " +86 138-0013-8000 "),
        ("mail", "A@QQ.com"),
        ("at", "2018-03-20 14:00:02"),
        ("status", "locked"),
        ("admin", "1"),
        ("sex", "男"),
        ("firm", "0b922f14d00b11e7aafd525400bbac8e"),
        ("memo", "first\r\nsecond\tline"),
    ])
    .unwrap();
    assert_eq!(row.old_id.as_str(), "7");
    assert_eq!(row.id.unwrap().to_string(), "0b922f14-d00b-11e7-aafd-525400bbac8e");
    assert_eq!(row.alias_id.as_deref(), Some("0b922f14d00b11e7aafd525400bbac8f"));
    let keys: Vec<_> = row.identifiers().map(|(_, identifier)| identifier.key().to_owned()).collect();
    assert_eq!(keys, ["alice", "13800138000", "a@qq.com"]);
    assert_eq!(row.registered_at, Timestamp::parse("2018-03-20T06:00:02Z"));
    assert_eq!((row.status, row.role), (UserStatus::Disabled, Role::Admin));
    let profile = Profile {
        gender: Some(Gender::Male),
        enterprise: "0b922f14-d00b-11e7-aafd-525400bbac8e".to_owned(),
        group: "rentuser".to_owned(),
        memo: "first second line".to_owned(),
        ..Profile::default()
    };
    assert_eq!(row.profile, profile);
    assert!(matches!(row.secret, Some(ImportedHash::Digest(_))));
}

#[test]
fn missing_and_null_values_have_defaults() {
    let row = read(&[("phone", "\\N"), ("mail", ""), ("at", "0000-00-00 00:00:00"), ("sex", "9")]).unwrap();
    assert_eq!((row.phone, row.email, row.registered_at, row.id, row.alias_id), (None, None, None, None, None));
    assert_eq!((row.status, row.role, row.profile.gender), (UserStatus::Active, Role::User, None));
}

#[test]
fn an_email_address_in_the_username_column_is_the_email_address() {
    let row = read(&[("name", "A@qq.com")]).unwrap();
    assert_eq!((row.name, row.email.unwrap().key()), (None, "a@qq.com"));
    let row = read(&[("name", "A@qq.com"), ("mail", "a@QQ.com")]).unwrap();
    assert!(row.name.is_none() && row.email.is_some());
    assert_eq!(refusal(&[("name", "a@qq.com"), ("mail", "b@qq.com")]), "malformed:username");
}

#[test]
fn faults_name_the_field() {
    let long = "x".repeat(MAX_TEXT_BYTES + 1);
    let long_id = "7".repeat(129);
    for (columns, expected) in [
        (&[("id", "")][..], "no_old_id"),
        (&[("id", &long_id)], "malformed:id"),
        (&[("name", "")], "no_identifier"),
        (&[("name", &long)], "malformed:username"),
        (&[("name", "a\u{202e}b")], "malformed:username"),
        (&[("phone", "123")], "malformed:phone"),
        (&[("phone", "1.38001E+10")], "malformed:phone"),
        (&[("mail", "alice")], "malformed:email"),
        (&[("uuid", "4")], "malformed:uuid"),
        (&[("uuid", "00000000-0000-0000-0000-000000000004")], "malformed:uuid"),
        (&[("alias", "x")], "malformed:alias_id"),
        (&[("at", "yesterday")], "malformed:registered_at"),
        (&[("firm", "ACME")], "malformed:enterprise"),
        (&[("memo", &long)], "too_long:memo"),
        (&[("memo", "a\0b")], "invisible_character:memo"),
        (&[("password", "")], "no_secret"),
    ] {
        assert_eq!(refusal(columns), expected, "{columns:?}");
    }
    assert!(read(&[("phone", "13800138000.0")]).is_ok(), "a number of a floating-point column");
}

#[test]
fn formulas_are_text() {
    let row = read(&[("name", "=cmd|' /C calc'!A0"), ("memo", "@SUM(A1)")]).unwrap();
    assert_eq!((row.name.unwrap().text(), row.profile.memo.as_str()), ("=cmd|' /C calc'!A0", "@SUM(A1)"));
}

#[test]
fn a_source_without_ids_identifies_rows_by_an_identifier() {
    let map = "format = \"csv\"\n[columns]\nusername = \"name\"\nphone = \"phone\"";
    let id_of = |columns: &[(&str, &str)]| read_with(map, columns).row.unwrap().old_id.as_str().to_owned();
    assert_eq!(id_of(&[("name", "Alice"), ("phone", "13800138000")]), "alice");
    assert_eq!(id_of(&[("phone", "+86 138 0013 8000")]), "13800138000");
    assert_eq!(read_with(map, &[]).row.err(), Some(Refusal::NoIdentifier));
}

#[test]
fn a_refused_row_keeps_its_id_for_the_report() {
    let row = read_with(MAP, &[("id", " 42 "), ("phone", "1")]);
    assert_eq!((row.old_id.as_str(), row.row.err()), ("42", Some(Refusal::Malformed(Field::Phone))));
    let map = ImportMap::parse(MAP).unwrap();
    let unreadable = Record { position: 9, line: Some(9), cells: Err(Refusal::RecordTooLong) };
    let row = RowReader::new(&map).unwrap().read(unreadable);
    assert_eq!((row.old_id.as_str(), row.row.err()), ("", Some(Refusal::RecordTooLong)));
}

#[test]
fn a_value_that_no_user_can_have_is_a_fault_of_the_map() {
    for (field, value) in [("enterprise", "ACME"), ("group", "a\u{7}b")] {
        let map = format!("format = \"csv\"\n[columns]\nphone = \"p\"\n{field} = {{ value = {value:?} }}");
        let map = map.replace("\\u{7}", "\\u0007");
        let error = RowReader::new(&ImportMap::parse(&map).unwrap()).err().unwrap().to_string();
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn a_number_is_a_whole_positive_number() {
    let map = MAP.replace("alias_id = \"alias\"", "alias_id = \"alias\"\nnumber = \"gid\"");
    let read_number = |text: &str| {
        let columns = [("id", "7"), ("name", "alice"), ("password", "123456"), ("gid", text)];
        read_with(&map, &columns).row.map(|row| row.number).map_err(Refusal::code)
    };
    for (text, number) in
        [("300007", Some(300_007)), (" 4.0 ", Some(4)), ("999999999999", Some(999_999_999_999)), ("", None)]
    {
        assert_eq!(read_number(text), Ok(number), "{text}");
    }
    for text in ["0", "-1", "+4", "1.5", "1e3", "1000000000000", "99999999999999999999", "４", "a"] {
        assert_eq!(read_number(text), Err("malformed:number".to_owned()), "{text}");
    }
}
