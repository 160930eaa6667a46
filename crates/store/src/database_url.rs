//! URL of the user store: its scheme selects PostgreSQL or SQLite.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::OpenError;

/// The location of the user store.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL URL. It may contain a password: printed only in redacted form, and zeroized when dropped.
    Postgres(Zeroizing<String>),
}

impl DatabaseUrl {
    /// Parses `postgres://…`, `postgresql://…`, `sqlite:PATH` or `sqlite://PATH`. The scheme is case-insensitive.
    ///
    /// # Errors
    /// [`OpenError::InvalidDatabaseUrl`] for anything else.
    pub fn parse(url: &str) -> Result<Self, OpenError> {
        // The error names only the scheme: the rest may contain a password.
        let (scheme, after_scheme) =
            url.split_once(':').ok_or_else(|| OpenError::InvalidDatabaseUrl("no scheme".to_owned()))?;
        match scheme.to_ascii_lowercase().as_str() {
            "postgres" | "postgresql" if after_scheme.starts_with("//") => {
                Ok(Self::Postgres(Zeroizing::new(url.to_owned())))
            }
            "sqlite" => match after_scheme.strip_prefix("//").unwrap_or(after_scheme) {
                "" => Err(OpenError::InvalidDatabaseUrl("no path after sqlite:".to_owned())),
                path => Ok(Self::Sqlite(PathBuf::from(path))),
            },
            "postgres" | "postgresql" => Err(OpenError::InvalidDatabaseUrl("no // after the scheme".to_owned())),
            other => Err(OpenError::InvalidDatabaseUrl(format!("unknown scheme {other:?}"))),
        }
    }

    /// The SQLite file at `path`.
    pub fn sqlite(path: impl AsRef<Path>) -> Self {
        Self::Sqlite(path.as_ref().to_owned())
    }
}

impl fmt::Display for DatabaseUrl {
    /// Writes the path, or the URL without user, password and parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => f.write_str(&redact_postgres_url(url)),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// Reduces a PostgreSQL URL to host and database. The user information ends at the last `@`, because a password may
/// contain `@`, `/` and `?`. Of a URL that contains "password" anywhere, nothing but the scheme is returned.
fn redact_postgres_url(url: &str) -> String {
    if url.to_ascii_lowercase().contains("password") {
        return "postgres://…".to_owned();
    }
    let authority_and_path = url.split_once("//").map_or("", |(_, after)| after);
    let without_userinfo = authority_and_path.rsplit_once('@').map_or(authority_and_path, |(_, after)| after);
    format!("postgres://{}", without_userinfo.split('?').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_scheme_selects_the_database() {
        assert_eq!(DatabaseUrl::parse("sqlite:var/users.db").unwrap(), DatabaseUrl::sqlite("var/users.db"));
        assert_eq!(DatabaseUrl::parse("sqlite:///var/users.db").unwrap(), DatabaseUrl::sqlite("/var/users.db"));
        assert!(matches!(DatabaseUrl::parse("postgresql://h/d").unwrap(), DatabaseUrl::Postgres(_)));
    }

    #[test]
    fn an_invalid_url_is_rejected_without_echoing_it() {
        for bad in ["", "users.db", "sqlite:", "mysql://u:hunter2@h/d", "postgres:h"] {
            let error = DatabaseUrl::parse(bad).unwrap_err().to_string();
            assert!(error.contains("postgres://") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn passwords_are_redacted_in_display_and_debug() {
        for url in [
            "postgres://u:hunter2@h:5432/d",
            "postgres://u:hunt@er2@h:5432/d?x=1",
            "postgres://u:hun?ter2@h:5432/d",
            "postgres://u:hun/ter2@h:5432/d",
        ] {
            let parsed = DatabaseUrl::parse(url).unwrap();
            assert_eq!(parsed.to_string(), "postgres://h:5432/d");
            assert_eq!(format!("{parsed:?}"), "DatabaseUrl(postgres://h:5432/d)");
        }
        assert_eq!(DatabaseUrl::parse("postgres://h/d?user=u&password=a@b").unwrap().to_string(), "postgres://…");
        assert_eq!(DatabaseUrl::parse("postgres://h/d").unwrap().to_string(), "postgres://h/d");
    }
}
