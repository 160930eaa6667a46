//! Progress of a long task on standard error: a bar on a terminal, otherwise log lines.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two redraws of the bar.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two log lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Width of the bar, in characters.
const BAR_WIDTH: u64 = 30;

/// A task of known size. Threads may call [`Progress::add`] concurrently.
#[derive(Debug)]
pub struct Progress {
    label: String,
    total: AtomicU64,
    done: AtomicU64,
    started_at: Instant,
    reported_at: Mutex<Instant>,
    draws_bar: bool,
}

impl Progress {
    /// Starts a task `label` of `total` steps.
    pub fn new(label: &str, total: u64) -> Self {
        let now = Instant::now();
        Self {
            label: label.to_owned(),
            total: AtomicU64::new(total),
            done: AtomicU64::new(0),
            started_at: now,
            reported_at: Mutex::new(now),
            draws_bar: std::io::stderr().is_terminal(),
        }
    }

    /// Adds `steps` completed steps.
    pub fn add(&self, steps: u64) {
        self.done.fetch_add(steps, Ordering::Relaxed);
        let interval = if self.draws_bar { REDRAW_INTERVAL } else { LINE_INTERVAL };
        // If the lock is taken, another thread is reporting.
        let Ok(mut reported_at) = self.reported_at.try_lock() else { return };
        if reported_at.elapsed() >= interval {
            *reported_at = Instant::now();
            self.report();
        }
    }

    /// Reports the end of the task.
    pub fn finish(self) {
        let _guard = self.reported_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.total.store(self.done.load(Ordering::Relaxed), Ordering::Relaxed);
        self.report();
        if self.draws_bar {
            let _ = writeln!(std::io::stderr());
        }
    }

    fn report(&self) {
        let (done, label) = (self.done.load(Ordering::Relaxed), &self.label);
        let total = self.total.load(Ordering::Relaxed).max(done);
        let elapsed = self.started_at.elapsed().as_secs();
        let mut stderr = std::io::stderr();
        // A closed standard error must not stop the task.
        let _ = if self.draws_bar {
            let filled = (BAR_WIDTH * done).checked_div(total).unwrap_or(BAR_WIDTH);
            let bar: String = (0..BAR_WIDTH).map(|at| if at < filled { '█' } else { '░' }).collect();
            let remaining = elapsed * (total - done) / done.max(1);
            write!(stderr, "\r{bar} {label}: {done} of {total}, {remaining} s left \x1b[K")
        } else {
            writeln!(stderr, "{label}: {done} of {total}, {elapsed} s")
        };
    }
}
