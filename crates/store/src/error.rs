//! What an administrator is told when a store cannot be opened, and how a failed query is told to the domain.

use std::path::PathBuf;

use diesel::result::{DatabaseErrorKind, Error as DbError};
use stele_core::Error;

use crate::DatabaseUrl;

/// Why a store cannot be used, and what to do about it. Never holds a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The setting names no database that Stele knows.
    #[error("not a database Stele knows ({0}): give postgres://USER:PASSWORD@HOST/NAME or sqlite:PATH")]
    InvalidDatabaseUrl(String),
    /// The certificates that `sslrootcert` names cannot be used.
    #[error("cannot use the certificates in {path}: {cause}: sslrootcert must name a readable PEM file, or be system")]
    InvalidRootCertificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A file cannot be created or written.
    #[error("cannot write {path}: {cause}: the folder must exist, and this user must be able to write there")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A file is a symbolic link, so that what is written goes elsewhere.
    #[error(
        "{0} is a symbolic link: set the path that it leads to (STELE_DATA, or STELE_DATABASE_URL=sqlite:PATH), or remove it"
    )]
    SymbolicLink(PathBuf),
    /// A file is something else.
    #[error("{0} is not an SQLite database: move it out of the way, or set another path")]
    NotADatabase(PathBuf),
    /// The schema is of a version that this program does not know.
    #[error("{0} was written by a newer Stele: update this one, or set another database")]
    NewerSchema(DatabaseUrl),
    /// The database does not answer.
    #[error("cannot use {target}: {cause}: check that it runs, the address, and who may log in")]
    Unreachable {
        /// The database.
        target: DatabaseUrl,
        /// What it says.
        cause: String,
    },
    /// The setting names no Redis that Stele knows.
    #[error(
        "not a Redis Stele knows ({0}): give redis://[USER:PASSWORD@]HOST[:PORT][/DB], \
         redis+sentinel://HOST:PORT,…/MASTER[/DB] or redis+cluster://HOST:PORT,…; rediss for TLS"
    )]
    InvalidRedisUrl(&'static str),
    /// Redis does not answer, or not as it must.
    #[error("cannot use {place}: {cause}: check that it runs, the address, and who may log in")]
    RedisUnreachable {
        /// The servers and what they are to each other, without user and password.
        place: String,
        /// What it says.
        cause: String,
    },
    /// The schema could not be brought up to date. It is as it was.
    #[error("cannot bring the schema of {target} up to date: {cause}: nothing was changed; try again")]
    MigrationFailed {
        /// The database.
        target: DatabaseUrl,
        /// What it says.
        cause: String,
    },
}

/// What a failed query is to the domain. A database that is busy, full, read-only or gone is unavailable and may be
/// back later; a row or statement that makes no sense will not get better by itself.
pub(crate) fn map_database_error(error: DbError) -> Error {
    match error {
        DbError::DatabaseError(
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::ExclusionViolation,
            _,
        )
        | DbError::DeserializationError(_)
        | DbError::SerializationError(_)
        | DbError::QueryBuilderError(_)
        | DbError::IntegerConversion(_)
        | DbError::InvalidCString(_)
        | DbError::NotFound => Error::internal(error),
        _ => Error::unavailable(error),
    }
}

/// Whether a row was not stored because one like it is there.
pub(crate) fn is_unique_violation(error: &DbError) -> bool {
    matches!(error, DbError::DatabaseError(DatabaseErrorKind::UniqueViolation, _))
}

/// A row that makes no sense: names the column, never the value.
pub(crate) fn corrupt_column(column: &'static str) -> DbError {
    DbError::DeserializationError(format!("the column {column} holds what it cannot").into())
}
