//! What can be typed about the audit trail.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use stele_core::audit_log::{FailureClass, SUPPRESSED_FAILURES, VARIOUS_ACTIONS};
use stele_core::event::{Action, Outcome};
use stele_core::time::Timestamp;
use stele_service::setting;

const EXAMPLES: &str = "\
Examples:
  stele audit                                    what happened in the last 24 hours, oldest first
  stele audit --failed --since 1h                what failed in the last hour
  stele audit --user mark --since 30d            what concerned one user
  stele audit --act login --result wrong_password,too_many --address 192.0.2.7
  stele audit --all --json > trail.jsonl         everything that is kept, one JSON object a line
  stele audit --request 4f1c…                    what became of the request that a log names

What happens is here within a second. Of failures that repeat, the first is; the others follow within a minute, counted in
one entry: how many since when (wrong_password×12 since …), with the time of the last and the address of one. Failures
beyond STELE_AUDIT_ORIGIN, STELE_AUDIT_GUESSES and STELE_AUDIT_REFUSALS are only counted: the act not_kept says how many,
and from how many origins (4096: or more). STELE_AUDIT_KEEP says how long entries stay.";

/// Read the audit trail: who did what, by which door, from where, and how it ended. Holds no secret.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AuditOptions {
    /// From when on: a span ago (90s, 24h, 30d), a day (2026-11-25, UTC) or an instant (RFC 3339) [default: 24h]
    #[arg(long, value_name = "WHEN", value_parser = parse_when)]
    pub since: Option<When>,
    /// Up to when, not included; written as for --since
    #[arg(long, value_name = "WHEN", value_parser = parse_when)]
    pub until: Option<When>,
    /// From the first entry on that is kept
    #[arg(long, conflicts_with = "since")]
    pub all: bool,
    /// Concerning this user: a name, phone, e-mail address, id or number
    #[arg(long)]
    pub user: Option<String>,
    /// Concerning the app, client token or key of this name
    #[arg(long, value_name = "NAME", conflicts_with = "user")]
    pub subject: Option<String>,
    /// Only these acts, by commas
    #[arg(long, value_name = "ACT,…", value_delimiter = ',', value_parser = parse_action)]
    pub act: Vec<String>,
    /// Only what ended so, by commas
    #[arg(long, value_name = "RESULT,…", value_delimiter = ',', value_parser = parse_result)]
    pub result: Vec<String>,
    /// Only what did not end in ok
    #[arg(long, conflicts_with = "result")]
    pub failed: bool,
    /// Only through these dialects, by commas
    #[arg(long, value_name = "DIALECT,…", value_delimiter = ',')]
    pub dialect: Vec<String>,
    /// Only through this app
    #[arg(long)]
    pub app: Option<String>,
    /// Only from this address; of IPv6, from its /64
    #[arg(long)]
    pub address: Option<IpAddr>,
    /// Only of this request
    #[arg(long, value_name = "ID")]
    pub request: Option<String>,
    /// Only the last N of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub last: Option<u32>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// An instant as it can be typed.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// So long ago.
    Ago(Duration),
    /// Then.
    At(Timestamp),
}

impl When {
    /// The instant, seen from `now`.
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
        .ok_or("write a span ago (90s, 24h, 30d), a day (2026-11-25) or an instant (2026-11-25T08:00:00Z)")
}

fn parse_action(text: &str) -> Result<String, String> {
    let acts: Vec<_> = Action::all().map(Action::as_str).chain([VARIOUS_ACTIONS, SUPPRESSED_FAILURES]).collect();
    parse_known_word(text, &acts, "acts")
}

fn parse_result(text: &str) -> Result<String, String> {
    let classes = [FailureClass::Guess, FailureClass::Refusal].map(FailureClass::as_str);
    let results: Vec<_> = Outcome::all().map(Outcome::as_str).chain(classes).collect();
    parse_known_word(text, &results, "results")
}

/// A word that the trail knows: one that it does not would find nothing, without a word.
fn parse_known_word(text: &str, known: &[&str], what: &str) -> Result<String, String> {
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("the {what} are {}", known.join(", ")))
}
