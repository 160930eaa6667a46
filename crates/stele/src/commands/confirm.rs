//! Confirmation of a change that is hard to take back, on the terminal.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use stele_service::ConfigError;

use super::CommandError;

/// Whether a command asks on the terminal before it changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    Ask,
    Skip,
}

impl Confirmation {
    /// `Skip` if the flag `--yes` was given.
    pub(crate) fn from_yes_flag(yes: bool) -> Self {
        if yes { Self::Skip } else { Self::Ask }
    }

    /// Asks `question`. Fails unless the answer is `yes`, or if standard input is not a terminal.
    pub(crate) fn require(self, question: &str) -> Result<(), CommandError> {
        match self {
            Self::Ask if !is_answered_yes(question)? => {
                Err(CommandError::Failed("not confirmed: nothing was changed".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

fn is_answered_yes(question: &str) -> Result<bool, CommandError> {
    if !std::io::stdin().is_terminal() {
        let text =
            "standard input is not a terminal, so the command cannot be confirmed; pass --yes to skip the confirmation";
        return Err(ConfigError::new(text).into());
    }
    let terminal_error = |e: std::io::Error| {
        ConfigError::new(format!("the terminal cannot be used ({e}); pass --yes to skip the confirmation"))
    };
    let mut stderr = std::io::stderr();
    write!(stderr, "{question} Type yes: ").and_then(|()| stderr.flush()).map_err(terminal_error)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(terminal_error)?;
    Ok(answer.trim() == "yes")
}
