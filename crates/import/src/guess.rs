//! Proposes a map from the names of a source's columns and the values of its first rows.

mod values;

use stele_core::import::Field;

use self::values::{
    are_digits, are_phones, are_uuids, distinct, flag_values, guess_kinds, guess_time_format, has_undecoded,
    values_among,
};
use crate::map::Format;
use crate::source::{SampledColumn, SourceColumns};

/// Names that columns have in the tables that people migrate from, without case, `_` and `-`. The first match wins.
const NAMES: [(Field, &[&str]); 19] = [
    (Field::Id, IDS),
    (Field::Uuid, &["uuid", "guid"]),
    (Field::AliasId, &["useraliasid", "aliasid"]),
    (Field::Number, &["gid"]),
    (Field::Username, LOGINS),
    (
        Field::Phone,
        &["phone", "mobile", "phonenumber", "userphone", "mobilephone", "cellphone", "tel", "telephone", "手机"],
    ),
    (Field::Email, &["email", "useremail", "mail", "emailaddress", "邮箱"]),
    (
        Field::RegisteredAt,
        &[
            "registeredat",
            "registertime",
            "createdat",
            "regdate",
            "datejoined",
            "userregistered",
            "jointime",
            "createtime",
            "created",
            "regtime",
            "gmtcreate",
        ],
    ),
    (
        Field::Disabled,
        &[
            "disabled",
            "isactive",
            "isenabled",
            "locked",
            "islocked",
            "banned",
            "isbanned",
            "status",
            "userstatus",
            "state",
        ],
    ),
    (Field::Role, &["role", "rolename", "isadmin", "issuperuser", "isstaff", "adminid"]),
    (Field::RealName, &["realname", "userrealname", "fullname", "姓名"]),
    (Field::Gender, &["gender", "usergender", "sex", "性别"]),
    (Field::Nickname, &["nickname", "usernickname", "displayname", "nick", "昵称"]),
    (Field::AvatarUrl, &["avatarurl", "avatar", "headimg", "headimgurl"]),
    (Field::Enterprise, &["enterprise", "enterpriseid"]),
    (Field::Group, &["group", "groupname", "usergroup"]),
    (Field::Organization, &["organization", "organizationname", "orgname", "company"]),
    (Field::Department, &["department", "departmentname", "dept"]),
    (Field::OrgId, &["orgid"]),
];
const IDS: &[&str] = &["userid", "uid", "id", "memberid", "accountid"];
const LOGINS: &[&str] = &["username", "userlogin", "loginname", "login", "account", "name", "useraccount"];
const SECRETS: &[&str] =
    &["password", "userpass", "passwd", "pwd", "passwordhash", "pwdhash", "userpassword", "pass", "密码"];
const SALTS: &[&str] = &["salt", "passwordsalt", "pwdsalt", "passsalt", "ecsalt"];
/// Values of a status that mean disabled, and of a role that mean administrator.
const DISABLED_WORDS: &[&str] =
    &["disabled", "locked", "hidden", "banned", "deleted", "inactive", "frozen", "禁用", "锁定", "冻结", "已删除"];
const ADMIN_WORDS: &[&str] = &["admin", "administrator", "superadmin", "root", "管理员", "超级管理员"];
/// Columns that systems write in UTC.
const UTC_TIMES: &[&str] = &["userregistered", "datejoined"];

/// The text of a map for these columns, with comments on what cannot be seen. It is complete TOML, but has to be read
/// before it is used. No value of a password or of a person is in it, only those of a status or a role.
pub fn guess_map(source: &SourceColumns) -> String {
    let find =
        |names: &[&str]| names.iter().find_map(|name| source.columns.iter().find(|column| fold(&column.name) == *name));
    let mut lines = head_lines(source);
    lines.push("[columns]".to_owned());
    let mut used: Vec<&str> = Vec::new();
    for (field, names) in NAMES {
        let is_free = |column: &&SampledColumn| !used.contains(&column.name.as_str());
        let free = find(names).filter(is_free);
        let column = match field {
            // In systems without names, people log in by phone.
            Field::Username => free.filter(|column| !are_phones(column)),
            Field::Phone => free.or(find(LOGINS).filter(is_free).filter(|column| are_phones(column))),
            // One source may set the UUIDs.
            Field::Uuid => free.or(find(IDS).filter(|column| are_uuids(column))),
            _ => free,
        };
        match column {
            Some(column) => {
                used.push(&column.name);
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

fn head_lines(SourceColumns { format, query, delimiter, columns }: &SourceColumns) -> Vec<String> {
    let format_name = match format {
        Format::Csv => "csv",
        Format::Jsonl => "jsonl",
        Format::Sqlite => "sqlite",
        Format::Mysql => "mysql",
        Format::Postgres => "postgres",
    };
    let mut lines = vec![
        "# Proposed from the columns and the first rows: check every line, then run `stele import check` with --prove."
            .to_owned(),
        format!("format = \"{format_name}\""),
    ];
    if *format == Format::Csv && *delimiter != b',' {
        lines.push(format!("delimiter = {}", quote(&char::from(*delimiter).to_string())));
    }
    if matches!(format, Format::Csv | Format::Jsonl) && columns.iter().any(has_undecoded) {
        lines.push("encoding = \"gb18030\"  # the file is not UTF-8; or \"big5\", \"windows-1252\", …".to_owned());
    }
    lines.extend(query.as_deref().map(|query| format!("query = {}", quote(query))));
    lines.push("# dialect = \"cloudbox\"  # whose old ids these are".to_owned());
    lines.push("merge = \"none\"".to_owned());
    lines
}

fn line_for(field: Field, column: &SampledColumn) -> String {
    let (key, name) = (field.as_str(), quote(&column.name));
    match field {
        Field::RegisteredAt => time_line(column),
        Field::Disabled | Field::Role => flag_line(field, column),
        Field::Gender if are_digits(column) => {
            format!("{key} = {{ column = {name}, male = [\"1\"], female = [\"2\"] }}  # which is which?")
        }
        Field::Uuid if IDS.contains(&fold(&column.name).as_str()) => {
            format!("{key} = {name}  # the ids are UUIDs; remove this line if another source sets them")
        }
        _ => format!("{key} = {name}"),
    }
}

fn time_line(column: &SampledColumn) -> String {
    let name = quote(&column.name);
    let zone = if UTC_TIMES.contains(&fold(&column.name).as_str()) { "Z" } else { "+08:00" };
    match guess_time_format(column) {
        Some(format) if format.contains('%') => {
            format!("registered_at = {{ column = {name}, format = \"{format}\", zone = \"{zone}\" }}  # which zone?")
        }
        Some(format) => format!("registered_at = {{ column = {name}, format = \"{format}\" }}"),
        None => format!(
            "# registered_at = {{ column = {name}, format = \"%Y-%m-%d %H:%M:%S\", zone = \"{zone}\" }}  # correct the format"
        ),
    }
}

/// A status or a role: by the meaning of its name, or of its values.
fn flag_line(field: Field, column: &SampledColumn) -> String {
    let (key, name) = (field.as_str(), quote(&column.name));
    let (list, words) = match field {
        Field::Disabled => ("when", DISABLED_WORDS),
        _ => ("admin", ADMIN_WORDS),
    };
    let values = match fold(&column.name).as_str() {
        "isactive" | "isenabled" => flag_values(column, false),
        "disabled" | "locked" | "islocked" | "banned" | "isbanned" | "isadmin" | "issuperuser" | "isstaff"
        | "adminid" => flag_values(column, true),
        _ => values_among(column, words),
    };
    let list_of = |values: &[String]| values.iter().map(|value| quote(value)).collect::<Vec<_>>().join(", ");
    let seen = distinct(column);
    let comment = if seen.is_empty() { String::new() } else { format!("  # seen: {}", list_of(&seen)) };
    if values.is_empty() {
        let mark = if field == Field::Disabled { "0" } else { "1" };
        return format!("# {key} = {{ column = {name}, {list} = [\"{mark}\"] }}{comment}");
    }
    format!("{key} = {{ column = {name}, {list} = [{}] }}{comment}", list_of(&values))
}

fn secret_lines(secret: Option<&SampledColumn>, salt: Option<&SampledColumn>) -> Vec<String> {
    let Some(secret) = secret else {
        return vec!["kind = \"none\"  # no column looks like a password".to_owned()];
    };
    let guessed = guess_kinds(secret, salt);
    let kinds = match (guessed.kinds.as_slice(), salt) {
        ([], None) => vec!["md5"],
        ([], Some(_)) => vec!["md5ds"],
        (kinds, _) => kinds.to_vec(),
    };
    let is_salted = salt.is_some() && kinds.iter().any(|kind| kind.ends_with("ps") || *kind == "md5ds");
    let names: Vec<_> = kinds.iter().map(|kind| format!("\"{kind}\"")).collect();
    let kind = if names.len() == 1 { names[0].clone() } else { format!("[{}]", names.join(", ")) };
    let comment = match (is_salted, guessed.kinds.is_empty()) {
        (true, _) => {
            "  # ds: md5(md5(password) + salt); or ps: password + salt; sp: salt + password. --prove shows which"
        }
        (false, true) => "  # there are no values; see docs/import-maps",
        (false, false) => "",
    };
    let mut lines = vec![format!("column = {}", quote(&secret.name)), format!("kind = {kind}{comment}")];
    if let Some(salt) = salt.filter(|_| is_salted) {
        lines.push(format!("salt = {}", quote(&salt.name)));
    }
    if guessed.has_empty {
        lines.push("empty = \"none\"  # some rows have no password; without this line they are refused".to_owned());
    }
    if guessed.unknown > 0 {
        lines.push(format!(
            "# {} of the first rows have a password of another form: they would be refused",
            guessed.unknown
        ));
    }
    lines
}

/// A TOML string.
fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn fold(column: &str) -> String {
    column.to_lowercase().replace(['_', '-', ' '], "")
}

#[cfg(test)]
mod tests;
