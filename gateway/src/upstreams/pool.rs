//! Connection pool to upstream instances. Each worker has its own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::UpstreamConnection;

/// The services keep idle connections for longer (75 s): one closed just as it is taken up would be a request lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Connections without a request, those that were used last at the end.
#[derive(Debug)]
pub(crate) struct ConnectionPool {
    idle: RefCell<HashMap<SocketAddr, Vec<IdleConnection>>>,
    in_use: Rc<Cell<usize>>,
    /// How many there may be, in use or not, to whatever instance.
    max_connections: usize,
}

#[derive(Debug)]
struct IdleConnection {
    connection: UpstreamConnection,
    since: Instant,
}

/// Leave to use one connection.
#[derive(Debug)]
pub(crate) struct Permit(Rc<Cell<usize>>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl ConnectionPool {
    pub(crate) fn new(most: usize) -> Self {
        Self { idle: RefCell::default(), in_use: Rc::default(), max_connections: most }
    }

    /// A connection to this address that is as good as new, if there is one; else there is room for another one now.
    /// `None` if as many as there may be are in use.
    pub(crate) fn checkout(&self, address: SocketAddr) -> Option<(Option<UpstreamConnection>, Permit)> {
        if self.in_use.get() >= self.max_connections {
            return None;
        }
        let connection = self.take_idle(address);
        self.in_use.set(self.in_use.get() + 1);
        self.close_oldest_idle();
        Some((connection, Permit(Rc::clone(&self.in_use))))
    }

    fn take_idle(&self, address: SocketAddr) -> Option<UpstreamConnection> {
        let mut idle = self.idle.borrow_mut();
        let idle = idle.get_mut(&address)?;
        while let Some(IdleConnection { connection, since }) = idle.pop() {
            // The one used last: if it is too old, so are all.
            if since.elapsed() > IDLE_TIMEOUT {
                idle.clear();
            } else if connection.is_idle() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection on which everything was answered, and whose permit is dropped.
    pub(crate) fn checkin(&self, address: SocketAddr, connection: UpstreamConnection, now: Instant) {
        if connection.is_reusable() {
            self.idle.borrow_mut().entry(address).or_default().push(IdleConnection { connection, since: now });
            self.close_oldest_idle();
        }
    }

    /// Closes those that have waited longest while there are too many.
    fn close_oldest_idle(&self) {
        let mut idle = self.idle.borrow_mut();
        let mut count = self.in_use.get() + idle.values().map(Vec::len).sum::<usize>();
        while count > self.max_connections {
            let waiting = idle.values_mut().filter(|idle| !idle.is_empty());
            // The first of its address.
            let Some(idle) = waiting.min_by_key(|idle| idle.first().map(|first| first.since)) else { return };
            idle.remove(0);
            count -= 1;
        }
    }

    /// Closes those that were not used for a while.
    pub(crate) fn close_expired(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|idle| now - idle.since <= IDLE_TIMEOUT);
            !connections.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use hyper::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::request_body::RequestBody;

    /// An instance that answers everything.
    async fn start_instance() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(1..) = stream.read(&mut buffer).await {
                        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                    }
                });
            }
        });
        address
    }

    /// A connection that was used once.
    async fn used_connection(address: SocketAddr) -> UpstreamConnection {
        let mut connection = UpstreamConnection::new(TcpStream::connect(address).await.unwrap()).await.unwrap();
        connection.send(Request::new(RequestBody::Full(None)), |_| Poll::Pending).await.unwrap();
        connection
    }

    #[tokio::test]
    async fn the_pool_never_exceeds_its_limit() {
        let addresses = [start_instance().await, start_instance().await];
        let idle = |pool: &ConnectionPool, at: usize| pool.idle.borrow().get(&addresses[at]).map_or(0, Vec::len);
        let pool = ConnectionPool::new(3);
        for at in [0, 0, 1, 1] {
            pool.checkin(addresses[at], used_connection(addresses[at]).await, Instant::now());
        }
        assert_eq!((idle(&pool, 0), idle(&pool, 1)), (1, 2), "the oldest was let go");
        let (taken, permit) = pool.checkout(addresses[1]).unwrap();
        assert!(taken.is_some());
        assert_eq!((idle(&pool, 0), idle(&pool, 1)), (1, 1));
        // Another one is to be made now, and one that waits makes room.
        let others = [pool.checkout(addresses[0]).unwrap(), pool.checkout(addresses[0]).unwrap()];
        assert_eq!(others.each_ref().map(|(connection, _)| connection.is_some()), [true, false]);
        assert_eq!((idle(&pool, 0), idle(&pool, 1)), (0, 0));
        assert!(pool.checkout(addresses[0]).is_none(), "all are in use");
        drop((others, permit));
        pool.checkin(addresses[1], taken.unwrap(), Instant::now());
        assert_eq!(idle(&pool, 1), 1);
    }
}
