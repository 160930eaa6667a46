//! Errors: messages for operators when a store cannot be opened, and the mapping of query errors to [`Error`].

use std::path::PathBuf;

use diesel::result::{DatabaseErrorKind, Error as DbError};
use stele_core::Error;

use crate::DatabaseUrl;

/// Why a store cannot be opened, with the remedy. Never contains a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `STELE_DATABASE_URL` is not a supported database URL.
    #[error("not a supported database URL ({0}): use postgres://USER:PASSWORD@HOST/NAME or sqlite:PATH")]
    InvalidDatabaseUrl(String),
    /// The root certificates that `sslrootcert` names cannot be used.
    #[error(
        "cannot use the root certificates in {path}: {cause}: set sslrootcert to a readable PEM file, or to system"
    )]
    InvalidRootCertificates {
        /// The PEM file.
        path: PathBuf,
        /// Why it is rejected.
        cause: String,
    },
    /// A file cannot be created or written.
    #[error("cannot write {path}: {cause}: create the folder, and give this user write permission in it")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// The database file, or one that SQLite writes beside it, is a symbolic link: data would be written to its target.
    #[error(
        "{0} is a symbolic link: set the path of its target (STELE_DATA, or STELE_DATABASE_URL=sqlite:PATH), or remove it"
    )]
    SymbolicLink(PathBuf),
    /// The file is not an SQLite database.
    #[error("{0} is not an SQLite database: move the file away, or set another path")]
    NotADatabase(PathBuf),
    /// A newer version of Stele has migrated the schema.
    #[error("{0} has the schema of a newer Stele: upgrade this installation, or set another database")]
    NewerSchema(DatabaseUrl),
    /// The database cannot be reached, or rejects the login.
    #[error("cannot use {target}: {cause}: check that the database runs, its address, and the user and password")]
    Unreachable {
        /// The database.
        target: DatabaseUrl,
        /// The error of the driver.
        cause: String,
    },
    /// `STELE_REDIS_URL` is not a supported Redis URL.
    #[error(
        "not a supported Redis URL ({0}): use redis://[USER:PASSWORD@]HOST[:PORT][/DB], \
         redis+sentinel://HOST:PORT,…/MASTER[/DB] or redis+cluster://HOST:PORT,…; rediss for TLS"
    )]
    InvalidRedisUrl(&'static str),
    /// Redis cannot be reached, or rejects the login or a script.
    #[error("cannot use {url}: {cause}: check that Redis runs, its address, and the user and password")]
    RedisUnreachable {
        /// The URL without user, password and parameters.
        url: String,
        /// The error of the client.
        cause: String,
    },
    /// A migration failed and was rolled back.
    #[error("cannot migrate the schema of {target}: {cause}: nothing was changed; run the migration again")]
    MigrationFailed {
        /// The database.
        target: DatabaseUrl,
        /// The error of the migration.
        cause: String,
    },
}

/// Maps a query error: [`Error::Internal`] for an invalid row or statement, which a retry does not fix, and
/// [`Error::Unavailable`] for everything else (the database is busy, full, read-only or unreachable).
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

/// Whether an insert failed because a row with the same unique key exists.
pub(crate) fn is_unique_violation(error: &DbError) -> bool {
    matches!(error, DbError::DatabaseError(DatabaseErrorKind::UniqueViolation, _))
}

/// The error for a column with an invalid value. Names the column, never the value.
pub(crate) fn corrupt_column(column: &'static str) -> DbError {
    DbError::DeserializationError(format!("invalid value in column {column}").into())
}
