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

use stele_core::Error;
use stele_web::ConfigError;

/// Why a command was not done.
pub(crate) enum CommandError {
    /// The command line, a setting, a key, a file or a port is at fault: exit code 2.
    Setup(ConfigError),
    /// What was asked cannot be done: exit code 1.
    Refused(String),
    /// Whoever reads the output has read enough (`| head`): not a fault.
    Enough,
}

/// Prints a line on standard output.
pub(crate) fn say(line: &str) -> Result<(), CommandError> {
    use std::io::Write as _;
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(CommandError::Enough),
        Err(error) => Err(CommandError::Refused(format!("standard output cannot be written: {error}"))),
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
            other => Self::Refused(other.to_string()),
        }
    }
}
