//! How far a long work is: a bar where someone watches, lines where a script reads. On standard error, for standard
//! output is for results.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a bar is drawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// How often a line is written.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// How many characters a bar has.
const BAR_WIDTH: u64 = 30;

/// A work of known size under way. Many may add to it at once.
#[derive(Debug)]
pub struct Progress {
    label: String,
    total: AtomicU64,
    done: AtomicU64,
    started_at: Instant,
    reported_at: Mutex<Instant>,
    bar: bool,
}

impl Progress {
    /// Nothing done yet of `total` steps of `what`.
    pub fn new(what: &str, total: u64) -> Self {
        let now = Instant::now();
        Self {
            label: what.to_owned(),
            total: AtomicU64::new(total),
            done: AtomicU64::new(0),
            started_at: now,
            reported_at: Mutex::new(now),
            bar: std::io::stderr().is_terminal(),
        }
    }

    /// `some` more steps are done.
    pub fn add(&self, some: u64) {
        self.done.fetch_add(some, Ordering::Relaxed);
        let every = if self.bar { REDRAW_INTERVAL } else { LINE_INTERVAL };
        // Who finds another one telling has nothing to add.
        let Ok(mut told) = self.reported_at.try_lock() else { return };
        if told.elapsed() >= every {
            *told = Instant::now();
            self.report();
        }
    }

    /// All is done.
    pub fn finish(self) {
        let _last = self.reported_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.total.store(self.done.load(Ordering::Relaxed), Ordering::Relaxed);
        self.report();
        if self.bar {
            let _ = writeln!(std::io::stderr());
        }
    }

    fn report(&self) {
        let (done, what) = (self.done.load(Ordering::Relaxed), &self.label);
        let total = self.total.load(Ordering::Relaxed).max(done);
        let passed = self.started_at.elapsed().as_secs();
        let mut stderr = std::io::stderr();
        // Who stops reading does not stop the work.
        let _ = if self.bar {
            let filled = (BAR_WIDTH * done).checked_div(total).unwrap_or(BAR_WIDTH);
            let bar: String = (0..BAR_WIDTH).map(|at| if at < filled { '█' } else { '░' }).collect();
            let left = passed * (total - done) / done.max(1);
            write!(stderr, "\r{bar} {what}: {done} of {total}, {left} s left \x1b[K")
        } else {
            writeln!(stderr, "{what}: {done} of {total}, {passed} s")
        };
    }
}
