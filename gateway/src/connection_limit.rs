//! How many connections clients hold, of how many, and how many of them each client address holds.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Refused connections are logged this often at most, with how many there were.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Counts the connections of all workers.
#[derive(Debug)]
pub(crate) struct ConnectionCounter {
    count: AtomicUsize,
    limit: AtomicUsize,
    /// By address, or by /64.
    by_network: Mutex<HashMap<IpAddr, usize>>,
    rejected: Mutex<RejectedConnections>,
}

/// Connections that were refused since they were logged.
#[derive(Debug, Default)]
struct RejectedConnections {
    count: u64,
    last_logged: Option<Instant>,
}

impl Default for ConnectionCounter {
    fn default() -> Self {
        let most = AtomicUsize::new(usize::MAX);
        Self { count: AtomicUsize::new(0), limit: most, by_network: Mutex::default(), rejected: Mutex::default() }
    }
}

impl ConnectionCounter {
    /// Sets how many there may be.
    pub(crate) fn set_limit(&self, most: usize) {
        self.limit.store(most, Ordering::Relaxed);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether more than half of all there may be are held: none is kept for a request to come then.
    pub(crate) fn above_half(&self) -> bool {
        self.count() > self.half()
    }

    /// How many one address may hold, unless it is a trusted proxy's: half of all there may be, and one at least.
    pub(crate) fn per_client_limit(&self) -> usize {
        self.half().max(1)
    }

    fn half(&self) -> usize {
        self.limit.load(Ordering::Relaxed) / 2
    }

    /// Counts one more connection of a trusted proxy, for as long as the guard is kept. Proxies carry many clients, so
    /// there may be any number.
    pub(crate) fn acquire_for_proxy(self: &Arc<Self>) -> ConnectionGuard {
        self.count.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard { counter: Arc::clone(self), network: None }
    }

    /// Counts one more connection from this address, for as long as the guard is kept; `None` if the address has its
    /// share.
    pub(crate) fn acquire(self: &Arc<Self>, peer: IpAddr) -> Option<ConnectionGuard> {
        let (origin, share) = (client_network(peer), self.per_client_limit());
        {
            let mut addresses = self.by_network.lock().unwrap_or_else(PoisonError::into_inner);
            let count = addresses.entry(origin).or_default();
            if *count >= share {
                return None;
            }
            *count += 1;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(ConnectionGuard { counter: Arc::clone(self), network: Some(origin) })
    }

    /// Notes a refused connection. How many there were since the last time, if it is time to log that.
    pub(crate) fn record_rejection(&self) -> Option<u64> {
        let mut refused = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        refused.count += 1;
        if refused.last_logged.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return None;
        }
        refused.last_logged = Some(Instant::now());
        Some(std::mem::take(&mut refused.count))
    }

    fn release(&self, origin: Option<IpAddr>) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        let Some(origin) = origin else { return };
        let mut addresses = self.by_network.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&origin);
            }
        }
    }
}

/// What a client cannot choose freely: its IPv4 address, or the /64 of its IPv6 address.
pub(crate) fn client_network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    counter: Arc<ConnectionCounter>,
    network: Option<IpAddr>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.counter.release(self.network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter_with_limit(most: usize) -> Arc<ConnectionCounter> {
        let held = Arc::<ConnectionCounter>::default();
        held.set_limit(most);
        held
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_address_may_hold_at_most_half_of_all_connections() {
        let held = counter_with_limit(5);
        let one = address("192.0.2.1");
        let holds: Vec<_> = (0..4).filter_map(|_| held.acquire(one)).collect();
        assert_eq!((holds.len(), held.count()), (2, 2));
        let other = held.acquire(address("192.0.2.2"));
        assert!(other.is_some());
        drop(holds);
        assert!(held.acquire(one).is_some());
        drop(other);
        assert!(held.by_network.lock().unwrap().is_empty(), "nothing is kept of those who went");
    }

    #[test]
    fn the_default_limit_allows_at_least_2000_connections_per_client() {
        assert_eq!(counter_with_limit(10_000).per_client_limit(), 5_000);
        assert_eq!(counter_with_limit(4_000).per_client_limit(), 2_000);
        assert_eq!(counter_with_limit(1).per_client_limit(), 1);
    }

    #[test]
    fn ipv6_clients_are_counted_by_their_64_bit_prefix() {
        let held = counter_with_limit(4);
        let network = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"];
        let holds: Vec<_> = network.iter().filter_map(|text| held.acquire(address(text))).collect();
        assert_eq!(holds.len(), 2);
        assert!(held.acquire(address("2001:db8:0:1::1")).is_some());
        assert_eq!(client_network(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }

    #[test]
    fn a_trusted_proxy_may_hold_all_connections() {
        let held = counter_with_limit(4);
        let holds: Vec<_> = (0..4).map(|_| held.acquire_for_proxy()).collect();
        assert_eq!((holds.len(), held.count()), (4, 4));
        drop(holds);
        assert_eq!(held.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn rejected_connections_are_logged_once_a_minute() {
        let held = counter_with_limit(2);
        assert_eq!([held.record_rejection(), held.record_rejection(), held.record_rejection()], [Some(1), None, None]);
        tokio::time::advance(LOG_INTERVAL).await;
        assert_eq!([held.record_rejection(), held.record_rejection()], [Some(3), None]);
    }
}
