//! The instances of a service, and which of them gets the next request.
//!
//! - `configured`: what the settings name, `http://host:port`; each name has any number of addresses
//! - [`instance`]: one address, and how it does; `circuit`: when it is left alone
//! - [`resolve`]: from names to addresses
//! - [`connection`]: a connection to an instance; [`pool`]: those that are kept; [`ask`]: the gateway's own questions to them

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

/// A name that leads nowhere good is looked up so soon again.
const UNHEALTHY_RESOLVE_INTERVAL: Duration = Duration::from_secs(1);

/// The instances of one service. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Upstreams(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    configured: Vec<ConfiguredUpstream>,
    /// Replaced as a whole, read before every request.
    instances: ArcSwap<Vec<Arc<Instance>>>,
    round_robin: AtomicUsize,
    last_resolved: AtomicU64,
    is_resolving: AtomicBool,
}

impl Upstreams {
    /// Reads addresses separated by commas.
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

    /// What the settings name, `host:port` each.
    pub(crate) fn configured_names(&self) -> Vec<&str> {
        self.0.configured.iter().map(ConfiguredUpstream::name).collect()
    }

    /// Every instance known now.
    pub(crate) fn instances(&self) -> Arc<Vec<Arc<Instance>>> {
        self.0.instances.load_full()
    }

    /// Whether any instance says that it can work.
    pub(crate) fn has_healthy_instance(&self) -> bool {
        self.0.instances.load().iter().any(|instance| instance.is_healthy())
    }

    /// Takes an instance, none of those `tried`, for a request: a usable one. If there is none, one that can be
    /// reached, for it can say itself what is wrong, in its dialect; else one that it is time to try again.
    pub(crate) fn acquire_instance(&self, tried: &[Arc<Instance>]) -> Option<InstanceGuard> {
        let all = self.0.instances.load();
        let fresh = |one: &Arc<Instance>| !tried.iter().any(|tried| Arc::ptr_eq(tried, one));
        let usable = self.pick_less_busy(&all, |one| one.is_healthy() && fresh(one));
        let reachable = || self.pick_less_busy(&all, |one| one.is_circuit_closed() && fresh(one));
        if let Some(instance) = usable.or_else(reachable) {
            return Some(instance.acquire());
        }
        all.iter().filter(|one| fresh(one)).find_map(Instance::try_acquire_trial)
    }

    /// The next in turn, unless another one, any, is less busy: to look at two tells nearly as much as to look at all.
    fn pick_less_busy<'a>(
        &self,
        all: &'a [Arc<Instance>],
        fit: impl Fn(&Arc<Instance>) -> bool,
    ) -> Option<&'a Arc<Instance>> {
        let nth = |n| all.iter().filter(|one| fit(one)).nth(n);
        let count = all.iter().filter(|one| fit(one)).count();
        if count < 2 {
            return nth(0);
        }
        let turn = self.0.round_robin.fetch_add(1, Ordering::Relaxed);
        let next = turn % count;
        // A multiplicative hash of the turn: as good as chance here, and cheaper.
        let spread = ((turn as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        let other = (next + 1 + spread % (count - 1)) % count;
        // Instances may have become unfit since they were counted.
        match (nth(next), nth(other)) {
            (Some(next), Some(other)) if other.in_flight() < next.in_flight() => Some(other),
            (next, other) => next.or(other),
        }
    }

    /// Looks the names up again, if `every` has passed since, or something is amiss; whether the instances changed.
    /// The names that cannot be looked up keep the addresses they had.
    pub(crate) async fn resolve(&self, resolver: &dyn Resolver, every: Duration) -> bool {
        let inner = &self.0;
        let amiss = inner.instances.load().iter().any(|one| !one.is_healthy()) || inner.instances.load().is_empty();
        let every = if amiss { every.min(UNHEALTHY_RESOLVE_INTERVAL) } else { every };
        let last = inner.last_resolved.load(Ordering::Relaxed);
        let due = last == 0 || Duration::from_millis(monotonic_millis().saturating_sub(last)) >= every;
        if !due
            || inner.configured.iter().all(ConfiguredUpstream::is_ip_literal)
            || inner.is_resolving.swap(true, Ordering::AcqRel)
        {
            return false;
        }
        for one in &inner.configured {
            one.resolve(resolver).await;
        }
        inner.last_resolved.store(monotonic_millis(), Ordering::Relaxed);
        inner.is_resolving.store(false, Ordering::Release);
        self.update_instances(&self.instances())
    }

    /// Goes on with what `old` knows: addresses of names that both have, and how their instances do.
    pub(crate) fn inherit_state(&self, old: &Self) {
        for one in &self.0.configured {
            if let Some(same) = old.0.configured.iter().find(|other| other.name() == one.name()) {
                one.inherit_addresses(same);
            }
        }
        self.update_instances(&old.instances());
    }

    /// Makes the instances anew from the addresses; those that are among `known` stay the ones they are.
    fn update_instances(&self, known: &[Arc<Instance>]) -> bool {
        let mut gathered: Vec<Arc<Instance>> = Vec::new();
        for one in &self.0.configured {
            for address in one.addresses() {
                if gathered.iter().any(|instance| instance.address() == address) {
                    continue;
                }
                let same = |instance: &&Arc<Instance>| {
                    instance.address() == address && instance.host_header() == one.host_header()
                };
                let kept = known.iter().find(same).cloned();
                gathered.push(kept.unwrap_or_else(|| Instance::new(address, one.host_header().clone())));
            }
        }
        let before = self.0.instances.swap(Arc::new(gathered.clone()));
        let same = before.len() == gathered.len() && before.iter().zip(&gathered).all(|(a, b)| Arc::ptr_eq(a, b));
        !same
    }
}

#[cfg(test)]
mod tests;
