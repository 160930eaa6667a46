//! Progress of a long operation: a bar on a terminal, otherwise lines of text or JSON.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{CommandError, OutputFormat, print_line};

/// Interval between redraws of the bar.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// Interval between lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Width of the bar in characters.
const BAR_WIDTH: u64 = 30;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Bar,
    Lines,
    Json,
}

/// Progress of an operation on a known number of rows.
pub(crate) struct Progress {
    style: Style,
    /// What happens to the rows: `resealed`. Also the JSON key of the number of rows done.
    verb: &'static str,
    total: u64,
    done: u64,
    started_at: Instant,
    reported_at: Instant,
}

impl Progress {
    /// Starts at 0 of `total` rows. A bar goes to standard error if that is a terminal; lines go to standard output.
    pub(crate) fn new(format: OutputFormat, verb: &'static str, total: u64) -> Self {
        let style = match format {
            OutputFormat::Json => Style::Json,
            OutputFormat::Text if std::io::stderr().is_terminal() => Style::Bar,
            OutputFormat::Text => Style::Lines,
        };
        let now = Instant::now();
        Self { style, verb, total, done: 0, started_at: now, reported_at: now }
    }

    /// Counts `rows` more rows as done.
    pub(crate) fn add(&mut self, rows: u64) {
        self.done += rows;
        let interval = if self.style == Style::Bar { REDRAW_INTERVAL } else { LINE_INTERVAL };
        if self.reported_at.elapsed() >= interval {
            self.reported_at = Instant::now();
            // The operation continues even if its progress cannot be printed.
            let _ = self.report();
        }
    }

    /// Reports the end: all rows are done.
    pub(crate) fn finish(mut self) -> Result<(), CommandError> {
        self.total = self.done;
        self.report()?;
        if self.style == Style::Bar {
            let _ = writeln!(std::io::stderr());
        }
        Ok(())
    }

    fn report(&self) -> Result<(), CommandError> {
        let Self { style, verb, total, done, started_at, .. } = self;
        // Rows may have been added since the start.
        let total = (*total).max(*done);
        match style {
            Style::Json => print_line(&json!({ *verb: done, "of": total }).to_string()),
            Style::Lines => print_line(&format!("{verb} {done} of {total}")),
            Style::Bar => {
                let filled = (BAR_WIDTH * done).checked_div(total).unwrap_or(BAR_WIDTH);
                let bar: String = (0..BAR_WIDTH).map(|column| if column < filled { '█' } else { '░' }).collect();
                let seconds_left = started_at.elapsed().as_secs() * (total - done) / (*done).max(1);
                let _ = write!(std::io::stderr(), "\r{bar} {verb} {done} of {total}, {seconds_left} s left \x1b[K");
                Ok(())
            }
        }
    }
}
