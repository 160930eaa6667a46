//! Upstreams: the instances of a service, and load balancing between them (power of two choices).
//!
//! - `configured_upstream`: a `http://host:port` of the settings; a host name may have any number of addresses
//! - [`instance`]: one address and its state; `circuit_breaker`: stops requests to a failing instance
//! - [`resolver`]: looks names up
//! - [`connection`]: a connection to an instance; [`pool`]: the connection pool; [`probe`]: requests of the gateway
//!   itself

mod circuit_breaker;
mod configured_upstream;
pub(crate) mod connection;
pub(crate) mod instance;
pub(crate) mod pool;
pub(crate) mod probe;
pub(crate) mod resolver;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

pub use self::circuit_breaker::CircuitState;
use self::circuit_breaker::monotonic_millis;
use self::configured_upstream::ConfiguredUpstream;
use self::instance::{Instance, InstanceGuard};
use self::resolver::Resolver;

/// Interval of name lookups while an instance is unhealthy, or there is none.
const UNHEALTHY_RESOLVE_INTERVAL: Duration = Duration::from_secs(1);

/// The instances of one service. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Upstreams(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    configured: Vec<ConfiguredUpstream>,
    /// Replaced as a whole when addresses change; read before every request.
    instances: ArcSwap<Vec<Arc<Instance>>>,
    round_robin: AtomicUsize,
    /// When the last name lookups ended, by [`monotonic_millis`]; 0: never.
    last_resolved: AtomicU64,
    is_resolving: AtomicBool,
}

impl Upstreams {
    /// Parses one or several `http://host:port`, separated by commas.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
        let configured = urls.map(ConfiguredUpstream::parse).collect::<Result<Vec<_>, _>>()?;
        if configured.is_empty() {
            return Err("no upstream; write for example http://127.0.0.1:8101".to_owned());
        }
        let upstreams = Self(Arc::new(Inner {
            configured,
            instances: ArcSwap::default(),
            round_robin: AtomicUsize::new(0),
            last_resolved: AtomicU64::new(0),
            is_resolving: AtomicBool::new(false),
        }));
        upstreams.update_instances(&[]);
        Ok(upstreams)
    }

    /// The configured `host:port` of each upstream.
    pub(crate) fn configured_names(&self) -> Vec<&str> {
        self.0.configured.iter().map(ConfiguredUpstream::name).collect()
    }

    /// All instances at this moment.
    pub(crate) fn instances(&self) -> Arc<Vec<Arc<Instance>>> {
        self.0.instances.load_full()
    }

    pub(crate) fn has_healthy_instance(&self) -> bool {
        self.0.instances.load().iter().any(|instance| instance.is_healthy())
    }

    /// Selects an instance for a request, but none in `tried`. In order of preference: a healthy one; one whose circuit
    /// is closed, because only the service can report its failure in detail, in its dialect; one whose circuit is due
    /// for a trial.
    pub(crate) fn acquire_instance(&self, tried: &[Arc<Instance>]) -> Option<InstanceGuard> {
        let all = self.0.instances.load();
        let is_untried = |instance: &Arc<Instance>| !tried.iter().any(|tried| Arc::ptr_eq(tried, instance));
        let healthy = self.pick_less_busy(&all, |instance| instance.is_healthy() && is_untried(instance));
        let reachable = || self.pick_less_busy(&all, |instance| instance.is_circuit_closed() && is_untried(instance));
        if let Some(instance) = healthy.or_else(reachable) {
            return Some(instance.acquire());
        }
        all.iter().filter(|instance| is_untried(instance)).find_map(Instance::try_acquire_trial)
    }

    /// Power of two choices: the next eligible instance by round robin, or a pseudorandom other one if that has fewer
    /// requests in flight.
    fn pick_less_busy<'a>(
        &self,
        all: &'a [Arc<Instance>],
        is_eligible: impl Fn(&Arc<Instance>) -> bool,
    ) -> Option<&'a Arc<Instance>> {
        let nth = |n| all.iter().filter(|instance| is_eligible(instance)).nth(n);
        let count = all.iter().filter(|instance| is_eligible(instance)).count();
        if count < 2 {
            return nth(0);
        }
        let sequence = self.0.round_robin.fetch_add(1, Ordering::Relaxed);
        let next = sequence % count;
        // A multiplicative hash of the sequence number: random enough, and cheaper than a random number.
        let hash = ((sequence as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        let other = (next + 1 + hash % (count - 1)) % count;
        // Instances may have become ineligible since they were counted.
        match (nth(next), nth(other)) {
            (Some(next), Some(other)) if other.in_flight() < next.in_flight() => Some(other),
            (next, other) => next.or(other),
        }
    }

    /// Looks the names up again if `interval` has passed, or [`UNHEALTHY_RESOLVE_INTERVAL`] while an instance is
    /// unhealthy or there is none. Returns whether the instances changed. A name whose lookup fails keeps its
    /// addresses.
    pub(crate) async fn resolve(&self, resolver: &dyn Resolver, interval: Duration) -> bool {
        let inner = &self.0;
        let is_any_unhealthy = {
            let instances = inner.instances.load();
            instances.is_empty() || instances.iter().any(|instance| !instance.is_healthy())
        };
        let interval = if is_any_unhealthy { interval.min(UNHEALTHY_RESOLVE_INTERVAL) } else { interval };
        let last = inner.last_resolved.load(Ordering::Relaxed);
        let is_due = last == 0 || Duration::from_millis(monotonic_millis().saturating_sub(last)) >= interval;
        if !is_due
            || inner.configured.iter().all(ConfiguredUpstream::is_ip_literal)
            || inner.is_resolving.swap(true, Ordering::AcqRel)
        {
            return false;
        }
        for upstream in &inner.configured {
            upstream.resolve(resolver).await;
        }
        inner.last_resolved.store(monotonic_millis(), Ordering::Relaxed);
        inner.is_resolving.store(false, Ordering::Release);
        self.update_instances(&self.instances())
    }

    /// Takes over the addresses and instances of `old` for the names that both have, when the settings are reloaded.
    pub(crate) fn inherit_state(&self, old: &Self) {
        for upstream in &self.0.configured {
            if let Some(old_upstream) = old.0.configured.iter().find(|other| other.name() == upstream.name()) {
                upstream.inherit_addresses(old_upstream);
            }
        }
        self.update_instances(&old.instances());
    }

    /// Rebuilds the list of instances from the addresses. An instance of `previous` with the same address and host is
    /// reused, and so keeps its state. Returns whether the instances changed.
    fn update_instances(&self, previous: &[Arc<Instance>]) -> bool {
        let mut updated: Vec<Arc<Instance>> = Vec::new();
        for upstream in &self.0.configured {
            for address in upstream.addresses() {
                if updated.iter().any(|instance| instance.address() == address) {
                    continue;
                }
                let is_same = |instance: &&Arc<Instance>| {
                    instance.address() == address && instance.host_header() == upstream.host_header()
                };
                let reused = previous.iter().find(is_same).cloned();
                updated.push(reused.unwrap_or_else(|| Instance::new(address, upstream.host_header().clone())));
            }
        }
        let before = self.0.instances.swap(Arc::new(updated.clone()));
        let is_unchanged = before.len() == updated.len() && before.iter().zip(&updated).all(|(a, b)| Arc::ptr_eq(a, b));
        !is_unchanged
    }
}

#[cfg(test)]
mod tests;
