//! The instances of a service, and which of them gets the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::error::HttpError;
use actix_web::http::uri::{Authority, PathAndQuery, Scheme};
use actix_web::http::{Uri, uri};

/// The instances of one service.
#[derive(Clone, Debug)]
pub(crate) struct Upstreams {
    instances: Arc<[Arc<Instance>]>,
    turn: Arc<AtomicUsize>,
}

/// One instance, at `http://host:port`.
#[derive(Debug)]
pub(crate) struct Instance {
    authority: Authority,
    in_flight: AtomicUsize,
}

/// Counts a request as in flight at its instance until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Instance>);

impl Upstreams {
    /// Reads addresses separated by commas.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
        let instances = urls.map(Instance::parse).collect::<Result<Arc<[_]>, _>>()?;
        if instances.is_empty() {
            return Err("no upstream; write for example http://127.0.0.1:8101".to_owned());
        }
        Ok(Self { instances, turn: Arc::default() })
    }

    /// All instances, in the order to try them: the least busy first, equally busy ones in turn.
    pub(crate) fn order(&self) -> Vec<Arc<Instance>> {
        let mut order = self.instances.to_vec();
        if order.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % order.len();
            order.rotate_left(turn);
            order.sort_by_cached_key(|instance| instance.in_flight.load(Ordering::Relaxed));
        }
        order
    }

    /// The instances, in the order they were configured.
    pub(crate) fn instances(&self) -> &[Arc<Instance>] {
        &self.instances
    }
}

impl Instance {
    /// Only `http://host:port`: a path would be joined to the client's in ways nobody expects.
    fn parse(url: &str) -> Result<Arc<Self>, String> {
        let fault = || format!("`{url}` is not an upstream; write http://host:port, without a path");
        let rest = url.strip_prefix("http://").ok_or_else(fault)?;
        let authority: Authority = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| fault())?;
        let named = !authority.host().is_empty() && authority.port_u16().is_some_and(|port| port > 0);
        if !named || authority.as_str().contains('@') {
            return Err(fault());
        }
        Ok(Arc::new(Self { authority, in_flight: AtomicUsize::new(0) }))
    }

    /// The URI of `target` at this instance, byte for byte.
    pub(crate) fn uri(&self, target: PathAndQuery) -> Result<Uri, HttpError> {
        uri::Builder::new().scheme(Scheme::HTTP).authority(self.authority.clone()).path_and_query(target).build()
    }

    /// `host:port`, as connecting takes it.
    pub(crate) fn address(&self) -> &str {
        self.authority.as_str()
    }

    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Lease(Arc::clone(self))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(upstreams: &Upstreams) -> Arc<Instance> {
        upstreams.order().remove(0)
    }

    #[test]
    fn only_plain_http_addresses_are_upstreams() {
        for good in ["http://127.0.0.1:8101", "http://svc-tms:8102/", "http://[::1]:8103", "http://a:1, http://b:2"] {
            assert!(Upstreams::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ",",
            "127.0.0.1:8101",
            "https://a:1",
            "http://a",
            "http://a:0",
            "http://a:99999",
            "http://a:1/x",
            "http://:1",
            "http://u@a:1",
            "http://a:1?q",
            "http://a:1 http://b:2",
            "HTTP://a:1,x",
        ] {
            assert!(Upstreams::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn equally_busy_instances_take_turns() {
        let upstreams = Upstreams::parse("http://a:1,http://b:2,http://c:3").unwrap();
        let mut seen: Vec<_> = (0..6).map(|_| first(&upstreams).address().to_owned()).collect();
        assert_eq!(seen[..3], seen[3..]);
        seen.truncate(3);
        seen.sort();
        assert_eq!(seen, ["a:1", "b:2", "c:3"]);
    }

    #[test]
    fn the_least_busy_instance_comes_first() {
        let upstreams = Upstreams::parse("http://a:1,http://b:2").unwrap();
        let busy = upstreams.instances()[0].lease();
        for _ in 0..4 {
            assert_eq!(first(&upstreams).address(), "b:2");
            assert_eq!(upstreams.order().len(), 2);
        }
        drop(busy);
        let addresses = [first(&upstreams), first(&upstreams)].map(|i| i.address().to_owned());
        assert!(addresses.contains(&"a:1".to_owned()), "{addresses:?}");
    }
}
