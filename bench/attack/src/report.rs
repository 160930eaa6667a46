//! What was tried and what got through.

use std::io::Result as Sent;

use serde_json::{Value, json};
use stele_bench_kit::{Response, format_table};

use crate::target::Target;

/// The row about the programs themselves.
pub(crate) const HEALTH_CHECK_NAME: &str = "panics and ends of programs";

/// What became of one attack.
#[derive(Clone, Debug)]
pub(crate) struct AttackResult {
    attack: String,
    target: String,
    /// Requests sent.
    pub sent: u64,
    /// Requests that were refused as they should be.
    pub rejected: u64,
    /// What should not have been let through, and was.
    pub let_through: u64,
    /// Answers of 500 and above, and requests that were not answered at all.
    pub server_errors: u64,
    /// What did not work although it should: then the attack proves nothing.
    pub failed_preconditions: Vec<String>,
    /// What else there is to say.
    pub note: String,
}

impl AttackResult {
    pub(crate) fn new(attack: &str, fleet: &Target) -> Self {
        Self {
            attack: attack.to_owned(),
            target: fleet.name().to_owned(),
            sent: 0,
            rejected: 0,
            let_through: 0,
            server_errors: 0,
            failed_preconditions: Vec::new(),
            note: String::new(),
        }
    }

    /// With a note before what else there is to say.
    #[must_use]
    pub(crate) fn with_note(mut self, note: impl AsRef<str>) -> Self {
        self.note = format!("{} {}", note.as_ref(), self.note).trim().to_owned();
        self
    }

    /// There was no time for it.
    #[must_use]
    pub(crate) fn skipped(self) -> Self {
        self.with_failed_precondition("left out: out of time")
    }

    /// It proves nothing, for this reason.
    #[must_use]
    pub(crate) fn with_failed_precondition(mut self, why: &str) -> Self {
        self.failed_preconditions.push(why.to_owned());
        self
    }

    /// Counts a request. Gives the answer, if there is one that is no fault.
    pub(crate) fn count(&mut self, sent: Sent<Response>) -> Option<Response> {
        self.sent += 1;
        match sent {
            Ok(answer) if answer.status < 500 => Some(answer),
            Ok(answer) => {
                self.add_server_error(&format!("{}: {}", answer.status, answer.text()));
                None
            }
            Err(error) => {
                self.add_server_error(&format!("no answer: {error}"));
                None
            }
        }
    }

    fn add_server_error(&mut self, what: &str) {
        self.server_errors += 1;
        // The first of them will do to find out why.
        if self.server_errors == 1 {
            self.note = format!("{what} {}", self.note).trim().to_owned();
        }
    }

    /// What must work, works.
    pub(crate) fn require(&mut self, what: &str, so: bool) {
        if !so && !self.failed_preconditions.iter().any(|other| other == what) {
            self.failed_preconditions.push(what.to_owned());
        }
    }

    fn result_text(&self) -> &'static str {
        match (self.let_through + self.server_errors, self.failed_preconditions.is_empty()) {
            (0, true) => "held",
            (0, false) => "PROVES NOTHING",
            _ if self.let_through > 0 => "GOT THROUGH",
            _ => "FAULTS",
        }
    }

    fn note_text(&self) -> String {
        if self.failed_preconditions.is_empty() {
            self.note.clone()
        } else {
            format!("{} [{}]", self.note, self.failed_preconditions.join("; "))
        }
    }
}

/// What became of all attacks.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<AttackResult>);

impl Report {
    pub(crate) fn add(&mut self, row: AttackResult) {
        eprintln!("{}: {}: {} ({})", row.target, row.attack, row.result_text(), row.note_text());
        self.0.push(row);
    }

    /// Whether nothing got through, nothing broke, and all that should work did.
    pub(crate) fn is_clean(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|row| row.result_text() == "held")
    }

    /// Whether nothing got through and nothing broke, whatever did not work that should.
    pub(crate) fn none_succeeded(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|row| row.let_through + row.server_errors == 0)
    }

    /// Whether every attack got through, as it should where nothing holds it.
    pub(crate) fn all_succeeded(&self) -> bool {
        self.0.iter().filter(|row| row.attack != HEALTH_CHECK_NAME).all(|row| row.let_through > 0)
    }

    pub(crate) fn table(&self) -> String {
        let numbers = ["tried", "refused", "got through", "faults"];
        let heads = ["attack", "target", "tried", "refused", "got through", "faults", "verdict", "remark"];
        let rows = self.0.iter().map(|row| {
            let number = |number: u64| number.to_string();
            vec![
                row.attack.clone(),
                row.target.clone(),
                number(row.sent),
                number(row.rejected),
                number(row.let_through),
                number(row.server_errors),
                row.result_text().to_owned(),
                row.note_text(),
            ]
        });
        let rows: Vec<_> = rows.collect();
        let sum = |of: fn(&AttackResult) -> u64| self.0.iter().map(of).sum::<u64>();
        let succeeded_text =
            if self.is_clean() { "nothing".to_owned() } else { format!("{}", sum(|row| row.let_through)) };
        format!(
            "{}\nTried: {} requests. Faults: {}. Got through: {succeeded_text}.\n",
            format_table(&heads, &numbers, &rows),
            sum(|row| row.sent),
            sum(|row| row.server_errors)
        )
    }

    pub(crate) fn json(&self) -> String {
        let rows = self.0.iter().map(|row| {
            json!({
                "attack": row.attack, "target": row.target, "tried": row.sent, "refused": row.rejected,
                "through": row.let_through, "faults": row.server_errors, "verdict": row.result_text(), "broken": row.failed_preconditions,
                "note": row.note,
            })
        });
        let report = json!({ "held": self.is_clean(), "attacks": rows.collect::<Vec<Value>>() });
        format!("{report:#}\n")
    }
}
