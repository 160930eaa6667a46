//! What the commands do, one file each.

pub(crate) mod admin;
pub(crate) mod app;
pub(crate) mod audit;
pub(crate) mod challenge;
pub(crate) mod check;
mod demo;
pub(crate) mod keys;
mod progress;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod user;

use std::borrow::Cow;

use stele_core::Error;
use stele_service::ConfigError;
use stele_service::log_sanitizer::escape_invisible;

/// Why a command was not done.
pub(crate) enum CommandError {
    /// The command line, a setting, a key, a file or a port is at fault: exit code 2.
    Setup(ConfigError),
    /// What was asked cannot be done: exit code 1.
    Failed(String),
    /// Standard output is a closed pipe (`| head`), so a listing ends early: exit code 0.
    OutputClosed,
}

/// Prints a line on standard output. A closed pipe (`| head`) is no fault and does not stop the work.
pub(crate) fn print_line(line: &str) -> Result<(), CommandError> {
    match print_listing_line(line) {
        Err(CommandError::OutputClosed) => Ok(()),
        other => other,
    }
}

/// A text that was stored or sent, as a column of a line: one line, and nothing in it that a terminal obeys.
pub(crate) fn escape_cell(text: &str) -> Cow<'_, str> {
    escape_invisible(text, &[])
}

/// Prints a line of a listing. On a closed pipe the listing ends: [`CommandError::Enough`].
pub(crate) fn print_listing_line(line: &str) -> Result<(), CommandError> {
    use std::io::Write as _;
    // Whatever was stored, a terminal is given nothing that it obeys.
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
            Error::Invalid(option) => Self::Setup(ConfigError::new(format!("{option} is not acceptable; see --help"))),
            other => Self::Failed(other.to_string()),
        }
    }
}
