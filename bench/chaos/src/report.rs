//! Results of rounds: what the clients saw, what the ledger says, and a table of all scenarios.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::AnsweredSuccesses;
use crate::deployment::CliCheck;
use crate::ledger::{Effect, UnknownWrite, UnknownWriteKind, Violation};
use crate::requests::RequestSummary;

/// An instance that was restarted during the fault.
#[derive(Clone, Debug)]
pub(crate) enum RestartOutcome {
    /// It runs, and became ready by the end of the round.
    Started,
    /// It has ended, with this line in its log.
    Exited(String),
}

/// A write without a definite answer, and whether the service's log says that its outcome is unknown.
#[derive(Clone, Debug)]
pub(crate) struct ClassifiedWrite {
    pub(crate) write: UnknownWrite,
    pub(crate) is_logged: bool,
}

impl ClassifiedWrite {
    fn happened(&self) -> bool {
        self.write.effect != Effect::Nothing
    }

    fn delay(&self) -> Duration {
        match self.write.effect {
            Effect::Nothing => Duration::ZERO,
            Effect::Happened { after_at_least } => after_at_least,
        }
    }
}

/// What happened in one round of a scenario.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoundReport {
    pub(crate) scenario: &'static str,
    /// Why the round could not be run, for instance because it needs root.
    pub(crate) skipped: Option<String>,
    pub(crate) answered: AnsweredSuccesses,
    pub(crate) requests: RequestSummary,
    /// From the end of the fault until every instance was ready.
    pub(crate) ready_after: Option<Duration>,
    /// Reasons that instances gave for not being ready.
    pub(crate) reasons: Vec<String>,
    pub(crate) max_connections: u64,
    pub(crate) connection_bound: Option<u64>,
    pub(crate) cli: Vec<CliCheck>,
    pub(crate) restarts: Vec<RestartOutcome>,
    pub(crate) unknown_writes: Vec<ClassifiedWrite>,
    /// Violations of what is promised.
    pub(crate) violations: Vec<Violation>,
    /// Contradictions that the documents announce for this fault, by name: sessions lost with Redis, for instance.
    pub(crate) announced: BTreeMap<&'static str, usize>,
    pub(crate) unchecked: usize,
    /// Conditions of the scenario that did not hold.
    pub(crate) missed: Vec<String>,
    pub(crate) notes: Vec<String>,
}

impl RoundReport {
    pub(crate) fn new(scenario: &'static str) -> Self {
        Self { scenario, ..Self::default() }
    }

    /// A round that cannot be run.
    pub(crate) fn skipped(scenario: &'static str, reason: &str) -> Self {
        Self { scenario, skipped: Some(reason.to_owned()), ..Self::default() }
    }

    /// Adds the condition to the missed ones unless `holds`.
    pub(crate) fn require(&mut self, condition: &str, holds: bool) {
        if !holds {
            self.missed.push(condition.to_owned());
        }
    }

    /// Whether the ledger holds and no condition was missed.
    pub(crate) fn passed(&self) -> bool {
        self.violations.is_empty() && self.missed.is_empty()
    }

    fn lost(&self) -> usize {
        self.violations.iter().filter(|violation| violation.kind.is_loss()).count()
    }

    fn impossible(&self) -> usize {
        self.violations.len() - self.lost()
    }

    /// Answered writes, which the ledger holds.
    fn answered_writes(&self) -> usize {
        let answered = &self.answered;
        answered.registrations + answered.changes + answered.sessions_opened + answered.sessions_ended
    }

    fn unknown(&self) -> UnknownSummary {
        let mut summary = UnknownSummary::default();
        for write in &self.unknown_writes {
            if write.happened() {
                summary.happened += 1;
                summary.happened_unlogged += usize::from(!write.is_logged);
                summary.longest_delay = summary.longest_delay.max(write.delay());
            } else {
                summary.nothing += 1;
            }
        }
        summary
    }

    /// One line for the progress.
    pub(crate) fn progress_line(&self) -> String {
        if let Some(reason) = &self.skipped {
            return format!("skipped: {reason}");
        }
        let verdict =
            if self.passed() { "held".to_owned() } else { format!("NOT HELD ({})", self.faults().join("; ")) };
        format!(
            "{verdict}; {} of {} requests failed, longest outage {}; at most {} connections",
            self.requests.failed(),
            self.requests.sent,
            seconds(self.requests.longest_outage),
            self.max_connections
        )
    }

    /// Violations by kind, and missed conditions.
    fn faults(&self) -> Vec<String> {
        let mut by_kind: BTreeMap<_, usize> = BTreeMap::new();
        for violation in &self.violations {
            *by_kind.entry(violation.kind).or_default() += 1;
        }
        let violations = by_kind.into_iter().map(|(kind, count)| format!("{count} × {}", kind.name()));
        // Messages of programs may have several lines.
        let missed = self.missed.iter().map(|condition| condition.split_whitespace().collect::<Vec<_>>().join(" "));
        violations.chain(missed).collect()
    }

    fn to_json(&self) -> Value {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or_default();
        let unknown = |write: &ClassifiedWrite| {
            json!({
                "what": match write.write.what {
                    UnknownWriteKind::Change => "change",
                    UnknownWriteKind::Registration => "registration",
                },
                "request_id": write.write.request_id, "at_ms": millis(write.write.at), "took_effect": write.happened(),
                "after_at_least_ms": millis(write.delay()), "logged": write.is_logged,
            })
        };
        let violation = |violation: &Violation| {
            let (kind, at) = (violation.kind.name(), millis(violation.at));
            json!({ "kind": kind, "user": violation.user, "at_ms": at })
        };
        let restart = |restart: &RestartOutcome| match restart {
            RestartOutcome::Started => json!("started"),
            RestartOutcome::Exited(line) => json!({ "exited": line }),
        };
        let answered = &self.answered;
        json!({
            "scenario": self.scenario, "passed": self.passed(), "skipped": self.skipped,
            "answered": {
                "registrations": answered.registrations, "changes": answered.changes, "proofs": answered.proofs,
                "sessions_opened": answered.sessions_opened, "sessions_ended": answered.sessions_ended,
            },
            "requests": self.requests.sent, "failures": self.requests.failures,
            "longest_outage_ms": millis(self.requests.longest_outage), "slowest_ms": millis(self.requests.slowest),
            "ready_after_ms": self.ready_after.map(millis), "not_ready": self.reasons,
            "max_connections": self.max_connections, "connection_bound": self.connection_bound,
            "cli": self.cli.iter().map(|cli| json!({
                "succeeded": cli.succeeded, "ms": millis(cli.took), "error": cli.error,
            })).collect::<Vec<_>>(),
            "restarts": self.restarts.iter().map(restart).collect::<Vec<_>>(),
            "unknown_writes": self.unknown_writes.iter().map(unknown).collect::<Vec<_>>(),
            "violations": self.violations.iter().map(violation).collect::<Vec<_>>(),
            "announced": self.announced, "unchecked": self.unchecked, "missed": self.missed, "notes": self.notes,
        })
    }
}

/// What became of the writes of a round without a definite answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct UnknownSummary {
    nothing: usize,
    happened: usize,
    happened_unlogged: usize,
    longest_delay: Duration,
}

/// All rounds, as JSON.
pub(crate) fn to_json(rounds: &[RoundReport]) -> String {
    format!("{:#}\n", json!(rounds.iter().map(RoundReport::to_json).collect::<Vec<_>>()))
}

/// A row for each scenario, as a Markdown table. Numbers of several rounds are sums; times and connections are the
/// largest.
pub(crate) fn to_markdown(rounds: &[RoundReport]) -> String {
    let mut text =
        "| scenario | rounds | answered writes | lost | impossible | failed requests | longest outage | ready \
                    after | connections | CLI | restarts | unknown writes | verdict |\n\
                    | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- | --- | --- |\n"
            .to_owned();
    let mut names: Vec<_> = rounds.iter().map(|round| round.scenario).collect();
    names.dedup();
    for name in names {
        let of_scenario: Vec<_> = rounds.iter().filter(|round| round.scenario == name).collect();
        text += &markdown_row(name, &of_scenario);
    }
    let notes = rounds.iter().flat_map(|round| round.notes.iter().map(move |note| (round.scenario, note)));
    let mut lines: Vec<_> = notes.map(|(scenario, note)| format!("- {scenario}: {note}\n")).collect();
    lines.dedup();
    if lines.is_empty() { text } else { format!("{text}\n{}", lines.concat()) }
}

fn markdown_row(name: &str, rounds: &[&RoundReport]) -> String {
    if let Some(reason) = rounds.iter().find_map(|round| round.skipped.as_ref()) {
        return format!("| {name} | | | | | | | | | | | | skipped: {reason} |\n");
    }
    let sum = |field: fn(&RoundReport) -> usize| rounds.iter().map(|round| field(round)).sum::<usize>();
    let longest = |field: fn(&RoundReport) -> Duration| rounds.iter().map(|round| field(round)).max();
    let ready = rounds.iter().filter_map(|round| round.ready_after).max().map_or("–".to_owned(), seconds);
    let connections = rounds.iter().map(|round| round.max_connections).max().unwrap_or_default();
    let bound = rounds.iter().filter_map(|round| round.connection_bound).max();
    let bound = bound.map_or(String::new(), |bound| format!(" of {bound}"));
    let (cli, restarts) = (rounds.iter().flat_map(|round| &round.cli), rounds.iter().flat_map(|round| &round.restarts));
    let restarts: Vec<bool> = restarts.map(|restart| matches!(restart, RestartOutcome::Started)).collect();
    let mut faults: Vec<_> = rounds.iter().flat_map(|round| round.faults()).collect();
    faults.sort();
    faults.dedup();
    let passed = rounds.iter().filter(|round| round.passed()).count();
    let verdict = if faults.is_empty() { "held".to_owned() } else { format!("**{}**", faults.join("; ")) };
    format!(
        "| {name} | {passed} of {} | {} | {} | {} | {} of {} | {} | {ready} | {connections}{bound} | {} | {} | {} | \
         {verdict} |\n",
        rounds.len(),
        sum(RoundReport::answered_writes),
        sum(RoundReport::lost),
        sum(RoundReport::impossible),
        sum(|round| round.requests.failed()),
        sum(|round| round.requests.sent),
        longest(|round| round.requests.longest_outage).map_or_else(String::new, seconds),
        share(&cli.map(|check| check.succeeded).collect::<Vec<_>>()),
        share(&restarts),
        unknown_cell(rounds),
    )
}

/// How many of these succeeded.
fn share(outcomes: &[bool]) -> String {
    let succeeded = outcomes.iter().filter(|succeeded| **succeeded).count();
    if outcomes.is_empty() { "–".to_owned() } else { format!("{succeeded} of {}", outcomes.len()) }
}

fn unknown_cell(rounds: &[&RoundReport]) -> String {
    let mut all = UnknownSummary::default();
    for summary in rounds.iter().map(|round| round.unknown()) {
        all.nothing += summary.nothing;
        all.happened += summary.happened;
        all.happened_unlogged += summary.happened_unlogged;
        all.longest_delay = all.longest_delay.max(summary.longest_delay);
    }
    if all.nothing + all.happened == 0 {
        return "–".to_owned();
    }
    let mut text = format!("{} done, {} not", all.happened, all.nothing);
    if all.longest_delay > Duration::ZERO {
        text += &format!("; up to {} later", seconds(all.longest_delay));
    }
    if all.happened > 0 {
        text += &format!("; {} done without a log line", all.happened_unlogged);
    }
    text
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::ViolationKind;

    fn round(failed: usize) -> RoundReport {
        let mut round = RoundReport::new("frozen");
        round.requests.sent = 100;
        round.requests.failures.insert("503".to_owned(), failed);
        round.connection_bound = Some(80);
        round
    }

    fn unknown(effect: Effect, is_logged: bool) -> ClassifiedWrite {
        let what = UnknownWriteKind::Change;
        ClassifiedWrite { write: UnknownWrite { what, request_id: None, at: Duration::ZERO, effect }, is_logged }
    }

    #[test]
    fn rounds_of_a_scenario_are_one_row() {
        let mut worse = round(7);
        worse.max_connections = 95;
        worse.violations.push(Violation {
            kind: ViolationKind::PasswordLost,
            user: "u".to_owned(),
            at: Duration::ZERO,
        });
        worse.require("backends within the bound", false);
        let table = to_markdown(&[round(3), worse]);
        assert!(table.contains("| frozen | 1 of 2 | 0 | 1 | 0 | 10 of 200 |"), "{table}");
        assert!(table.contains("| 95 of 80 |") && table.contains("**1 × password lost; backends within"), "{table}");
        assert_eq!(table.lines().count(), 3);
    }

    #[test]
    fn unknown_writes_are_counted_by_effect_and_log() {
        let late = Effect::Happened { after_at_least: Duration::from_secs(22) };
        let mut round = round(0);
        round.unknown_writes = vec![unknown(Effect::Nothing, true), unknown(late, false), unknown(late, true)];
        assert_eq!(unknown_cell(&[&round]), "2 done, 1 not; up to 22.0 s later; 1 done without a log line");
        assert!(round.passed());
    }

    #[test]
    fn a_skipped_scenario_has_its_reason() {
        let table = to_markdown(&[RoundReport::skipped("disk-full", "needs root")]);
        assert!(table.contains("skipped: needs root"), "{table}");
    }
}
