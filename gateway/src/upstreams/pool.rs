//! Connection pool to upstream instances, one per worker: reuses keep-alive connections, limits their number, and sheds
//! load at the limit.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::UpstreamConnection;

/// How long a connection stays in the pool. Shorter than the keep-alive timeout of the services (75 s), so that no
/// service closes a connection while a request is being sent on it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The connections of one worker to all instances.
#[derive(Debug)]
pub(crate) struct ConnectionPool {
    /// Idle connections by the instance's address, the most recently used last.
    idle: RefCell<HashMap<SocketAddr, Vec<IdleConnection>>>,
    /// The number of connections in use.
    in_use: Rc<Cell<usize>>,
    /// Limit of connections to all instances, idle and in use.
    max_connections: usize,
}

#[derive(Debug)]
struct IdleConnection {
    connection: UpstreamConnection,
    since: Instant,
}

/// Counts one connection in use, until dropped.
#[derive(Debug)]
pub(crate) struct Permit(Rc<Cell<usize>>);

/// A permit to use a connection, and an idle connection if there was one. Otherwise the caller connects.
#[derive(Debug)]
pub(crate) struct Checkout {
    pub(crate) idle: Option<UpstreamConnection>,
    pub(crate) permit: Permit,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl ConnectionPool {
    pub(crate) fn new(max_connections: usize) -> Self {
        Self { idle: RefCell::default(), in_use: Rc::default(), max_connections }
    }

    /// Takes an idle connection to `address`, or makes room for a new one by closing the oldest idle connection.
    /// `None` if all connections are in use: the request is rejected with 503 (load shedding).
    pub(crate) fn checkout(&self, address: SocketAddr) -> Option<Checkout> {
        if self.in_use.get() >= self.max_connections {
            return None;
        }
        let idle = self.take_idle(address);
        self.in_use.set(self.in_use.get() + 1);
        self.close_oldest_idle();
        Some(Checkout { idle, permit: Permit(Rc::clone(&self.in_use)) })
    }

    fn take_idle(&self, address: SocketAddr) -> Option<UpstreamConnection> {
        let mut by_address = self.idle.borrow_mut();
        let idle = by_address.get_mut(&address)?;
        while let Some(IdleConnection { connection, since }) = idle.pop() {
            // This is the most recently used one: if it has expired, all others have too.
            if since.elapsed() > IDLE_TIMEOUT {
                idle.clear();
            } else if connection.is_idle() {
                return Some(connection);
            }
        }
        None
    }

    /// Returns a connection to the pool. Its response must be complete and its permit dropped.
    pub(crate) fn checkin(&self, address: SocketAddr, connection: UpstreamConnection, now: Instant) {
        if connection.is_reusable() {
            self.idle.borrow_mut().entry(address).or_default().push(IdleConnection { connection, since: now });
            self.close_oldest_idle();
        }
    }

    /// Closes the connections that have been idle longest, until the number of connections is within the limit.
    fn close_oldest_idle(&self) {
        let mut by_address = self.idle.borrow_mut();
        let mut count = self.in_use.get() + by_address.values().map(Vec::len).sum::<usize>();
        while count > self.max_connections {
            let non_empty = by_address.values_mut().filter(|idle| !idle.is_empty());
            // The first connection of each instance is the instance's oldest.
            let oldest = non_empty.min_by_key(|idle| idle.first().map(|first| first.since));
            let Some(idle) = oldest else { return };
            idle.remove(0);
            count -= 1;
        }
    }

    /// Closes the connections that have been idle longer than [`IDLE_TIMEOUT`].
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

    /// An instance that answers every request with 204.
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

    /// A connection that has had one request.
    async fn used_connection(address: SocketAddr) -> UpstreamConnection {
        let mut connection = UpstreamConnection::new(TcpStream::connect(address).await.unwrap()).await.unwrap();
        connection.send(Request::new(RequestBody::Full(None)), |_| Poll::Pending).await.unwrap();
        connection
    }

    #[tokio::test]
    async fn the_pool_never_exceeds_its_limit() {
        let addresses = [start_instance().await, start_instance().await];
        let idle_count =
            |pool: &ConnectionPool, index: usize| pool.idle.borrow().get(&addresses[index]).map_or(0, Vec::len);
        let pool = ConnectionPool::new(3);
        for index in [0, 0, 1, 1] {
            pool.checkin(addresses[index], used_connection(addresses[index]).await, Instant::now());
        }
        assert_eq!((idle_count(&pool, 0), idle_count(&pool, 1)), (1, 2), "the oldest was closed");
        let Checkout { idle: reused, permit } = pool.checkout(addresses[1]).unwrap();
        assert!(reused.is_some());
        assert_eq!((idle_count(&pool, 0), idle_count(&pool, 1)), (1, 1));
        // The second checkout needs a new connection, for which the idle one of the other instance is closed.
        let others = [pool.checkout(addresses[0]).unwrap(), pool.checkout(addresses[0]).unwrap()];
        assert_eq!(others.each_ref().map(|checkout| checkout.idle.is_some()), [true, false]);
        assert_eq!((idle_count(&pool, 0), idle_count(&pool, 1)), (0, 0));
        assert!(pool.checkout(addresses[0]).is_none(), "all are in use");
        drop((others, permit));
        pool.checkin(addresses[1], reused.unwrap(), Instant::now());
        assert_eq!(idle_count(&pool, 1), 1);
    }
}
