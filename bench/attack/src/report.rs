//! The results of the attacks, as a table and as JSON.

use serde_json::{Value, json};
use stele_bench_kit::{Response, format_table};

use crate::target::Target;

/// The name of the check for panics and exited programs.
pub(crate) const HEALTH_CHECK_NAME: &str = "panics and exited programs";

/// The result of one attack.
#[derive(Clone, Debug)]
pub(crate) struct AttackResult {
    attack: String,
    target: String,
    /// Requests sent.
    pub sent: u64,
    /// Requests that were rejected, as they should be.
    pub rejected: u64,
    /// Requests that succeeded although they should not.
    pub let_through: u64,
    /// Responses with a status of 500 or more, and requests without a response.
    pub server_errors: u64,
    /// Conditions that did not hold, such as a legitimate request that failed. The attack then proves nothing.
    pub failed_preconditions: Vec<String>,
    /// Details for the remark column.
    pub note: String,
}

impl AttackResult {
    pub(crate) fn new(attack: &str, target: &Target) -> Self {
        Self {
            attack: attack.to_owned(),
            target: target.name().to_owned(),
            sent: 0,
            rejected: 0,
            let_through: 0,
            server_errors: 0,
            failed_preconditions: Vec::new(),
            note: String::new(),
        }
    }

    /// Prepends to the note.
    #[must_use]
    pub(crate) fn with_note(mut self, note: impl AsRef<str>) -> Self {
        self.note = format!("{} {}", note.as_ref(), self.note).trim().to_owned();
        self
    }

    /// Marks the attack as skipped for lack of time.
    #[must_use]
    pub(crate) fn skipped(self) -> Self {
        self.with_failed_precondition("skipped: out of time")
    }

    /// Adds a precondition that failed.
    #[must_use]
    pub(crate) fn with_failed_precondition(mut self, precondition: &str) -> Self {
        self.failed_preconditions.push(precondition.to_owned());
        self
    }

    /// Counts a request. Returns the response if its status is below 500.
    pub(crate) fn count(&mut self, sent: std::io::Result<Response>) -> Option<Response> {
        self.sent += 1;
        match sent {
            Ok(response) if response.status < 500 => Some(response),
            Ok(response) => {
                self.add_server_error(&format!("{}: {}", response.status, response.text()));
                None
            }
            Err(error) => {
                self.add_server_error(&format!("no response: {error}"));
                None
            }
        }
    }

    fn add_server_error(&mut self, description: &str) {
        self.server_errors += 1;
        // The first error is enough to find the cause.
        if self.server_errors == 1 {
            self.note = format!("{description} {}", self.note).trim().to_owned();
        }
    }

    /// Records the precondition as failed unless `holds`.
    pub(crate) fn require(&mut self, precondition: &str, holds: bool) {
        if !holds && !self.failed_preconditions.iter().any(|other| other == precondition) {
            self.failed_preconditions.push(precondition.to_owned());
        }
    }

    fn result_text(&self) -> &'static str {
        match (self.let_through + self.server_errors, self.failed_preconditions.is_empty()) {
            (0, true) => "held",
            (0, false) => "PROVES NOTHING",
            _ if self.let_through > 0 => "GOT THROUGH",
            _ => "SERVER ERRORS",
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

/// The results of all attacks.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<AttackResult>);

impl Report {
    pub(crate) fn add(&mut self, result: AttackResult) {
        eprintln!("{}: {}: {} ({})", result.target, result.attack, result.result_text(), result.note_text());
        self.0.push(result);
    }

    /// Whether no attack succeeded, no server error occurred, and all preconditions held.
    pub(crate) fn is_clean(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|row| row.result_text() == "held")
    }

    /// Whether no attack succeeded and no server error occurred, regardless of preconditions.
    pub(crate) fn none_succeeded(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|row| row.let_through + row.server_errors == 0)
    }

    /// Whether every attack succeeded, as expected of `--unprotected`.
    pub(crate) fn all_succeeded(&self) -> bool {
        self.0.iter().filter(|row| row.attack != HEALTH_CHECK_NAME).all(|row| row.let_through > 0)
    }

    pub(crate) fn to_table(&self) -> String {
        let numbers = ["tried", "rejected", "got through", "server errors"];
        let headings = ["attack", "target", "tried", "rejected", "got through", "server errors", "verdict", "remark"];
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
        let sum = |field: fn(&AttackResult) -> u64| self.0.iter().map(field).sum::<u64>();
        let succeeded_text =
            if self.is_clean() { "nothing".to_owned() } else { format!("{}", sum(|row| row.let_through)) };
        format!(
            "{}\nTried: {} requests. Server errors: {}. Got through: {succeeded_text}.\n",
            format_table(&headings, &numbers, &rows),
            sum(|row| row.sent),
            sum(|row| row.server_errors)
        )
    }

    pub(crate) fn to_json(&self) -> String {
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
