//! Sources: files and databases, read as a stream of records.

mod csv;
mod decode;
mod json_lines;
mod mysql;
mod postgres;
mod row_receiver;
mod sample;
mod sqlite;
mod tls;

use std::path::PathBuf;

use async_trait::async_trait;
use stele_core::mac::sha256;

pub use self::sample::{SampledColumn, SourceColumns, columns_of};
use crate::map::{Format, ImportMap};
use crate::record::Record;

/// Why a source cannot be read, with the remedy. Never with a password.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}: {cause}: check the path and the permissions of the file")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// The file has no header.
    #[error("{0} has no header line: write the names of the columns into the first line")]
    NoHeader(PathBuf),
    /// The first line of the file is a row, not a header. It may have passwords, so the message has nothing of it.
    #[error("the first line of {0} looks like data: the file needs a header line with the names of the columns")]
    DataInHeader(PathBuf),
    /// None of the map's columns is in the first line of the file. It may be a row with passwords.
    #[error(
        "the first line of {0} names none of the map's columns: the file needs a header line; else correct the names \
         in [columns], or the delimiter"
    )]
    NoColumn(PathBuf),
    /// The map names a column that the source does not have, or has twice.
    #[error("the map's {key} names the column {column:?}, which the source {fault}: its columns are {columns}")]
    Column {
        /// The key of the map.
        key: String,
        /// The column.
        column: String,
        /// What is wrong.
        fault: &'static str,
        /// The columns that the source has.
        columns: String,
    },
    /// The location is not of the format that the map names.
    #[error("{0}")]
    Location(String),
    /// The database cannot be reached, rejects the login or the query, or is lost.
    #[error("cannot read {database}: {cause}: check the address, the user, the password and the query")]
    Database {
        /// The database, without user and password.
        database: String,
        /// The error of the driver.
        cause: String,
    },
}

/// A stream of records. It reads as fast as it is asked, and holds one batch at most.
#[async_trait]
pub trait Source: Send {
    /// The next records, `limit` at most; none at the end.
    ///
    /// # Errors
    /// [`SourceError`] if the source cannot be read on.
    async fn next(&mut self, limit: usize) -> Result<Vec<Record>, SourceError>;

    /// Passes over records of a source with a fixed order.
    ///
    /// # Errors
    /// [`SourceError`] if the source cannot be read on.
    async fn skip(&mut self, records: u64) -> Result<(), SourceError> {
        let mut left = records;
        while left > 0 {
            let limit = usize::try_from(left.min(1_000)).unwrap_or(1_000);
            match self.next(limit).await?.len() {
                0 => break,
                read => left -= read as u64,
            }
        }
        Ok(())
    }

    /// How much of the source has been read, from 0 to 1; `None` if its size is not known.
    fn fraction_read(&self) -> Option<f64> {
        None
    }
}

/// Opens the source at `from`: the path of a file, or the URL of a database.
///
/// # Errors
/// [`SourceError`] if it cannot be read, or does not have the columns of the map.
pub async fn open_source(map: &ImportMap, from: &str) -> Result<Box<dyn Source>, SourceError> {
    Ok(match map.format {
        Format::Csv => Box::new(csv::CsvSource::open(file_path(from)?, map)?),
        Format::Jsonl => Box::new(json_lines::JsonLinesSource::open(file_path(from)?, map)?),
        Format::Sqlite => Box::new(sqlite::open(file_path(from)?, map)?),
        Format::Mysql => Box::new(mysql::open(from, map).await?),
        Format::Postgres => Box::new(postgres::PostgresSource::open(from, map).await?),
    })
}

/// Identifies a source, so that an interrupted import continues only with the same map and the same file or database.
///
/// # Errors
/// [`SourceError`] if the file cannot be read.
pub fn fingerprint(map_text: &str, map: &ImportMap, from: &str) -> Result<[u8; 32], SourceError> {
    let mut parts = vec![sha256(map_text.as_bytes()).to_vec()];
    if map.format.has_fixed_order() {
        let path = file_path(from)?;
        parts.push(decode::sample_of_file(&path).map_err(|cause| SourceError::Unreadable { path, cause })?);
    } else {
        parts.push(redact_url(from).into_bytes());
    }
    Ok(sha256(&parts.concat()))
}

fn file_path(from: &str) -> Result<PathBuf, SourceError> {
    if from.contains("://") {
        let fault = "is a database, but the map's format is a file; correct format";
        return Err(SourceError::Location(format!("{} {fault}", redact_url(from))));
    }
    Ok(PathBuf::from(from))
}

/// A URL without user, password and parameters.
fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    format!("{scheme}://{}", rest.split('?').next().unwrap_or_default())
}

/// Where the map's wanted columns are among those of the source.
///
/// # Errors
/// [`SourceError::Column`] for a column that is missing or doubled.
fn locate_columns(map: &ImportMap, columns: &[String]) -> Result<Vec<usize>, SourceError> {
    let locate = |wanted: &str| {
        let mut found = columns.iter().enumerate().filter(|(_, column)| column.as_str() == wanted).map(|(n, _)| n);
        match (found.next(), found.next()) {
            (Some(n), None) => Ok(n),
            (Some(_), Some(_)) => Err("has more than once; rename one of the two"),
            (None, _) => Err("does not have"),
        }
    };
    map.wanted_columns()
        .into_iter()
        .map(|wanted| {
            locate(wanted).map_err(|fault| {
                let key =
                    map.named_columns().into_iter().find(|(_, column)| *column == wanted).map_or("", |(key, _)| key);
                SourceError::Column {
                    key: key.to_owned(),
                    column: wanted.to_owned(),
                    fault,
                    columns: columns.join(", "),
                }
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_named_without_their_login() {
        for (url, expected) in [
            ("mysql://u:p@ss@h:3306/d?x=1", "mysql://h:3306/d"),
            ("postgres://h/d", "postgres://h/d"),
            ("users.csv", "users.csv"),
        ] {
            assert_eq!(redact_url(url), expected);
        }
        let error = file_path("mysql://u:hunter2@h/d").unwrap_err().to_string();
        assert!(error.contains("correct format") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn missing_and_doubled_columns_are_named_with_those_that_exist() {
        let map = ImportMap::parse("format = \"csv\"\n[columns]\nid = \"id\"\nphone = \"tel\"").unwrap();
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(locate_columns(&map, &columns(&["tel", "x", "id"])).unwrap(), [2, 0]);
        let missing = locate_columns(&map, &columns(&["id", "phone"])).unwrap_err().to_string();
        assert!(missing.contains("phone names the column \"tel\"") && missing.contains("id, phone"), "{missing}");
        let doubled = locate_columns(&map, &columns(&["id", "tel", "tel"])).unwrap_err().to_string();
        assert!(doubled.contains("more than once"), "{doubled}");
    }
}
