//! The way back: the users of a source with the columns of its map.

use stele_core::ports::SourceUser;
use stele_core::user::{Gender, Role, User};
use zeroize::Zeroizing;

use crate::map::{ImportMap, SecretKind};

/// The value of each of the map's [`wanted_columns`](ImportMap::wanted_columns). `digest` is `D` in hex, which is written where the map's secrets may be
/// `md5`; other secrets cannot be written back. A column that only says whether a user is disabled or an administrator is
/// empty for other users.
pub fn export_user(map: &ImportMap, user: &SourceUser, digest: Option<&str>) -> Vec<Zeroizing<String>> {
    let values = values_by_key(map, user, digest);
    let value_of = |column: &str| {
        // Several keys may name one column: the first that has a value gives it.
        let keys = map.named_columns().into_iter().filter(|(_, name)| *name == column).map(|(key, _)| key);
        keys.filter_map(|key| values.iter().find(|(name, value)| *name == key && !value.is_empty()))
            .map(|(_, value)| value.clone())
            .next()
            .unwrap_or_default()
    };
    map.wanted_columns().into_iter().map(value_of).collect()
}

fn values_by_key(map: &ImportMap, source: &SourceUser, digest: Option<&str>) -> Vec<(&'static str, Zeroizing<String>)> {
    let User { id, number, name, phone, email, registered_at, alias_id, role, disabled, profile, .. } =
        &source.account.user;
    let columns = &map.columns;
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let first = |values: &[String]| values.first().cloned().unwrap_or_default();
    let role = columns.role.as_ref().filter(|_| *role == Role::Admin).map(|spec| first(&spec.admin));
    let disabled = columns.disabled.as_ref().filter(|_| *disabled).map(|spec| first(&spec.when));
    let gender = columns.gender.as_ref().zip(profile.gender).map(|(spec, gender)| match gender {
        Gender::Male => first(&spec.male),
        Gender::Female => first(&spec.female),
    });
    let at = columns.registered_at.as_ref().map(|spec| spec.format.write(*registered_at));
    let secret = digest.filter(|_| map.takes(SecretKind::Md5)).unwrap_or_default().to_owned();
    let values = [
        ("id", source.old_id.clone()),
        ("uuid", id.to_string()),
        ("alias_id", alias_id.clone()),
        ("number", number.to_string()),
        ("username", or_empty(name)),
        ("phone", or_empty(phone)),
        ("email", or_empty(email)),
        ("registered_at", at.unwrap_or_default()),
        ("disabled", disabled.unwrap_or_default()),
        ("role", role.unwrap_or_default()),
        ("gender", gender.unwrap_or_default()),
        ("real_name", profile.real_name.clone()),
        ("nickname", profile.nickname.clone()),
        ("avatar_url", profile.avatar_url.clone()),
        ("enterprise", profile.enterprise.clone()),
        ("group", profile.group.clone()),
        ("organization", profile.organization.clone()),
        ("department", profile.department.clone()),
        ("description", profile.description.clone()),
        ("org_id", profile.org_id.clone()),
        ("memo", profile.memo.clone()),
        ("secret.column", secret),
    ];
    values.into_iter().map(|(key, value)| (key, Zeroizing::new(value))).collect()
}

/// A line of CSV (RFC 4180) with the line break.
pub fn csv_line<'a>(fields: impl IntoIterator<Item = &'a str>) -> Zeroizing<String> {
    let quote = |field: &str| {
        let needs_quotes = field.is_empty() || field.contains([',', '"', '\r', '\n']);
        if needs_quotes { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
    };
    Zeroizing::new(fields.into_iter().map(quote).collect::<Vec<_>>().join(",") + "\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_csv_needs_it() {
        assert_eq!(*csv_line(["a", "b,c", "say \"hi\"", "", "x\ny"]), "a,\"b,c\",\"say \"\"hi\"\"\",\"\",\"x\ny\"\r\n");
    }
}
