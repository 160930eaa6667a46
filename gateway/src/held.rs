//! How many connections clients hold, of how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the connections of all workers.
#[derive(Debug)]
pub(crate) struct Held {
    count: AtomicUsize,
    most: AtomicUsize,
}

impl Default for Held {
    fn default() -> Self {
        Self { count: AtomicUsize::new(0), most: AtomicUsize::new(usize::MAX) }
    }
}

impl Held {
    /// How many there may be.
    pub(crate) fn allow(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether more than half of all there may be are held: none is kept for a request to come then.
    pub(crate) fn is_crowded(&self) -> bool {
        self.count() > self.most.load(Ordering::Relaxed) / 2
    }

    /// Counts one more, for as long as it is kept.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        self.count.fetch_add(1, Ordering::Relaxed);
        Hold(Arc::clone(self))
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Hold(Arc<Held>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}
