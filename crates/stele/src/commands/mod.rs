//! The commands of `stele`, one file each, and their output to the terminal.

pub(crate) mod admin;
pub(crate) mod app;
pub(crate) mod audit;
pub(crate) mod challenge;
pub(crate) mod check;
mod confirm;
mod demo;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod oauth;
pub(crate) mod passwords;
mod progress;
pub(crate) mod session;
pub(crate) mod sunset;
mod table;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod user;

use std::borrow::Cow;

use stele_core::Error;
use stele_service::ConfigError;
use stele_service::log_sanitizer::escape_invisible;

/// Why a command failed.
pub(crate) enum CommandError {
    /// The command line, a setting, a key, a file or a port is invalid or unavailable: exit code 2.
    Setup(ConfigError),
    /// The operation was refused or failed: exit code 1.
    Failed(String),
    /// An import is complete, and some of its rows were refused: exit code 3.
    RowsRefused,
    /// Standard output is a closed pipe (`| head`), so a listing stops before its last line: exit code 0.
    OutputClosed,
}

/// How a command prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    /// Text for people.
    Text,
    /// One JSON object per line, for scripts.
    Json,
}

impl OutputFormat {
    /// `Json` if the flag `--json` was given.
    pub(crate) fn from_json_flag(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Prints a line on standard output. A closed pipe (`| head`) is not an error, so the command completes its work.
pub(crate) fn print_line(line: &str) -> Result<(), CommandError> {
    match print_listing_line(line) {
        Err(CommandError::OutputClosed) => Ok(()),
        other => other,
    }
}

/// Escapes line breaks, tabs and terminal control sequences in a stored or received text, for a column of a listing.
pub(crate) fn escape_cell(text: &str) -> Cow<'_, str> {
    escape_invisible(text, &[])
}

/// Prints a line of a listing. A closed pipe ends the listing: [`CommandError::OutputClosed`].
pub(crate) fn print_listing_line(line: &str) -> Result<(), CommandError> {
    use std::io::Write as _;
    // Stored text must not reach the terminal as a control sequence.
    match writeln!(std::io::stdout().lock(), "{}", escape_invisible(line, &['\t', '\n'])) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(CommandError::OutputClosed),
        Err(error) => Err(CommandError::Failed(format!("standard output cannot be written: {error}"))),
        Ok(()) => Ok(()),
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::Setup(error)
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(option) => Self::Setup(ConfigError::new(format!("{option}: invalid value; see --help"))),
            other => Self::Failed(other.to_string()),
        }
    }
}
