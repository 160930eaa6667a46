//! Options of `stele sunset`: the use of dialects, brown-outs, switching a dialect off.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use stele_core::dialect_closure::MAX_BROWNOUT;
use stele_core::time::Timestamp;
use stele_service::setting;

use crate::services;

const EXAMPLES: &str = "\
Examples:
  stele sunset                                       how much each dialect, client and proof is used
  stele sunset --dialect tms --who                   who used TMS in the last 30 days, newest use first
  stele sunset --dialect tms --who --json > who.jsonl
  stele sunset brownout tms --from 2026-12-01T09:00:00+08:00 --for 30m
  stele sunset brownout tms --client kiosk --from +10m --for 5m
  stele sunset brownout list
  stele sunset off tms --unless-used-in 14d --record tms-off.txt
  stele sunset on tms

A login, a password change and a registration through an app count as a use: each opens a session. Clients are named by
the MeFP app, the TMS client token, or the User-Agent (STELE_CLIENTS); the others are called other. A use is counted
within a second, the time of a user's last use is exact to an hour, and days are those of UTC. The trend compares the
newer half of the days that are over with the older half. STELE_USE_KEEP sets how long the use is retained.";

const BROWNOUT_EXAMPLES: &str = "\
Examples:
  stele sunset brownout tms --from 2026-12-01T09:00:00+08:00 --for 30m
  stele sunset brownout tms --client kiosk --from +10m --for 5m
  stele sunset brownout list --all
  stele sunset brownout cancel 3

A request during a brown-out is answered with the dialect's own \"unavailable\" (503) and a Retry-After of the rest of
the window, at most an hour. The brown-out ends by itself. It begins on time at every instance if it is scheduled at
least 5 s ahead; a cancellation takes at most 5 s.";

const LIST_EXAMPLES: &str = "\
Examples:
  stele sunset brownout list                     what refuses requests now or will
  stele sunset brownout list --all --json | jq 'select(.state == \"over\")'

The columns are the number; brownout or off; the dialect; the client (-: every client); scheduled, active, over or
canceled; the start; the end (-: none); and the operating-system account that scheduled it. Times are in UTC.";

const SWITCH_EXAMPLES: &str = "\
Examples:
  stele sunset off tms --unless-used-in 14d --record tms-off.txt
  stele sunset off tms --after 2027-01-01T00:00:00+08:00 --yes
  stele sunset on tms

`off` shows the use of the last 30 days and asks before it changes anything. While a dialect is off, every request is
answered with its own \"unavailable\" (503). Running services follow within 5 s. Exit code 1: the condition is not met,
the question was not answered with yes, or the dialect is already off (`off`) or on (`on`).";

/// How much each dialect is used, by which clients and by whom; brown-outs; switching a dialect off.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct SunsetOptions {
    /// What to do instead of the report.
    #[command(subcommand)]
    pub action: Option<SunsetAction>,
    /// Options of the report.
    #[command(flatten)]
    pub report: UseReportOptions,
}

/// Options of the report.
#[derive(Debug, Args)]
pub struct UseReportOptions {
    /// Only these dialects, separated by commas.
    #[arg(long, value_name = "DIALECT,…", value_delimiter = ',', value_parser = parse_dialect,
        help = with_dialects("Only these dialects, separated by commas"))]
    pub dialect: Vec<String>,
    /// List the users instead, newest use first
    #[arg(long)]
    pub who: bool,
    /// The number of days that the report covers, 1 to 3650; today is the last of them
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub days: u32,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// The actions of `stele sunset`.
#[derive(Debug, Subcommand)]
pub enum SunsetAction {
    /// Refuse every request of a dialect for a while: it answers as if a store were unavailable (503)
    Brownout(BrownoutOptions),
    /// Switch a dialect off, after a preview of who would be refused
    Off(OffOptions),
    /// Switch a dialect on again
    #[command(after_help = SWITCH_EXAMPLES)]
    On {
        /// The dialect.
        #[arg(value_parser = parse_dialect, help = with_dialects("The dialect"))]
        dialect: String,
    },
}

/// Options of `stele sunset brownout`.
#[derive(Debug, Args)]
#[command(after_help = BROWNOUT_EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BrownoutOptions {
    /// What to do instead of scheduling a brown-out.
    #[command(subcommand)]
    pub action: Option<BrownoutAction>,
    /// The dialect.
    #[arg(required = true, value_parser = parse_dialect, help = with_dialects("The dialect"))]
    pub dialect: Option<String>,
    /// Only this client: a name of STELE_CLIENTS, or other [default: every client]
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,
    /// The start: now, a span from now (+30s, +10m, +2h, +1d), a time (RFC 3339) or a date (its midnight in UTC)
    #[arg(long, value_name = "TIME", required = true, value_parser = parse_start)]
    pub from: Option<StartTime>,
    /// The length, 1s to 7d: seconds, or a span such as 90s, 30m, 2h, 1d
    #[arg(long = "for", value_name = "SPAN", required = true, value_parser = parse_brownout_length)]
    pub length: Option<Duration>,
}

/// The other actions of `stele sunset brownout`.
#[derive(Debug, Subcommand)]
pub enum BrownoutAction {
    /// List brown-outs and switch-offs that refuse requests now or will do so
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Also those that are over or canceled, newest first
        #[arg(long)]
        all: bool,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Cancel a brown-out, also one that has begun
    #[command(after_help = BROWNOUT_EXAMPLES)]
    Cancel {
        /// The brown-out's number in `stele sunset brownout list`
        id: i64,
    },
}

/// Options of `stele sunset off`.
#[derive(Debug, Args)]
#[command(after_help = SWITCH_EXAMPLES)]
pub struct OffOptions {
    /// The dialect.
    #[arg(value_parser = parse_dialect, help = with_dialects("The dialect"))]
    pub dialect: String,
    /// From when on: now, a span from now (+10m, +2h, +1d), a time (RFC 3339) or a date (its midnight in UTC) [default:
    /// now]
    #[arg(long, value_name = "TIME", value_parser = parse_start)]
    pub after: Option<StartTime>,
    /// Do nothing if the dialect was used within this span before now (14d, 12h; a number alone is seconds), or if the
    /// use of dialects is not recorded for that long
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    pub unless_used_in: Option<Duration>,
    /// Write a record for an auditor to this new file: the evidence, who remained, who decided, and when
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Do not ask for confirmation; needed if standard input is not a terminal
    #[arg(long)]
    pub yes: bool,
}

/// A start time given on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTime {
    /// This long after now.
    In(Duration),
    /// At this time.
    At(Timestamp),
}

impl StartTime {
    /// The point in time; a span is counted from `now`.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::In(span) => now.saturating_add(span),
            Self::At(at) => at,
        }
    }
}

fn parse_start(text: &str) -> Result<StartTime, &'static str> {
    let start = match text.strip_prefix('+') {
        _ if text == "now" => Some(StartTime::In(Duration::ZERO)),
        Some(span) => setting::parse_duration(span).map(StartTime::In),
        None => Timestamp::parse(text).map(StartTime::At),
    };
    start.ok_or("write now, +10m, a time (2026-12-01T09:00:00+08:00) or a date (2026-12-01)")
}

fn parse_span(text: &str) -> Result<Duration, &'static str> {
    let span = setting::parse_duration(text).filter(|span| !span.is_zero());
    span.ok_or("write seconds, or a span such as 90s, 15m, 12h, 30d")
}

fn parse_brownout_length(text: &str) -> Result<Duration, &'static str> {
    let length = parse_span(text)?;
    if length > MAX_BROWNOUT { Err("a brown-out is at most 7d long; use `stele sunset off`") } else { Ok(length) }
}

/// The help text of an argument that names dialects.
fn with_dialects(text: &str) -> String {
    format!("{text}: {}", services::login_dialects().join(", "))
}

fn parse_dialect(text: &str) -> Result<String, String> {
    if services::is_login_dialect(text) {
        return Ok(text.to_owned());
    }
    let is_service = services::ALL.iter().any(|service| service.name == text);
    let fault = if is_service { "users do not log in through this service" } else { "unknown" };
    Err(format!("{fault}; the dialects are {}", services::login_dialects().join(", ")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    #[test]
    fn a_start_is_now_a_span_a_time_or_a_date() {
        let at = |text| Ok(StartTime::At(Timestamp::parse(text).unwrap()));
        assert_eq!(parse_start("now"), Ok(StartTime::In(Duration::ZERO)));
        assert_eq!(parse_start("+10m"), Ok(StartTime::In(Duration::from_secs(600))));
        assert_eq!(parse_start("2026-12-01T09:00:00+08:00"), at("2026-12-01T01:00:00Z"));
        assert_eq!(parse_start("2026-12-01"), at("2026-12-01T00:00:00Z"));
        for bad in ["", "+", "10m", "tomorrow", "+-1m", "-10m"] {
            assert!(parse_start(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_login_dialects_can_be_switched_off() {
        let names = services::login_dialects();
        assert!(names.len() < services::ALL.len());
        for options in [&["off"][..], &["on"], &["brownout", "--from", "now", "--for", "1m"], &["--dialect"]] {
            let parse = |name| Args::try_parse_from([&["stele", "sunset"], options, &[name]].concat());
            for service in services::ALL {
                let result = parse(service.name).map_err(|error| error.to_string());
                assert_eq!(result.is_ok(), service.is_login_dialect(), "{options:?} {}: {result:?}", service.name);
                if let Err(error) = result {
                    assert!(error.contains("users do not log in through this service"), "{error}");
                    assert!(error.contains(&format!("the dialects are {}", names.join(", "))), "{error}");
                }
            }
            assert!(parse("tsm").is_err_and(|error| error.to_string().contains("unknown; the dialects are cloudbox")));
        }
    }

    #[test]
    fn a_brownout_has_a_second_to_seven_days() {
        assert!(parse_brownout_length("1s").is_ok() && parse_brownout_length("7d").is_ok());
        assert!(parse_brownout_length("0").is_err() && parse_brownout_length("604801").is_err());
    }
}
