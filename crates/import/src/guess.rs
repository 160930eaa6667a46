//! Proposes a map from the names of a source's columns.

use stele_core::import::Field;

use crate::map::Format;
use crate::source::SourceColumns;

/// Names that columns have in the tables that people migrate from, without case, `_` and `-`. The first match wins.
const NAMES: [(Field, &[&str]); 19] = [
    (Field::Id, &["userid", "uid", "id", "memberid", "accountid"]),
    (Field::Uuid, &["uuid", "guid"]),
    (Field::AliasId, &["useraliasid", "aliasid"]),
    (Field::Number, &["gid"]),
    (Field::Username, &["username", "userlogin", "loginname", "login", "account", "name", "useraccount"]),
    (
        Field::Phone,
        &["phone", "mobile", "phonenumber", "userphone", "mobilephone", "cellphone", "tel", "telephone", "手机"],
    ),
    (Field::Email, &["email", "useremail", "mail", "emailaddress", "邮箱"]),
    (
        Field::RegisteredAt,
        &["registeredat", "createdat", "regdate", "datejoined", "userregistered", "createtime", "created", "regtime"],
    ),
    (Field::Disabled, &["disabled", "isactive", "status", "locked", "userstatus", "state"]),
    (Field::Role, &["role", "isadmin", "isstaff", "issuperuser", "adminid"]),
    (Field::RealName, &["realname", "userrealname", "fullname", "姓名"]),
    (Field::Gender, &["gender", "usergender", "sex", "性别"]),
    (Field::Nickname, &["nickname", "usernickname", "displayname", "nick", "昵称"]),
    (Field::AvatarUrl, &["avatarurl", "avatar", "headimg", "headimgurl"]),
    (Field::Enterprise, &["enterprise", "enterpriseid"]),
    (Field::Group, &["group", "groupname"]),
    (Field::Organization, &["organization", "organizationname", "orgname", "company"]),
    (Field::Department, &["department", "departmentname", "dept"]),
    (Field::OrgId, &["orgid"]),
];
const SECRETS: &[&str] = &["password", "userpass", "passwd", "pwd", "passwordhash", "pass", "密码"];
const SALTS: &[&str] = &["salt", "passwordsalt", "ecsalt"];

/// The text of a map for these columns, with comments on what cannot be seen from their names. It is complete TOML, but
/// has to be read before it is used.
pub fn guess_map(source: &SourceColumns) -> String {
    let SourceColumns { format, query, columns } = source;
    let find = |names: &[&str]| names.iter().find_map(|name| columns.iter().find(|column| fold(column) == *name));
    let format_name = match format {
        Format::Csv => "csv",
        Format::Jsonl => "jsonl",
        Format::Sqlite => "sqlite",
        Format::Mysql => "mysql",
        Format::Postgres => "postgres",
    };
    let mut lines = vec![
        "# Proposed from the names of the columns: check every line, then run `stele import check` with --prove."
            .to_owned(),
        format!("format = \"{format_name}\""),
        "# dialect = \"cloudbox\"  # whose old ids these are".to_owned(),
        "merge = \"none\"".to_owned(),
    ];
    lines.extend(query.as_deref().map(|query| format!("query = {}", quote(query))));
    lines.push("[columns]".to_owned());
    let mut used = Vec::new();
    for (field, names) in NAMES {
        match find(names).filter(|column| !used.contains(column)) {
            Some(column) => {
                used.push(column);
                lines.push(line_for(field, column));
            }
            None if matches!(field, Field::Username | Field::Phone | Field::Email) => {
                lines.push(format!("# {} = \"…\"", field.as_str()));
            }
            None => {}
        }
    }
    lines.push("[secret]".to_owned());
    lines.extend(secret_lines(find(SECRETS), find(SALTS)));
    lines.join("\n") + "\n"
}

fn line_for(field: Field, column: &str) -> String {
    let (key, column) = (field.as_str(), quote(column));
    match field {
        Field::RegisteredAt => format!(
            "{key} = {{ column = {column}, format = \"%Y-%m-%d %H:%M:%S\", zone = \"+08:00\" }}  # or \"rfc3339\", \"unix\", \"unix_ms\""
        ),
        Field::Disabled => {
            format!("# {key} = {{ column = {column}, when = [\"0\"] }}  # the values that mean disabled")
        }
        Field::Role => {
            format!("# {key} = {{ column = {column}, admin = [\"1\"] }}  # the values that mean administrator")
        }
        _ => format!("{key} = {column}"),
    }
}

fn secret_lines(secret: Option<&String>, salt: Option<&String>) -> Vec<String> {
    let Some(secret) = secret else {
        return vec!["kind = \"none\"  # no column looks like a password".to_owned()];
    };
    let column = format!("column = {}", quote(secret));
    match salt {
        Some(salt) => vec![
            column,
            "kind = \"md5ps\"  # md5(password + salt); md5sp for md5(salt + password)".to_owned(),
            format!("salt = {}", quote(salt)),
        ],
        None => vec![column, "kind = \"md5\"  # or clear, md5ps, md5sp, bcrypt, argon2, none".to_owned()],
    }
}

/// A TOML string.
fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn fold(column: &str) -> String {
    column.to_lowercase().replace(['_', '-', ' '], "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{ImportMap, SecretKind};

    fn guess(columns: &[&str]) -> (String, ImportMap) {
        let columns: Vec<_> = columns.iter().map(|column| (*column).to_owned()).collect();
        let text = guess_map(&SourceColumns { format: Format::Csv, query: None, columns });
        let map = ImportMap::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        (text, map)
    }

    #[test]
    fn likely_tables_are_recognized() {
        // cloudbox, WordPress, Django, Discuz.
        let (_, map) = guess(&["user_id", "user_name", "password", "mobile", "created"]);
        assert_eq!(map.wanted_columns(), ["user_id", "user_name", "mobile", "created", "password"]);
        let (_, map) = guess(&["ID", "user_login", "user_pass", "user_nicename", "user_email", "user_registered"]);
        assert_eq!(map.wanted_columns(), ["ID", "user_login", "user_email", "user_registered", "user_pass"]);
        let (text, map) = guess(&["id", "password", "is_superuser", "username", "email", "is_active", "date_joined"]);
        assert_eq!(map.wanted_columns(), ["id", "username", "email", "date_joined", "password"]);
        assert!(text.contains("# disabled = { column = \"is_active\"") && text.contains("# role ="), "{text}");
        let (_, map) = guess(&["uid", "username", "password", "salt", "email", "regdate"]);
        assert!(map.takes(SecretKind::Md5ps));
        assert_eq!(map.wanted_columns(), ["uid", "username", "email", "regdate", "password", "salt"]);
    }

    #[test]
    fn odd_names_are_quoted_and_unknown_columns_left_out() {
        let (text, map) = guess(&["手机", "User \"Name\"", "x"]);
        assert_eq!(map.wanted_columns(), ["手机"], "{text}");
        assert!(!map.has_secrets());
    }
}
