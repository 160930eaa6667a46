//! The columns of a source and its first rows, from which a map is proposed.

use std::io::Read as _;
use std::path::Path;

use super::{SourceError, csv, json_lines, mysql, open_source, postgres, redact_url, sqlite};
use crate::map::{Format, ImportMap};
use crate::record::Cell;

/// How many rows are read.
const SAMPLED_ROWS: usize = 500;

/// What [`columns_of`] finds at a location.
pub struct SourceColumns {
    /// The format of the source.
    pub format: Format,
    /// The query that a map of a database needs; `None` for files.
    pub query: Option<String>,
    /// What separates the fields of a CSV file.
    pub delimiter: u8,
    /// The columns. JSON Lines: the keys of the first object.
    pub columns: Vec<SampledColumn>,
}

/// A column with its values in the first rows.
pub struct SampledColumn {
    /// The name.
    pub name: String,
    /// The values; none if the source has no rows, or several columns of this name.
    pub values: Vec<Cell>,
}

/// The columns of a file or of a database's `table`, for [`crate::guess_map`], with the values of the first rows.
///
/// # Errors
/// [`SourceError`] if the source cannot be read, or is a database and `table` is `None`.
pub async fn columns_of(from: &str, table: Option<&str>) -> Result<SourceColumns, SourceError> {
    let (format, path) = (format_of(from)?, Path::new(from));
    let query = match (format, table) {
        (Format::Csv | Format::Jsonl, None) => None,
        (Format::Csv | Format::Jsonl, Some(_)) => {
            let fault = "is not a database and has no tables; remove the name of the table";
            return Err(SourceError::Location(format!("{from} {fault}")));
        }
        (_, None) => {
            let fault = "is a database; name the table of the users with --table";
            return Err(SourceError::Location(format!("{} {fault}", redact_url(from))));
        }
        (format, Some(table)) => Some(format!("SELECT * FROM {}", quote_table(table, format))),
    };
    let (mut delimiter, statement) = (b',', query.as_deref().unwrap_or_default());
    let names = match format {
        Format::Csv => {
            let header = csv::header_of(path)?;
            delimiter = header.0;
            header.1
        }
        Format::Jsonl => json_lines::keys_of_first_object(path)?,
        Format::Sqlite => sqlite::columns_of_query(path, statement)?,
        Format::Mysql => mysql::columns_of_query(from, statement).await?,
        Format::Postgres => postgres::columns_of_query(from, statement).await?,
    };
    let is_unique = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let sampled: Vec<String> = names.iter().filter(|name| is_unique(name)).cloned().collect();
    let map = ImportMap::for_sample(format, statement, delimiter, sampled.clone());
    let mut columns: Vec<_> = names.into_iter().map(|name| SampledColumn { name, values: Vec::new() }).collect();
    for cells in open_source(&map, from).await?.next(SAMPLED_ROWS).await?.into_iter().filter_map(|row| row.cells.ok()) {
        for (name, cell) in sampled.iter().zip(cells) {
            columns
                .iter_mut()
                .filter(|column| column.name == *name)
                .for_each(|column| column.values.push(cell.clone()));
        }
    }
    Ok(SourceColumns { format, query, delimiter, columns })
}

/// The format of a source: by the scheme of its URL, the ending of its name, or the first bytes of an SQLite file.
fn format_of(from: &str) -> Result<Format, SourceError> {
    match from.split_once("://").map(|(scheme, _)| scheme) {
        Some("mysql") => return Ok(Format::Mysql),
        Some("postgres" | "postgresql") => return Ok(Format::Postgres),
        Some(_) => {
            let fault = "is neither a file nor a URL that begins with mysql:// or postgres://";
            return Err(SourceError::Location(format!("{} {fault}", redact_url(from))));
        }
        None => {}
    }
    let path = Path::new(from);
    let is_json = path.extension().is_some_and(|extension| extension == "jsonl" || extension == "json");
    let unreadable = |cause| SourceError::Unreadable { path: path.to_owned(), cause };
    let mut start = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(16).read_to_end(&mut start)).map_err(unreadable)?;
    Ok(match (start == b"SQLite format 3\0", is_json) {
        (true, _) => Format::Sqlite,
        (false, true) => Format::Jsonl,
        (false, false) => Format::Csv,
    })
}

/// The name of a table, or of a schema and a table, as an SQL identifier.
fn quote_table(table: &str, format: Format) -> String {
    let quote = if format == Format::Mysql { "`" } else { "\"" };
    let parts = table.split('.').map(|part| format!("{quote}{}{quote}", part.replace(quote, &quote.repeat(2))));
    parts.collect::<Vec<_>>().join(".")
}
