//! Connections to instances, kept from request to request. Each worker has its own.

use std::cell::{Cell, RefCell};
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
    lent: Cell<usize>,
    /// How many there may be, in use or not, whoever they lead to.
    most: usize,
}

#[derive(Debug)]
struct Idle {
    pipe: Pipe,
    since: Instant,
}

/// One connection in use.
#[derive(Debug)]
pub(crate) struct Loan<'a>(&'a Links);

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.0.lent.set(self.0.lent.get() - 1);
    }
}

impl Links {
    pub(crate) fn new(most: usize) -> Self {
        Self { kept: RefCell::default(), lent: Cell::new(0), most }
    }

    /// A connection to this address that is as good as new, if there is one; else there is room for another one now.
    pub(crate) fn take(&self, address: SocketAddr) -> (Option<Pipe>, Loan<'_>) {
        let pipe = self.find(address);
        self.lent.set(self.lent.get() + 1);
        self.make_room();
        (pipe, Loan(self))
    }

    fn find(&self, address: SocketAddr) -> Option<Pipe> {
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

    /// Keeps a connection on which everything was answered, and which is no longer lent.
    pub(crate) fn keep(&self, address: SocketAddr, mut pipe: Pipe, now: Instant) {
        if pipe.come.is_empty() {
            pipe.shrink();
            self.kept.borrow_mut().entry(address).or_default().push(Idle { pipe, since: now });
            self.make_room();
        }
    }

    /// Closes those that have waited longest while there are too many.
    fn make_room(&self) {
        let mut kept = self.kept.borrow_mut();
        let mut count = self.lent.get() + kept.values().map(Vec::len).sum::<usize>();
        while count > self.most {
            let waiting = kept.values_mut().filter(|idle| !idle.is_empty());
            // The first of its address.
            let Some(idle) = waiting.min_by_key(|idle| idle.first().map(|first| first.since)) else { return };
            idle.remove(0);
            count -= 1;
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

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn there_are_never_more_than_there_may_be() {
        let (one, two) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let addresses = [&one, &two].map(|listener| listener.local_addr().unwrap());
        let idle = |links: &Links, at: usize| links.kept.borrow().get(&addresses[at]).map_or(0, Vec::len);
        let links = Links::new(3);
        for at in [0, 0, 1, 1] {
            let pipe = Pipe::new(TcpStream::connect(addresses[at]).await.unwrap());
            links.keep(addresses[at], pipe, Instant::now());
        }
        assert_eq!((idle(&links, 0), idle(&links, 1)), (1, 2), "the oldest was let go");
        let (taken, loan) = links.take(addresses[1]);
        assert!(taken.is_some());
        assert_eq!((idle(&links, 0), idle(&links, 1)), (1, 1));
        // Another one is to be made now, and one that waits makes room.
        let loans = [links.take(addresses[0]), links.take(addresses[0])];
        assert_eq!(loans.each_ref().map(|(pipe, _)| pipe.is_some()), [true, false]);
        assert_eq!((idle(&links, 0), idle(&links, 1)), (0, 0));
        drop((loans, loan));
        links.keep(addresses[1], taken.unwrap(), Instant::now());
        assert_eq!(idle(&links, 1), 1);
    }
}
