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

/// Progress of an operation on a number of rows that is known at the start and may grow.
pub(crate) struct Progress {
    style: Style,
    /// The text before the number of rows done, such as `resealed`. In JSON, it is the key of that number.
    label: &'static str,
    total: u64,
    done: u64,
    started_at: Instant,
    last_report_at: Instant,
}

impl Progress {
    /// Starts at 0 of `total` rows. If standard error is a terminal, the bar goes there; lines go to standard output.
    pub(crate) fn new(format: OutputFormat, label: &'static str, total: u64) -> Self {
        let style = match format {
            OutputFormat::Json => Style::Json,
            OutputFormat::Text if std::io::stderr().is_terminal() => Style::Bar,
            OutputFormat::Text => Style::Lines,
        };
        let now = Instant::now();
        Self { style, label, total, done: 0, started_at: now, last_report_at: now }
    }

    /// Counts `rows` more rows as done.
    pub(crate) fn add(&mut self, rows: u64) {
        self.done += rows;
        let interval = if self.style == Style::Bar { REDRAW_INTERVAL } else { LINE_INTERVAL };
        if self.last_report_at.elapsed() >= interval {
            self.last_report_at = Instant::now();
            // The operation continues even if its progress cannot be printed.
            let _ = self.report();
        }
    }

    /// Reports that all rows are done.
    pub(crate) fn finish(mut self) -> Result<(), CommandError> {
        self.total = self.done;
        self.report()?;
        if self.style == Style::Bar {
            let _ = writeln!(std::io::stderr());
        }
        Ok(())
    }

    fn report(&self) -> Result<(), CommandError> {
        let Self { style, label, total, done, started_at, .. } = self;
        // Rows may have been added since the start.
        let total = (*total).max(*done);
        match style {
            Style::Json => print_line(&json!({ *label: done, "of": total }).to_string()),
            Style::Lines => print_line(&format!("{label} {done} of {total}")),
            Style::Bar => {
                let filled = (BAR_WIDTH * done).checked_div(total).unwrap_or(BAR_WIDTH);
                let bar: String = (0..BAR_WIDTH).map(|column| if column < filled { '█' } else { '░' }).collect();
                let seconds_left = started_at.elapsed().as_secs() * (total - done) / (*done).max(1);
                let _ = write!(std::io::stderr(), "\r{bar} {label} {done} of {total}, {seconds_left} s left \x1b[K");
                Ok(())
            }
        }
    }
}
