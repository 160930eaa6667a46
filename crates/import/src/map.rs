//! The map: which column of a source is which field of a user, and how its values are written.

mod column;
mod fault;
mod secret_kind;
mod time_format;

use std::fmt;

use serde::Deserialize;
use stele_core::import::{Field, MergeRule};

pub(crate) use self::column::{DisabledColumn, GenderColumn, RoleColumn, TextColumn, TimeColumn};
pub use self::secret_kind::SecretKind;
pub(crate) use self::secret_kind::{EmptySecret, HexKind, SecretSpec};
pub(crate) use self::time_format::TimeFormat;

/// Why a map cannot be used: the key at fault, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MapError(pub(crate) String);

impl MapError {
    pub(crate) fn new(key: impl fmt::Display, fault: impl fmt::Display) -> Self {
        Self(format!("{key} {fault}"))
    }
}

/// The format of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values with a header line (RFC 4180, and what programs make of it).
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// An SQLite file.
    Sqlite,
    /// A MySQL or MariaDB server.
    Mysql,
    /// A PostgreSQL server.
    Postgres,
}

impl Format {
    /// Whether the source is a file whose records have a fixed order, so that an interrupted import continues where it
    /// was. Rows of a database may change their order, so they are read from the start.
    pub fn has_fixed_order(self) -> bool {
        matches!(self, Self::Csv | Self::Jsonl)
    }
}

/// `[columns]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Columns {
    pub(crate) id: Option<String>,
    pub(crate) uuid: Option<String>,
    pub(crate) alias_id: Option<String>,
    pub(crate) number: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) registered_at: Option<TimeColumn>,
    pub(crate) disabled: Option<DisabledColumn>,
    pub(crate) role: Option<RoleColumn>,
    pub(crate) gender: Option<GenderColumn>,
    pub(crate) real_name: Option<TextColumn>,
    pub(crate) nickname: Option<TextColumn>,
    pub(crate) avatar_url: Option<TextColumn>,
    pub(crate) enterprise: Option<TextColumn>,
    pub(crate) group: Option<TextColumn>,
    pub(crate) organization: Option<TextColumn>,
    pub(crate) department: Option<TextColumn>,
    pub(crate) description: Option<TextColumn>,
    pub(crate) org_id: Option<TextColumn>,
    pub(crate) memo: Option<TextColumn>,
}

/// The map as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMap {
    format: Format,
    dialect: Option<String>,
    merge: Option<String>,
    encoding: Option<String>,
    delimiter: Option<String>,
    query: Option<String>,
    columns: Columns,
    secret: Option<SecretSpec>,
}

/// The map of a source.
#[derive(Clone, Debug)]
pub struct ImportMap {
    /// The format of the source.
    pub format: Format,
    /// The dialect whose old ids these are; `None` if no dialect answers with them.
    pub dialect: Option<String>,
    /// By which identifier rows are joined to existing users.
    pub merge: MergeRule,
    pub(crate) encoding: &'static encoding_rs::Encoding,
    pub(crate) delimiter: u8,
    pub(crate) query: String,
    pub(crate) columns: Columns,
    pub(crate) secret: SecretSpec,
    /// Further columns to read, in a map that only samples a source.
    sampled: Vec<String>,
}

impl ImportMap {
    /// A map that reads columns and makes no users of them.
    pub(crate) fn for_sample(format: Format, query: &str, delimiter: u8, columns: Vec<String>) -> Self {
        Self {
            format,
            dialect: None,
            merge: MergeRule::None,
            encoding: encoding_rs::UTF_8,
            delimiter,
            query: query.to_owned(),
            columns: Columns::default(),
            secret: SecretSpec::absent(),
            sampled: columns,
        }
    }

    /// Parses a map.
    ///
    /// # Errors
    /// [`MapError`] with the key at fault and the remedy.
    pub fn parse(text: &str) -> Result<Self, MapError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let raw: RawMap = toml::from_str(text).map_err(|error| fault::describe(text, &error))?;
        let map = Self {
            format: raw.format,
            dialect: raw.dialect,
            merge: parse_merge(raw.merge.as_deref())?,
            encoding: parse_encoding(raw.encoding.as_deref(), raw.format)?,
            delimiter: parse_delimiter(raw.delimiter.as_deref(), raw.format)?,
            query: parse_query(raw.query, raw.format)?,
            columns: raw.columns,
            secret: raw.secret.unwrap_or_else(SecretSpec::absent),
            sampled: Vec::new(),
        };
        map.check_columns()?;
        map.secret.check()?;
        Ok(map)
    }

    /// The dialect whose clients know the old ids; `None` if the map names none, or no column of old ids: rows are then
    /// identified by what no dialect answers as a user id.
    pub fn old_id_dialect(&self) -> Option<&str> {
        self.dialect.as_deref().filter(|_| self.columns.id.is_some())
    }

    /// Whether the rows have secrets.
    pub fn has_secrets(&self) -> bool {
        !self.takes(SecretKind::None)
    }

    /// Whether secrets may be of this kind.
    pub fn takes(&self, kind: SecretKind) -> bool {
        self.secret.kind.contains(kind)
    }

    /// The columns of the source that the map names, each once.
    pub fn wanted_columns(&self) -> Vec<&str> {
        let mut wanted: Vec<&str> = Vec::new();
        for (_, column) in self.named_columns() {
            if !wanted.contains(&column) {
                wanted.push(column);
            }
        }
        wanted.extend(self.sampled.iter().map(String::as_str));
        wanted
    }

    /// The keys that name a column, with the column.
    pub(crate) fn named_columns(&self) -> Vec<(&'static str, &str)> {
        let Columns { id, uuid, alias_id, number, username, phone, email, .. } = &self.columns;
        let Columns { real_name, nickname, avatar_url, enterprise, group, .. } = &self.columns;
        let Columns { organization, department, description, org_id, memo, .. } = &self.columns;
        let plain = [
            (Field::Id, id),
            (Field::Uuid, uuid),
            (Field::AliasId, alias_id),
            (Field::Number, number),
            (Field::Username, username),
            (Field::Phone, phone),
            (Field::Email, email),
        ];
        let texts = [
            (Field::RealName, real_name),
            (Field::Nickname, nickname),
            (Field::AvatarUrl, avatar_url),
            (Field::Enterprise, enterprise),
            (Field::Group, group),
            (Field::Organization, organization),
            (Field::Department, department),
            (Field::Description, description),
            (Field::OrgId, org_id),
            (Field::Memo, memo),
        ];
        let others = [
            ("registered_at", self.columns.registered_at.as_ref().map(|time| time.column.as_str())),
            ("disabled", self.columns.disabled.as_ref().map(|disabled| disabled.column.as_str())),
            ("role", self.columns.role.as_ref().and_then(|role| role.column.as_deref())),
            ("gender", self.columns.gender.as_ref().map(|gender| gender.column.as_str())),
            ("secret.column", self.secret.column.as_deref()),
            ("secret.salt", self.secret.salt.as_deref()),
        ];
        let plain = plain.into_iter().map(|(field, column)| (field.as_str(), column.as_deref()));
        let texts = texts.into_iter().map(|(field, text)| (field.as_str(), text.as_ref().and_then(TextColumn::column)));
        plain.chain(texts).chain(others).filter_map(|(key, column)| Some((key, column?))).collect()
    }

    fn check_columns(&self) -> Result<(), MapError> {
        let Columns { username, phone, email, .. } = &self.columns;
        if username.is_none() && phone.is_none() && email.is_none() {
            let fault = "has no identifier; name the column of at least one of username, phone and email";
            return Err(MapError::new("[columns]", fault));
        }
        if let Some(field) = self.merge.field() {
            let is_named = self.named_columns().iter().any(|(key, _)| *key == field.as_str());
            if !is_named {
                return Err(MapError::new(
                    "merge",
                    format!("is \"{0}\", but [columns] has no {0}; name its column", field.as_str()),
                ));
            }
        }
        match self.named_columns().into_iter().find(|(_, column)| column.is_empty()) {
            Some((key, _)) => Err(MapError::new(key, "is empty; write the name of a column, or remove the key")),
            None => Ok(()),
        }
    }
}

fn parse_merge(text: Option<&str>) -> Result<MergeRule, MapError> {
    let unknown = |_| MapError::new("merge", "is not known; write \"none\", \"phone\", \"email\" or \"username\"");
    text.map_or(Ok(MergeRule::None), |text| text.parse().map_err(unknown))
}

fn parse_encoding(label: Option<&str>, format: Format) -> Result<&'static encoding_rs::Encoding, MapError> {
    let Some(label) = label else { return Ok(encoding_rs::UTF_8) };
    if !matches!(format, Format::Csv | Format::Jsonl) {
        return Err(MapError::new("encoding", "is only for files; remove it: a database declares its own"));
    }
    encoding_rs::Encoding::for_label(label.as_bytes()).ok_or_else(|| {
        MapError::new(
            "encoding",
            "is not known; write \"utf-8\", \"gb18030\", \"big5\", \"windows-1252\", \"utf-16le\", …",
        )
    })
}

fn parse_delimiter(text: Option<&str>, format: Format) -> Result<u8, MapError> {
    match (text.map(str::as_bytes), format) {
        (None, _) => Ok(b','),
        (Some(&[byte]), Format::Csv) if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(byte),
        (Some(_), Format::Csv) => {
            Err(MapError::new("delimiter", "is not one ASCII character; write \",\", \";\", \"|\" or \"\\t\""))
        }
        (Some(_), _) => Err(MapError::new("delimiter", "is only for format = \"csv\"; remove it")),
    }
}

fn parse_query(query: Option<String>, format: Format) -> Result<String, MapError> {
    let is_database = matches!(format, Format::Sqlite | Format::Mysql | Format::Postgres);
    match query {
        Some(_) if !is_database => Err(MapError::new("query", "is only for databases; remove it, or correct format")),
        None if is_database => Err(MapError::new("query", "is missing; write query = \"SELECT … FROM …\"")),
        None => Ok(String::new()),
        Some(query) => {
            let query = query.trim().trim_end_matches(';').trim_end().to_owned();
            let start = query.get(..6).unwrap_or_default().to_ascii_lowercase();
            let is_select = start.starts_with("select") || start.starts_with("with");
            if !is_select || query.contains(';') {
                return Err(MapError::new("query", "is not one SELECT; write a single SELECT without semicolons"));
            }
            Ok(query)
        }
    }
}

#[cfg(test)]
#[path = "map/tests.rs"]
mod tests;
