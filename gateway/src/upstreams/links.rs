//! Connections to instances, kept from request to request. Each worker has its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::pipe::Pipe;

/// The services keep idle connections for longer (75 s): one closed just as it is taken up would be a request lost.
const KEEP: Duration = Duration::from_secs(15);

/// Connections that wait for a request, those that were used last at the end.
#[derive(Debug)]
pub(crate) struct Links {
    kept: RefCell<HashMap<SocketAddr, Vec<Idle>>>,
    /// How many there may be, whoever they lead to.
    most: usize,
}

#[derive(Debug)]
struct Idle {
    pipe: Pipe,
    since: Instant,
}

impl Links {
    pub(crate) fn new(most: usize) -> Self {
        Self { kept: RefCell::default(), most }
    }

    /// A connection to this address that is as good as new, if there is one.
    pub(crate) fn take(&self, address: SocketAddr) -> Option<Pipe> {
        let mut kept = self.kept.borrow_mut();
        let kept = kept.get_mut(&address)?;
        while let Some(idle) = kept.pop() {
            // The one used last: if it is too old, so are all.
            if idle.since.elapsed() > KEEP {
                kept.clear();
            } else if idle.pipe.is_quiet() {
                return Some(idle.pipe);
            }
        }
        None
    }

    /// Keeps a connection on which everything was answered.
    pub(crate) fn keep(&self, address: SocketAddr, mut pipe: Pipe, now: Instant) {
        if !pipe.come.is_empty() {
            return;
        }
        pipe.shrink();
        let mut kept = self.kept.borrow_mut();
        kept.entry(address).or_default().push(Idle { pipe, since: now });
        if kept.values().map(Vec::len).sum::<usize>() > self.most {
            // The one that has waited longest: the first of its address.
            let oldest = kept.values_mut().filter(|idle| !idle.is_empty()).min_by_key(|idle| idle[0].since);
            drop(oldest.map(|idle| idle.remove(0)));
        }
    }

    /// Closes those that nobody has used for a while.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.kept.borrow_mut().retain(|_, kept| {
            kept.retain(|idle| now - idle.since <= KEEP);
            !kept.is_empty()
        });
    }
}
