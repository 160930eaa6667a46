//! Options of `stele audit`, which reads the audit log.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use stele_core::audit_log::{FailureClass, SUPPRESSED_FAILURES, VARIOUS_ACTIONS};
use stele_core::event::{Action, Outcome};
use stele_core::time::Timestamp;
use stele_service::setting;

const EXAMPLES: &str = "\
Examples:
  stele audit                                    the last 24 hours, oldest first
  stele audit --failed --since 1h                failures of the last hour
  stele audit --user mark --since 30d            entries about one user
  stele audit --act login --result wrong_password,too_many --address 192.0.2.7
  stele audit --all --json > audit.jsonl         the whole audit log, one JSON object per line
  stele audit --request 4f1c…                    the entries of one request, by its id from another log

An action is in the audit log within a second. The first of repeated failures has an entry of its own. Further ones
within a minute are merged into one entry: it has their number and the time of the first (wrong_password×12 since …),
the time of the last, and the address of one of them. STELE_AUDIT_ORIGIN, STELE_AUDIT_GUESSES and STELE_AUDIT_REFUSALS
limit the entries of failures per hour. Failures beyond them get no entry: one of the action not_kept has their number
and the number of their origins (4096 means 4096 or more). STELE_AUDIT_KEEP sets how long entries are retained.";

/// Read the audit log: who did what, through which dialect or command, from which address, and with which result. The
/// audit log contains no secrets.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AuditOptions {
    /// Earliest time: a duration before now (90s, 24h, 30d), a date (2026-11-25, UTC) or a time (RFC 3339) [default:
    /// 24h]
    #[arg(long, value_name = "WHEN", value_parser = parse_when)]
    pub since: Option<When>,
    /// Latest time, exclusive; in the same forms as --since
    #[arg(long, value_name = "WHEN", value_parser = parse_when)]
    pub until: Option<When>,
    /// From the oldest entry that is retained
    #[arg(long, conflicts_with = "since")]
    pub all: bool,
    /// Only about this user: a name, phone, e-mail address, id or number
    #[arg(long)]
    pub user: Option<String>,
    /// Only about the app, client token, key, OAuth client or resource server of this name
    #[arg(long, value_name = "NAME", conflicts_with = "user")]
    pub subject: Option<String>,
    /// Only these actions, separated by commas
    #[arg(long = "act", value_name = "ACTION,…", value_delimiter = ',', value_parser = parse_action)]
    pub actions: Vec<String>,
    /// Only these results, separated by commas
    #[arg(long, value_name = "RESULT,…", value_delimiter = ',', value_parser = parse_result)]
    pub result: Vec<String>,
    /// Only results other than ok
    #[arg(long, conflicts_with = "result")]
    pub failed: bool,
    /// Only through these dialects, separated by commas
    #[arg(long, value_name = "DIALECT,…", value_delimiter = ',')]
    pub dialect: Vec<String>,
    /// Only through this app
    #[arg(long)]
    pub app: Option<String>,
    /// Only from this client address; for IPv6, from its /64
    #[arg(long)]
    pub address: Option<IpAddr>,
    /// Only of the request with this id
    #[arg(long, value_name = "ID")]
    pub request: Option<String>,
    /// Only the last N matching entries
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub last: Option<u32>,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// A point in time given on the command line, relative to now or absolute.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// This long before now.
    Ago(Duration),
    /// At this time.
    At(Timestamp),
}

impl When {
    /// The point in time; a span is counted back from `now`.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(span) => now.saturating_sub(span),
            Self::At(at) => at,
        }
    }
}

fn parse_when(text: &str) -> Result<When, &'static str> {
    let at = || Timestamp::parse(text).map(When::At);
    setting::parse_duration(text)
        .map(When::Ago)
        .or_else(at)
        .ok_or("use a duration before now (90s, 24h, 30d), a date (2026-11-25) or a time (2026-11-25T08:00:00Z)")
}

fn parse_action(text: &str) -> Result<String, String> {
    let actions: Vec<_> = Action::all().map(Action::as_str).chain([VARIOUS_ACTIONS, SUPPRESSED_FAILURES]).collect();
    parse_known_word(text, &actions, "actions")
}

fn parse_result(text: &str) -> Result<String, String> {
    let classes = [FailureClass::Guess, FailureClass::Refusal].map(FailureClass::as_str);
    let results: Vec<_> = Outcome::all().map(Outcome::as_str).chain(classes).collect();
    parse_known_word(text, &results, "results")
}

/// Rejects a word that no entry of the audit log can have, because such a filter would silently match nothing.
/// `words_name` names the known words in the error: `actions`.
fn parse_known_word(text: &str, known: &[&str], words_name: &str) -> Result<String, String> {
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("unknown; the {words_name} are {}", known.join(", ")))
}
