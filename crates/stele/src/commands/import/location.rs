//! Where a source is: on the command line, or in a file, since other users of the machine can read command lines.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::CommandError;

/// The path or URL of a source. `@FILE` stands for the first line of a file.
pub(super) fn resolve(from: &str) -> Result<Zeroizing<String>, CommandError> {
    let Some(path) = from.strip_prefix('@') else {
        warn_of_visible_password(from);
        return Ok(Zeroizing::new(from.to_owned()));
    };
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text =
        text.map_err(|error| super::setup_error(&format!("cannot read {path}: {error}; check the path after @")))?;
    match text.lines().next().map(str::trim) {
        None | Some("") => {
            Err(super::setup_error(&format!("{path} is empty; write a path or URL into its first line")))
        }
        Some(line) if is_database_url(line) || Path::new(line).is_file() => Ok(Zeroizing::new(line.to_owned())),
        // Not with the line: it may be a row of a file of users.
        Some(_) => Err(super::setup_error(&format!(
            "the first line of {path} is neither a URL that begins with mysql:// or postgres:// nor the path of a \
             file; correct it, or name the file of the users without @"
        ))),
    }
}

fn is_database_url(line: &str) -> bool {
    ["mysql://", "postgres://", "postgresql://"].iter().any(|scheme| line.starts_with(scheme))
}

/// A hint for people at a terminal: scripts would only see it as noise.
fn warn_of_visible_password(from: &str) {
    let login = from.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(login, _)| login);
    if login.is_some_and(|login| login.contains(':')) && std::io::stderr().is_terminal() {
        let hint =
            "every user of this machine can see the password in this command; write the URL into a file, and @FILE";
        // Not worth stopping for.
        let _ = writeln!(std::io::stderr(), "warning: {hint} in its place");
    }
}
