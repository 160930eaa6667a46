//! Which database: chosen by the scheme of a URL.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::OpenError;

/// Which database users are kept in.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL URL; it may hold a password, so it is never printed as it is, and wiped when dropped.
    Postgres(Zeroizing<String>),
}

impl Target {
    /// Reads `postgres://…`, `postgresql://…`, `sqlite:PATH` or `sqlite://PATH`.
    ///
    /// # Errors
    /// [`OpenError::Target`] for anything else.
    pub fn parse(url: &str) -> Result<Self, OpenError> {
        // Only the scheme is told: what follows may hold a password.
        let (scheme, rest) = url.split_once(':').ok_or_else(|| OpenError::Target("no scheme".to_owned()))?;
        match scheme.to_ascii_lowercase().as_str() {
            "postgres" | "postgresql" if rest.starts_with("//") => Ok(Self::Postgres(Zeroizing::new(url.to_owned()))),
            "sqlite" => match rest.strip_prefix("//").unwrap_or(rest) {
                "" => Err(OpenError::Target("no path after sqlite:".to_owned())),
                path => Ok(Self::Sqlite(PathBuf::from(path))),
            },
            other => Err(OpenError::Target(format!("the scheme {other:?}"))),
        }
    }

    /// The SQLite file at `path`.
    pub fn sqlite(path: impl AsRef<Path>) -> Self {
        Self::Sqlite(path.as_ref().to_owned())
    }
}

impl fmt::Display for Target {
    /// The path, or the URL without user, password and parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => f.write_str(&redact(url)),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// Host and database of a PostgreSQL URL. Anything doubtful is left out: a password may hold `@`, `/` and `?`.
fn redact(url: &str) -> String {
    if url.to_ascii_lowercase().contains("password") {
        return "postgres://…".to_owned();
    }
    let rest = url.split_once("//").map_or("", |(_, rest)| rest);
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("postgres://{}", place.split('?').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_chooses() {
        assert_eq!(Target::parse("sqlite:var/users.db").unwrap(), Target::sqlite("var/users.db"));
        assert_eq!(Target::parse("sqlite:///var/users.db").unwrap(), Target::sqlite("/var/users.db"));
        assert!(matches!(Target::parse("postgresql://h/d").unwrap(), Target::Postgres(_)));
        for bad in ["", "users.db", "sqlite:", "mysql://u:hunter2@h/d", "postgres:h"] {
            let error = Target::parse(bad).unwrap_err().to_string();
            assert!(error.contains("postgres://") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn passwords_are_not_printed() {
        for url in [
            "postgres://u:hunter2@h:5432/d",
            "postgres://u:hunt@er2@h:5432/d?x=1",
            "postgres://u:hun?ter2@h:5432/d",
            "postgres://u:hun/ter2@h:5432/d",
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.to_string(), "postgres://h:5432/d");
            assert_eq!(format!("{target:?}"), "Target(postgres://h:5432/d)");
        }
        assert_eq!(Target::parse("postgres://h/d?user=u&password=a@b").unwrap().to_string(), "postgres://…");
        assert_eq!(Target::parse("postgres://h/d").unwrap().to_string(), "postgres://h/d");
    }
}
