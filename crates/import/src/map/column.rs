//! The values of `[columns]`: the name of a column, or a table that says how its values are written.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use stele_core::time::Offset;
use stele_core::user::Role;

use super::TimeFormat;

/// A field of text: a column, or the same value for every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TextColumn {
    Column(String),
    Value(String),
}

impl TextColumn {
    pub(crate) fn column(&self) -> Option<&str> {
        match self {
            Self::Column(column) => Some(column),
            Self::Value(_) => None,
        }
    }
}

/// The time of registration.
#[derive(Clone, Debug)]
pub(crate) struct TimeColumn {
    pub(crate) column: String,
    pub(crate) format: TimeFormat,
}

/// Whether a user is disabled: if the column has one of the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DisabledColumn {
    pub(crate) column: String,
    pub(crate) when: Vec<String>,
}

/// The role: `admin` if the column has one of the values, else `user`; or the same role for every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleColumn {
    pub(crate) column: Option<String>,
    pub(crate) admin: Vec<String>,
    pub(crate) value: Role,
}

/// The gender, by the values of its column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GenderColumn {
    pub(crate) column: String,
    pub(crate) male: Vec<String>,
    pub(crate) female: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextTable {
    column: Option<String>,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeTable {
    column: String,
    format: String,
    zone: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DisabledTable {
    column: String,
    when: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleTable {
    column: Option<String>,
    admin: Option<Vec<String>>,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GenderTable {
    column: String,
    male: Vec<String>,
    female: Vec<String>,
}

/// A value of `[columns]`: a string is the name of a column.
trait ColumnSpec: Sized {
    type Table: for<'de> Deserialize<'de>;

    fn from_name(column: String) -> Result<Self, String>;
    fn from_table(table: Self::Table) -> Result<Self, String>;
}

impl ColumnSpec for TextColumn {
    type Table = TextTable;

    fn from_name(column: String) -> Result<Self, String> {
        Ok(Self::Column(column))
    }

    fn from_table(table: TextTable) -> Result<Self, String> {
        match table {
            TextTable { column: Some(column), value: None } => Ok(Self::Column(column)),
            TextTable { column: None, value: Some(value) } => Ok(Self::Value(value)),
            _ => Err("needs either column or value".to_owned()),
        }
    }
}

impl ColumnSpec for TimeColumn {
    type Table = TimeTable;

    fn from_name(column: String) -> Result<Self, String> {
        Ok(Self { column, format: TimeFormat::Rfc3339 })
    }

    fn from_table(TimeTable { column, format, zone }: TimeTable) -> Result<Self, String> {
        let parse_zone = |zone: String| Offset::parse(&zone).ok_or("zone is not an offset; write \"+08:00\" or \"Z\"");
        Ok(Self { column, format: TimeFormat::parse(&format, zone.map(parse_zone).transpose()?)? })
    }
}

impl ColumnSpec for DisabledColumn {
    type Table = DisabledTable;

    fn from_name(_: String) -> Result<Self, String> {
        Err("needs the values that mean disabled; write { column = \"…\", when = [\"…\"] }".to_owned())
    }

    fn from_table(DisabledTable { column, when }: DisabledTable) -> Result<Self, String> {
        Ok(Self { column, when })
    }
}

impl ColumnSpec for RoleColumn {
    type Table = RoleTable;

    fn from_name(column: String) -> Result<Self, String> {
        Ok(Self { column: Some(column), admin: vec![Role::Admin.as_str().to_owned()], value: Role::User })
    }

    fn from_table(table: RoleTable) -> Result<Self, String> {
        match table {
            RoleTable { column: Some(column), admin: Some(admin), value: None } => {
                Ok(Self { column: Some(column), admin, value: Role::User })
            }
            RoleTable { column: None, admin: None, value: Some(value) } => {
                let value = Role::parse(&value).ok_or("value is not a role; write \"admin\" or \"user\"")?;
                Ok(Self { column: None, admin: Vec::new(), value })
            }
            _ => Err("needs either column and admin, or value".to_owned()),
        }
    }
}

impl ColumnSpec for GenderColumn {
    type Table = GenderTable;

    fn from_name(column: String) -> Result<Self, String> {
        let values = |values: [&str; 3]| values.map(str::to_owned).to_vec();
        Ok(Self { column, male: values(["男", "male", "m"]), female: values(["女", "female", "f"]) })
    }

    fn from_table(GenderTable { column, male, female }: GenderTable) -> Result<Self, String> {
        Ok(Self { column, male, female })
    }
}

struct ColumnVisitor<T>(PhantomData<T>);

impl<'de, T: ColumnSpec> Visitor<'de> for ColumnVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column, or a table such as { column = \"…\" }")
    }

    fn visit_str<E: serde::de::Error>(self, column: &str) -> Result<T, E> {
        T::from_name(column.to_owned()).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        let table = T::Table::deserialize(MapAccessDeserializer::new(map))?;
        T::from_table(table).map_err(A::Error::custom)
    }
}

macro_rules! deserialize_columns {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(ColumnVisitor::<$name>(PhantomData))
            }
        }
    )*};
}

deserialize_columns!(TextColumn, TimeColumn, DisabledColumn, RoleColumn, GenderColumn);
