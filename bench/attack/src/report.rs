//! What was tried and what got through.

use std::io::Result as Sent;

use serde_json::{Value, json};
use stele_bench_kit::{Answer, table};

use crate::target::Fleet;

/// The row about the programs themselves.
pub(crate) const HEALTH: &str = "panics and ends of programs";

/// What became of one attack.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    attack: String,
    target: String,
    /// Requests sent.
    pub tried: u64,
    /// Requests that were refused as they should be.
    pub refused: u64,
    /// What should not have been let through, and was.
    pub through: u64,
    /// Answers of 500 and above, and requests that were not answered at all.
    pub faults: u64,
    /// What did not work although it should: then the attack proves nothing.
    pub broken: Vec<String>,
    /// What else there is to say.
    pub note: String,
}

impl Row {
    pub(crate) fn new(attack: &str, fleet: &Fleet) -> Self {
        Self {
            attack: attack.to_owned(),
            target: fleet.name().to_owned(),
            tried: 0,
            refused: 0,
            through: 0,
            faults: 0,
            broken: Vec::new(),
            note: String::new(),
        }
    }

    /// With a note before what else there is to say.
    #[must_use]
    pub(crate) fn noted(mut self, note: impl AsRef<str>) -> Self {
        self.note = format!("{} {}", note.as_ref(), self.note).trim().to_owned();
        self
    }

    /// There was no time for it.
    #[must_use]
    pub(crate) fn left_out(self) -> Self {
        self.broken("left out: out of time")
    }

    /// It proves nothing, for this reason.
    #[must_use]
    pub(crate) fn broken(mut self, why: &str) -> Self {
        self.broken.push(why.to_owned());
        self
    }

    /// Counts a request. Gives the answer, if there is one that is no fault.
    pub(crate) fn count(&mut self, sent: Sent<Answer>) -> Option<Answer> {
        self.tried += 1;
        match sent {
            Ok(answer) if answer.status < 500 => Some(answer),
            Ok(answer) => {
                self.fault(&format!("{}: {}", answer.status, answer.text()));
                None
            }
            Err(error) => {
                self.fault(&format!("no answer: {error}"));
                None
            }
        }
    }

    fn fault(&mut self, what: &str) {
        self.faults += 1;
        // The first of them will do to find out why.
        if self.faults == 1 {
            self.note = format!("{what} {}", self.note).trim().to_owned();
        }
    }

    /// What must work, works.
    pub(crate) fn works(&mut self, what: &str, so: bool) {
        if !so && !self.broken.iter().any(|other| other == what) {
            self.broken.push(what.to_owned());
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.through + self.faults, self.broken.is_empty()) {
            (0, true) => "held",
            (0, false) => "PROVES NOTHING",
            _ if self.through > 0 => "GOT THROUGH",
            _ => "FAULTS",
        }
    }

    fn remark(&self) -> String {
        if self.broken.is_empty() { self.note.clone() } else { format!("{} [{}]", self.note, self.broken.join("; ")) }
    }
}

/// What became of all attacks.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("{}: {}: {} ({})", row.target, row.attack, row.verdict(), row.remark());
        self.0.push(row);
    }

    /// Whether nothing got through, nothing broke, and all that should work did.
    pub(crate) fn held(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|row| row.verdict() == "held")
    }

    /// Whether nothing got through and nothing broke, whatever did not work that should.
    pub(crate) fn nothing_got_through(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|row| row.through + row.faults == 0)
    }

    /// Whether every attack got through, as it should where nothing holds it.
    pub(crate) fn all_got_through(&self) -> bool {
        self.0.iter().filter(|row| row.attack != HEALTH).all(|row| row.through > 0)
    }

    pub(crate) fn table(&self) -> String {
        let numbers = ["tried", "refused", "got through", "faults"];
        let heads = ["attack", "target", "tried", "refused", "got through", "faults", "verdict", "remark"];
        let rows = self.0.iter().map(|row| {
            let number = |number: u64| number.to_string();
            vec![
                row.attack.clone(),
                row.target.clone(),
                number(row.tried),
                number(row.refused),
                number(row.through),
                number(row.faults),
                row.verdict().to_owned(),
                row.remark(),
            ]
        });
        let rows: Vec<_> = rows.collect();
        let sum = |of: fn(&Row) -> u64| self.0.iter().map(of).sum::<u64>();
        let told = if self.held() { "nothing".to_owned() } else { format!("{}", sum(|row| row.through)) };
        format!(
            "{}\nTried: {} requests. Faults: {}. Got through: {told}.\n",
            table(&heads, &numbers, &rows),
            sum(|row| row.tried),
            sum(|row| row.faults)
        )
    }

    pub(crate) fn json(&self) -> String {
        let rows = self.0.iter().map(|row| {
            json!({
                "attack": row.attack, "target": row.target, "tried": row.tried, "refused": row.refused,
                "through": row.through, "faults": row.faults, "verdict": row.verdict(), "broken": row.broken,
                "note": row.note,
            })
        });
        let report = json!({ "held": self.held(), "attacks": rows.collect::<Vec<Value>>() });
        format!("{report:#}\n")
    }
}
