//! Connection limit: counts client connections in total and per client address (IPv6: per /64 prefix), and rejects
//! connections over the per-client limit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use stele_service::log_sanitizer::LogRateLimiter;
use stele_service::trusted_proxies::client_network;
use tokio::time::Instant;

/// Counts the client connections of all workers.
#[derive(Debug)]
pub(crate) struct ConnectionCounter {
    count: AtomicUsize,
    limit: AtomicUsize,
    /// Open connections by [`client_network`]; connections of trusted proxies are not included.
    by_network: Mutex<HashMap<IpAddr, usize>>,
    /// Rate limit of the log lines about rejected connections: one a minute.
    rejection_log_limit: LogRateLimiter,
}

impl Default for ConnectionCounter {
    fn default() -> Self {
        Self {
            count: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
            by_network: Mutex::default(),
            rejection_log_limit: LogRateLimiter::new(1),
        }
    }
}

impl ConnectionCounter {
    /// Sets the limit of all connections, of which the per-client limit is half.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The number of open connections.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether more than half of the limit is in use, so that keep-alive is suspended.
    pub(crate) fn above_half(&self) -> bool {
        self.count() > self.half()
    }

    /// How many connections a client address may hold: half of the limit, at least one. Does not apply to trusted
    /// proxies.
    pub(crate) fn per_client_limit(&self) -> usize {
        self.half().max(1)
    }

    fn half(&self) -> usize {
        self.limit.load(Ordering::Relaxed) / 2
    }

    /// Counts a connection of a trusted proxy until the guard is dropped. The per-client limit does not apply, because
    /// a proxy carries the requests of many clients.
    pub(crate) fn acquire_for_proxy(self: &Arc<Self>) -> ConnectionGuard {
        self.count.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard { counter: Arc::clone(self), network: None }
    }

    /// Counts a connection from `peer` until the guard is dropped; `None` if the address is at the per-client
    /// limit.
    pub(crate) fn acquire(self: &Arc<Self>, peer: IpAddr) -> Option<ConnectionGuard> {
        let (network, limit) = (client_network(peer), self.per_client_limit());
        {
            let mut by_network = self.by_network.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_network.entry(network).or_default();
            if *count >= limit {
                return None;
            }
            *count += 1;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(ConnectionGuard { counter: Arc::clone(self), network: Some(network) })
    }

    /// Records a rejected connection. Returns the number of rejections since the last log line if another one is due.
    pub(crate) fn record_rejection(&self) -> Option<u64> {
        let suppressed = self.rejection_log_limit.allow(Instant::now())?;
        Some(suppressed.as_log_field().unwrap_or(0) + 1)
    }

    fn release(&self, network: Option<IpAddr>) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        let Some(network) = network else { return };
        let mut by_network = self.by_network.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                by_network.remove(&network);
            }
        }
    }
}

/// A counted connection, until dropped.
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
    use std::time::Duration;

    use super::*;

    const LOG_INTERVAL: Duration = Duration::from_secs(60);

    fn counter_with_limit(limit: usize) -> Arc<ConnectionCounter> {
        let counter = Arc::<ConnectionCounter>::default();
        counter.set_limit(limit);
        counter
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_address_may_hold_at_most_half_of_the_connection_limit() {
        let counter = counter_with_limit(5);
        let client = address("192.0.2.1");
        let guards: Vec<_> = (0..4).filter_map(|_| counter.acquire(client)).collect();
        assert_eq!((guards.len(), counter.count()), (2, 2));
        let other = counter.acquire(address("192.0.2.2"));
        assert!(other.is_some());
        drop(guards);
        assert!(counter.acquire(client).is_some());
        drop(other);
        assert!(counter.by_network.lock().unwrap().is_empty(), "addresses without connections are removed");
    }

    #[test]
    fn the_per_client_limit_is_half_of_the_limit_and_at_least_one() {
        assert_eq!(counter_with_limit(10_000).per_client_limit(), 5_000);
        assert_eq!(counter_with_limit(4_000).per_client_limit(), 2_000);
        assert_eq!(counter_with_limit(1).per_client_limit(), 1);
    }

    #[test]
    fn ipv6_clients_are_counted_by_their_64_bit_prefix() {
        let counter = counter_with_limit(4);
        let clients = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"];
        let guards: Vec<_> = clients.iter().filter_map(|text| counter.acquire(address(text))).collect();
        assert_eq!(guards.len(), 2);
        assert!(counter.acquire(address("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn an_ipv4_mapped_ipv6_address_is_counted_as_the_ipv4_address() {
        assert_eq!(client_network(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }

    #[test]
    fn a_trusted_proxy_may_hold_all_connections() {
        let counter = counter_with_limit(4);
        let guards: Vec<_> = (0..4).map(|_| counter.acquire_for_proxy()).collect();
        assert_eq!((guards.len(), counter.count()), (4, 4));
        drop(guards);
        assert_eq!(counter.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn rejected_connections_are_logged_once_a_minute() {
        let counter = counter_with_limit(2);
        assert_eq!(
            [counter.record_rejection(), counter.record_rejection(), counter.record_rejection()],
            [Some(1), None, None]
        );
        tokio::time::advance(LOG_INTERVAL).await;
        assert_eq!([counter.record_rejection(), counter.record_rejection()], [Some(3), None]);
    }
}
