//! Errors: messages for operators when a store cannot be opened, and the mapping of query errors to [`Error`].

use std::path::PathBuf;

use diesel::result::{DatabaseErrorKind, Error as DbError};
use stele_core::Error;

use crate::DatabaseUrl;

/// Why a store cannot be opened, with the remedy. The message never contains a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `STELE_DATABASE_URL` is not a supported database URL, has an unsupported parameter, or needs root certificates
    /// of the system that do not exist.
    #[error("not a supported database URL ({0}): use postgres://USER:PASSWORD@HOST/NAME or sqlite:PATH")]
    InvalidDatabaseUrl(String),
    /// The file that `sslrootcert` names cannot be read, or has no valid certificate.
    #[error(
        "cannot use the root certificates in {path}: {cause}: set sslrootcert to a readable PEM file, or to system"
    )]
    InvalidRootCertificates {
        /// The PEM file.
        path: PathBuf,
        /// Why the file is rejected.
        cause: String,
    },
    /// The database file cannot be created, read or written.
    #[error("cannot write {path}: {cause}: create the folder, and give this user write permission in the folder")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// The database file, or a file that SQLite writes beside it, is a symbolic link: data would be written to the
    /// link's target.
    #[error(
        "{0} is a symbolic link: set the path of the link's target (STELE_DATA, or STELE_DATABASE_URL=sqlite:PATH), or remove the link"
    )]
    SymbolicLink(PathBuf),
    /// The file is not an SQLite database.
    #[error("{0} is not an SQLite database: move the file away, or set another path")]
    NotADatabase(PathBuf),
    /// A newer version of Stele has migrated the schema, and declares that this version cannot use it.
    #[error(
        "{0} has the schema of a newer Stele, which this version cannot use: run a newer version, or set another \
         database"
    )]
    NewerSchema(DatabaseUrl),
    /// The database cannot be reached or opened, rejects the login, or its schema version cannot be read.
    #[error(
        "cannot use {target}: {cause}: check that the database runs, and that the address, user and password are correct"
    )]
    Unreachable {
        /// The database.
        target: DatabaseUrl,
        /// The error of the driver.
        cause: String,
    },
    /// A connection pooler gives consecutive transactions of a client different sessions.
    #[error(
        "{0} is behind a connection pooler in transaction or statement mode, which loses prepared statements and \
         settings: set pool_mode=session for this database in pgbouncer, or connect to PostgreSQL directly"
    )]
    SharedSessions(DatabaseUrl),
    /// `STELE_REDIS_URL` is not a supported Redis URL.
    #[error(
        "not a supported Redis URL ({0}): use redis://[USER:PASSWORD@]HOST[:PORT][/DB], \
         redis+sentinel://HOST:PORT,…/MASTER[/DB] or redis+cluster://HOST:PORT,…; rediss for TLS"
    )]
    InvalidRedisUrl(&'static str),
    /// Redis cannot be reached, or rejects the login or a script.
    #[error("cannot use {url}: {cause}: check that Redis runs, and that the address, user and password are correct")]
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

/// Maps a query error: [`Error::Internal`] for a violated constraint, an invalid row or an invalid statement, which a
/// retry does not fix, and [`Error::Unavailable`] for all others (the database is busy, full, read-only or
/// unreachable).
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
pub(crate) fn corrupt_column_error(column: &'static str) -> DbError {
    DbError::DeserializationError(format!("invalid value in column {column}").into())
}
