//! Progress of an import on standard error: a bar on a terminal, otherwise one JSON object a second.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use stele_core::import::OutcomeCounts;

/// Interval between JSON objects.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// The length of the bar, in steps.
const STEPS: u64 = 1_000;

pub(super) struct ImportProgress {
    bar: Option<ProgressBar>,
    started_at: Instant,
    last_line_at: Instant,
}

impl ImportProgress {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let style =
            ProgressStyle::with_template("{bar:30} {percent}% {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(STEPS).with_style(style));
        Self { bar, started_at: now, last_line_at: now }
    }

    /// Shows the counts, and how much of the source has been read.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the fraction is from 0 to 1")]
    pub(super) fn update(&mut self, counts: OutcomeCounts, fraction: Option<f64>) {
        if let Some(bar) = &self.bar {
            if let Some(fraction) = fraction {
                bar.set_position((fraction * STEPS as f64) as u64);
            }
            bar.set_message(counts.to_string());
        } else if self.last_line_at.elapsed() >= LINE_INTERVAL {
            self.last_line_at = Instant::now();
            let OutcomeCounts { added, same, merged, refused } = counts;
            let seconds = self.started_at.elapsed().as_secs();
            let line = json!({
                "added": added, "same": same, "merged": merged, "refused": refused, "seconds": seconds,
                "fraction": fraction,
            });
            // The import continues even if its progress cannot be printed.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Removes the bar. Returns the time since the start.
    pub(super) fn finish(self) -> Duration {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.started_at.elapsed()
    }
}
