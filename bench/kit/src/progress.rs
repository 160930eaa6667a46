//! How far a long work is: a bar where someone watches, lines where a script reads. On standard error, for standard
//! output is for results.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a bar is drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often a line is written.
const LINE: Duration = Duration::from_secs(5);
/// How many characters a bar has.
const WIDTH: u64 = 30;

/// A work of known size under way. Many may add to it at once.
#[derive(Debug)]
pub struct Progress {
    what: String,
    total: AtomicU64,
    done: AtomicU64,
    begun: Instant,
    told: Mutex<Instant>,
    bar: bool,
}

impl Progress {
    /// Nothing done yet of `total` steps of `what`.
    pub fn new(what: &str, total: u64) -> Self {
        let now = Instant::now();
        Self {
            what: what.to_owned(),
            total: AtomicU64::new(total),
            done: AtomicU64::new(0),
            begun: now,
            told: Mutex::new(now),
            bar: std::io::stderr().is_terminal(),
        }
    }

    /// `some` more steps are done.
    pub fn add(&self, some: u64) {
        self.done.fetch_add(some, Ordering::Relaxed);
        let every = if self.bar { FRAME } else { LINE };
        // Who finds another one telling has nothing to add.
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.elapsed() >= every {
            *told = Instant::now();
            self.tell();
        }
    }

    /// All is done.
    pub fn finish(self) {
        let _last = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        self.total.store(self.done.load(Ordering::Relaxed), Ordering::Relaxed);
        self.tell();
        if self.bar {
            let _ = writeln!(std::io::stderr());
        }
    }

    fn tell(&self) {
        let (done, what) = (self.done.load(Ordering::Relaxed), &self.what);
        let total = self.total.load(Ordering::Relaxed).max(done);
        let passed = self.begun.elapsed().as_secs();
        let mut stderr = std::io::stderr();
        // Who stops reading does not stop the work.
        let _ = if self.bar {
            let filled = (WIDTH * done).checked_div(total).unwrap_or(WIDTH);
            let bar: String = (0..WIDTH).map(|at| if at < filled { '█' } else { '░' }).collect();
            let left = passed * (total - done) / done.max(1);
            write!(stderr, "\r{bar} {what}: {done} of {total}, {left} s left \x1b[K")
        } else {
            writeln!(stderr, "{what}: {done} of {total}, {passed} s")
        };
    }
}
