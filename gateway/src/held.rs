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
pub(crate) struct Held {
    count: AtomicUsize,
    most: AtomicUsize,
    /// By address, or by /64.
    addresses: Mutex<HashMap<IpAddr, usize>>,
    refused: Mutex<Refused>,
}

/// Connections that were refused since they were logged.
#[derive(Debug, Default)]
struct Refused {
    count: u64,
    logged: Option<Instant>,
}

impl Default for Held {
    fn default() -> Self {
        let most = AtomicUsize::new(usize::MAX);
        Self { count: AtomicUsize::new(0), most, addresses: Mutex::default(), refused: Mutex::default() }
    }
}

impl Held {
    /// Sets how many there may be.
    pub(crate) fn allow(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether more than half of all there may be are held: none is kept for a request to come then.
    pub(crate) fn is_crowded(&self) -> bool {
        self.count() > self.half()
    }

    /// How many one address may hold, unless it is a trusted proxy's: half of all there may be, and one at least.
    pub(crate) fn share(&self) -> usize {
        self.half().max(1)
    }

    fn half(&self) -> usize {
        self.most.load(Ordering::Relaxed) / 2
    }

    /// Counts one more connection of a trusted proxy, for as long as the guard is kept. Proxies carry many clients, so
    /// there may be any number.
    pub(crate) fn hold_proxy(self: &Arc<Self>) -> Hold {
        self.count.fetch_add(1, Ordering::Relaxed);
        Hold { held: Arc::clone(self), origin: None }
    }

    /// Counts one more connection from this address, for as long as the guard is kept; `None` if the address has its
    /// share.
    pub(crate) fn hold(self: &Arc<Self>, peer: IpAddr) -> Option<Hold> {
        let (origin, share) = (origin(peer), self.share());
        {
            let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            let count = addresses.entry(origin).or_default();
            if *count >= share {
                return None;
            }
            *count += 1;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(Hold { held: Arc::clone(self), origin: Some(origin) })
    }

    /// Notes a refused connection. How many there were since the last time, if it is time to log that.
    pub(crate) fn refuse(&self) -> Option<u64> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.count += 1;
        if refused.logged.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return None;
        }
        refused.logged = Some(Instant::now());
        Some(std::mem::take(&mut refused.count))
    }

    fn release(&self, origin: Option<IpAddr>) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        let Some(origin) = origin else { return };
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&origin);
            }
        }
    }
}

/// What a client cannot choose freely: its IPv4 address, or the /64 of its IPv6 address.
pub(crate) fn origin(peer: IpAddr) -> IpAddr {
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
pub(crate) struct Hold {
    held: Arc<Held>,
    origin: Option<IpAddr>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.release(self.origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(most: usize) -> Arc<Held> {
        let held = Arc::<Held>::default();
        held.allow(most);
        held
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_holds_half_of_all_at_most() {
        let held = held(5);
        let one = address("192.0.2.1");
        let holds: Vec<_> = (0..4).filter_map(|_| held.hold(one)).collect();
        assert_eq!((holds.len(), held.count()), (2, 2));
        let other = held.hold(address("192.0.2.2"));
        assert!(other.is_some());
        drop(holds);
        assert!(held.hold(one).is_some());
        drop(other);
        assert!(held.addresses.lock().unwrap().is_empty(), "nothing is kept of those who went");
    }

    #[test]
    fn the_default_leaves_an_address_at_least_two_thousand() {
        assert_eq!(held(10_000).share(), 5_000);
        assert_eq!(held(4_000).share(), 2_000);
        assert_eq!(held(1).share(), 1);
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let held = held(4);
        let network = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"];
        let holds: Vec<_> = network.iter().filter_map(|text| held.hold(address(text))).collect();
        assert_eq!(holds.len(), 2);
        assert!(held.hold(address("2001:db8:0:1::1")).is_some());
        assert_eq!(origin(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }

    #[test]
    fn a_trusted_proxy_holds_all() {
        let held = held(4);
        let holds: Vec<_> = (0..4).map(|_| held.hold_proxy()).collect();
        assert_eq!((holds.len(), held.count()), (4, 4));
        drop(holds);
        assert_eq!(held.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_logged_once_a_minute() {
        let held = held(2);
        assert_eq!([held.refuse(), held.refuse(), held.refuse()], [Some(1), None, None]);
        tokio::time::advance(LOG_INTERVAL).await;
        assert_eq!([held.refuse(), held.refuse()], [Some(3), None]);
    }
}
