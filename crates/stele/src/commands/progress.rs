//! How far a long work is: a bar where someone watches, lines where a script reads.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{CommandError, print_line};

/// How often a bar is drawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How often a line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// How many characters a bar has.
const BAR_WIDTH: u64 = 30;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Bar,
    Lines,
    Json,
}

/// A work of known size under way.
pub(crate) struct Progress {
    style: Style,
    /// What is done, as a verb: `resealed`.
    verb: &'static str,
    total: u64,
    done: u64,
    started_at: Instant,
    reported_at: Instant,
}

impl Progress {
    /// Nothing done yet of `total` rows. A bar goes to standard error, if that is a terminal; all else is answered.
    pub(crate) fn new(json: bool, verb: &'static str, total: u64) -> Self {
        let style = match json {
            true => Style::Json,
            false if std::io::stderr().is_terminal() => Style::Bar,
            false => Style::Lines,
        };
        let now = Instant::now();
        Self { style, verb, total, done: 0, started_at: now, reported_at: now }
    }

    /// `some` more are done.
    pub(crate) fn add(&mut self, some: u64) {
        self.done += some;
        let every = if self.style == Style::Bar { REDRAW_INTERVAL } else { LINE_INTERVAL };
        if self.reported_at.elapsed() >= every {
            self.reported_at = Instant::now();
            // Who stops reading does not stop the work.
            let _ = self.report();
        }
    }

    /// All is done.
    pub(crate) fn finish(mut self) -> Result<(), CommandError> {
        self.total = self.done;
        self.report()?;
        if self.style == Style::Bar {
            let _ = writeln!(std::io::stderr());
        }
        Ok(())
    }

    fn report(&self) -> Result<(), CommandError> {
        let Self { style, verb, total, done, started_at: begun, .. } = self;
        // More may have come up meanwhile than there was at first.
        let total = (*total).max(*done);
        match style {
            Style::Json => print_line(&json!({ *verb: done, "of": total }).to_string()),
            Style::Lines => print_line(&format!("{verb} {done} of {total}")),
            Style::Bar => {
                let filled = (BAR_WIDTH * done).checked_div(total).unwrap_or(BAR_WIDTH);
                let bar: String = (0..BAR_WIDTH).map(|at| if at < filled { '█' } else { '░' }).collect();
                let left = begun.elapsed().as_secs() * (total - done) / (*done).max(1);
                let _ = write!(std::io::stderr(), "\r{bar} {verb} {done} of {total}, {left} s left \x1b[K");
                Ok(())
            }
        }
    }
}
