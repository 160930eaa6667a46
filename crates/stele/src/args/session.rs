//! Options of `stele session`, which lists and ends users' sessions.

use clap::{ArgGroup, Args, Subcommand};
use stele_core::session::TokenKey;

const EXAMPLES: &str = "\
Examples:
  stele session list mark                        who is logged in as mark, newest first
  stele session list mark --json | jq .dialect   one JSON object per line
  stele session end --user mark 8d7e1c5ab2f9     one session, by the first 12 digits of its id or more
  stele session end 8d7e1c5a…                    one session, by its full id of 64 digits
  stele session end --user mark                  all sessions of mark

The columns of the list are id, dialect, app (- if none), and the times of the login, of the last use (to within a
minute) and of the expiry unless the session is used before. At most 1,000 sessions are listed; a warning on standard
error says that there are more.

The id is a hash of the session's token. It is the claim `sid` of access tokens, and cannot be used to log in. Sessions
that ended because the password was changed or the user was disabled are not listed; `end --user USER` removes what is
stored of them, and counts them.

A session that is ended is invalid in its dialect at once. Access tokens that were issued for it are invalid at once
where they are introspected, and for at most five minutes more where they are verified offline. The user can log in
again: to prevent that, run `stele user disable` or `stele user passwd`, which also end sessions that are being opened
at that moment. Exit code 1: there is no such user or session.";

/// List and end sessions. USER is a name, phone, e-mail address, id or number.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum SessionCommand {
    /// List the valid sessions of a user, newest first
    #[command(after_help = EXAMPLES)]
    List {
        /// Name, phone, e-mail address, id or number
        user: String,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// End one session, or all sessions of a user
    End(EndSessionOptions),
}

/// Options of `stele session end`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("sessions").required(true).multiple(true).args(["user", "id"])))]
pub struct EndSessionOptions {
    /// The session's id as `stele session list` prints it: 64 hex digits; with --user, 12 or more of the first digits
    #[arg(value_parser = SessionIdPrefix::parse_option)]
    pub id: Option<SessionIdPrefix>,
    /// Name, phone, e-mail address, id or number; without an id, end all sessions of this user
    #[arg(long)]
    pub user: Option<String>,
}

/// The first hex digits of a session's id: 12 to 64, in lower case.
#[derive(Clone, Debug)]
pub struct SessionIdPrefix(String);

impl SessionIdPrefix {
    /// The least digits: enough that two sessions of a user do not have them in common by chance.
    const MIN_LENGTH: usize = 12;
    const FULL_LENGTH: usize = 64;

    fn parse_option(text: &str) -> Result<Self, &'static str> {
        let digits = text.to_ascii_lowercase();
        let is_valid = (Self::MIN_LENGTH..=Self::FULL_LENGTH).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_valid.then_some(Self(digits)).ok_or(
            "a session's id has 64 hex digits, of which --user USER accepts the first 12 or more; `stele session list \
             USER` prints it",
        )
    }

    /// The key of the session if these are all its digits.
    pub fn full_key(&self) -> Option<TokenKey> {
        TokenKey::parse(&self.0)
    }

    /// Whether the session's id begins with these digits.
    pub fn matches(&self, key: &TokenKey) -> bool {
        key.to_string().starts_with(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::{Args, Command};

    use super::*;

    fn parse(words: &[&str]) -> Option<EndSessionOptions> {
        let args = Args::try_parse_from([&["stele", "session", "end"], words].concat()).ok()?;
        match args.command {
            Command::Session(SessionCommand::End(options)) => Some(options),
            _ => None,
        }
    }

    #[test]
    fn an_empty_or_short_id_never_ends_all_sessions() {
        let full = "0123456789abcdef".repeat(4);
        for words in [&[][..], &[""], &["", "--user", "mark"], &["0123456789a", "--user", "mark"], &["0123456789ag"]] {
            assert!(parse(words).is_none(), "{words:?}");
        }
        assert!(parse(&["--user", "mark"]).is_some_and(|options| options.id.is_none()));
        let id = |words: &[&str]| parse(words).unwrap().id.unwrap();
        assert!(id(&["0123456789ab", "--user", "mark"]).full_key().is_none());
        assert_eq!(id(&[&full.to_uppercase()]).full_key().unwrap().to_string(), full);
        assert!(parse(&[&format!("{full}0")]).is_none());
        let key = TokenKey::parse(&full).unwrap();
        assert!(id(&["0123456789ab"]).matches(&key) && !id(&["123456789abc"]).matches(&key));
    }
}
