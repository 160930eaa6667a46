//! Load balancing between instances, and updates of the instances after name lookups and reloads.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use super::instance::HealthCheckResult;
use super::resolver::LookupFuture;
use super::*;

/// A resolver that returns the addresses, or the error, set last.
struct FakeResolver(Mutex<io::Result<Vec<SocketAddr>>>);

impl FakeResolver {
    fn new(addresses: &[&str]) -> Self {
        let resolver = Self(Mutex::new(Ok(Vec::new())));
        resolver.set_addresses(addresses);
        resolver
    }

    fn set_addresses(&self, addresses: &[&str]) {
        *self.0.lock().unwrap() = Ok(addresses.iter().map(|address| address.parse().unwrap()).collect());
    }

    fn set_error(&self) {
        *self.0.lock().unwrap() = Err(io::Error::other("no such name"));
    }
}

impl Resolver for FakeResolver {
    fn lookup(&self, _: &str, _: u16) -> LookupFuture {
        let result = match &*self.0.lock().unwrap() {
            Ok(addresses) => Ok(addresses.clone()),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        Box::pin(std::future::ready(result))
    }
}

fn upstreams_with_health(urls: &str, result: HealthCheckResult) -> Upstreams {
    let upstreams = Upstreams::parse(urls).unwrap();
    record_all(&upstreams, result);
    upstreams
}

/// Records the same health check result for every instance.
fn record_all(upstreams: &Upstreams, result: HealthCheckResult) {
    for instance in upstreams.instances().iter() {
        instance.record_health_check(result);
    }
}

fn addresses(upstreams: &Upstreams) -> Vec<String> {
    upstreams.instances().iter().map(|instance| instance.address().to_string()).collect()
}

/// The ports of the instances that the next `times` requests are sent to, each request ending before the next.
fn acquired_ports(upstreams: &Upstreams, times: usize) -> Vec<u16> {
    (0..times).map(|_| upstreams.acquire_instance(&[]).unwrap().instance().address().port()).collect()
}

const THREE_URLS: &str = "http://127.0.0.1:1,http://127.0.0.1:2,http://127.0.0.1:3";

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
        "http://[]:1",
        "http://u@a:1",
        "http://a:1?q",
        "http://a:1 http://b:2",
        "HTTP://a:1,x",
    ] {
        assert!(Upstreams::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn equally_busy_instances_are_used_in_turn() {
    let ports = acquired_ports(&upstreams_with_health(THREE_URLS, HealthCheckResult::Ready), 9);
    assert_eq!(ports, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
}

#[test]
fn the_less_busy_of_two_instances_is_chosen() {
    let two = upstreams_with_health("http://127.0.0.1:1,http://127.0.0.1:2", HealthCheckResult::Ready);
    let busy = two.acquire_instance(&[]).unwrap();
    assert_eq!(acquired_ports(&two, 4), [2; 4]);
    drop(busy);
    assert!(acquired_ports(&two, 2).contains(&1));
}

#[test]
fn load_is_spread_over_many_instances() {
    let urls: Vec<_> = (1..=8).map(|port| format!("http://127.0.0.1:{port}")).collect();
    let many = upstreams_with_health(&urls.join(","), HealthCheckResult::Ready);
    let guards: Vec<_> = (0..800).map(|_| many.acquire_instance(&[]).unwrap()).collect();
    for instance in many.instances().iter() {
        assert!((98..=102).contains(&instance.in_flight()), "{}", instance.in_flight());
    }
    drop(guards);
    assert!(many.instances().iter().all(|instance| instance.in_flight() == 0));
    // A slow instance, whose requests pile up, gets no further requests.
    let slow: Vec<_> = (0..20).map(|_| many.instances()[4].acquire()).collect();
    assert_eq!(acquired_ports(&many, 100).into_iter().filter(|&port| port == 5).count(), 0);
    drop(slow);
}

#[test]
fn healthy_instances_are_preferred_to_reachable_ones() {
    let three = upstreams_with_health(THREE_URLS, HealthCheckResult::NotReady);
    assert_eq!(acquired_ports(&three, 3), [1, 2, 3], "an instance that is not ready reports that in its dialect");
    three.instances()[1].record_health_check(HealthCheckResult::Ready);
    assert_eq!(acquired_ports(&three, 3), [2; 3]);
    let tried = [three.instances()[1].clone()];
    assert_ne!(three.acquire_instance(&tried).unwrap().instance().address().port(), 2);
    assert!(three.acquire_instance(&three.instances()).is_none());
}

#[test]
fn no_instance_is_chosen_while_all_circuits_are_open() {
    let three = upstreams_with_health(THREE_URLS, HealthCheckResult::Ready);
    for _ in 0..3 {
        record_all(&three, HealthCheckResult::ConnectFailed);
    }
    assert!(three.acquire_instance(&[]).is_none() && !three.has_healthy_instance());
    record_all(&three, HealthCheckResult::NoResponse);
    assert!(three.acquire_instance(&[]).is_none(), "an accepted connection is not a response");
    record_all(&three, HealthCheckResult::NotReady);
    assert!(three.acquire_instance(&[]).is_some() && !three.has_healthy_instance());
    record_all(&three, HealthCheckResult::Ready);
    assert!(three.has_healthy_instance());
}

#[test]
fn an_instance_that_refuses_a_connection_is_not_used_until_its_next_health_check() {
    let two = upstreams_with_health("http://127.0.0.1:1,http://127.0.0.1:2", HealthCheckResult::Ready);
    let mut guard = two.acquire_instance(&[]).unwrap();
    assert_eq!(guard.instance().address().port(), 1);
    guard.record_connect_failure();
    assert_eq!((acquired_ports(&two, 4), two.instances()[0].failures()), (vec![2; 4], 1));
    assert!(two.instances()[0].record_health_check(HealthCheckResult::Ready), "the state changed");
    drop(guard);
    assert!(acquired_ports(&two, 2).contains(&1));
}

#[test]
fn timeouts_open_the_circuit_only_while_probes_get_no_response() {
    let single = upstreams_with_health("http://127.0.0.1:1", HealthCheckResult::Ready);
    let record_timeouts =
        |times: usize| (0..times).for_each(|_| single.acquire_instance(&[]).unwrap().record_timeout());
    let circuit_state = || single.instances()[0].circuit_state();
    record_timeouts(20);
    assert_eq!(
        (circuit_state(), single.has_healthy_instance(), single.instances()[0].failures()),
        (CircuitState::Closed, true, 20)
    );
    record_all(&single, HealthCheckResult::NotReady);
    record_timeouts(20);
    assert_eq!(circuit_state(), CircuitState::Closed, "the instance responds to probes, though it is not ready");
    record_all(&single, HealthCheckResult::NoResponse);
    record_timeouts(2);
    assert_eq!(circuit_state(), CircuitState::Closed);
    record_timeouts(1);
    assert_eq!(circuit_state(), CircuitState::Open);
    // Broken connections count regardless of probes.
    record_all(&single, HealthCheckResult::Ready);
    (0..3).for_each(|_| single.acquire_instance(&[]).unwrap().record_failure());
    assert_eq!(circuit_state(), CircuitState::Open);
}

#[tokio::test]
async fn a_changed_dns_answer_adds_and_removes_instances() {
    let resolver = FakeResolver::new(&["10.0.0.1:80"]);
    let named = Upstreams::parse("http://svc:80,http://127.0.0.1:9").unwrap();
    assert!(named.resolve(&resolver, Duration::ZERO).await);
    record_all(&named, HealthCheckResult::Ready);
    assert_eq!(addresses(&named), ["10.0.0.1:80", "127.0.0.1:9"]);
    let busy = named.acquire_instance(&[]).unwrap();
    assert_eq!((busy.instance().host_header().to_str().unwrap(), busy.instance().in_flight()), ("svc:80", 1));
    let first = named.instances()[0].clone();
    // One more address, listed twice, and the addresses in another order.
    resolver.set_addresses(&["10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"]);
    assert!(named.resolve(&resolver, Duration::ZERO).await);
    assert_eq!(addresses(&named), ["10.0.0.1:80", "10.0.0.2:80", "127.0.0.1:9"]);
    assert!(Arc::ptr_eq(&first, &named.instances()[0]) && first.is_healthy());
    assert!(!named.resolve(&resolver, Duration::ZERO).await, "the same addresses are no change");
    // The first address is removed: its instance gets no new requests, and is dropped after the request in flight.
    resolver.set_addresses(&["10.0.0.2:80"]);
    assert!(named.resolve(&resolver, Duration::ZERO).await);
    assert_eq!(addresses(&named), ["10.0.0.2:80", "127.0.0.1:9"]);
    assert_eq!(Arc::strong_count(&first), 2, "this test and the request");
    drop(busy);
    assert_eq!((Arc::strong_count(&first), first.in_flight()), (1, 0));
}

#[tokio::test]
async fn a_failed_lookup_keeps_the_known_addresses() {
    let resolver = FakeResolver::new(&["10.0.0.1:80", "10.0.0.2:80"]);
    let named = Upstreams::parse("http://svc:80").unwrap();
    assert!(named.acquire_instance(&[]).is_none());
    named.resolve(&resolver, Duration::ZERO).await;
    resolver.set_error();
    assert!(!named.resolve(&resolver, Duration::ZERO).await);
    resolver.set_addresses(&[]);
    assert!(!named.resolve(&resolver, Duration::ZERO).await);
    assert_eq!(addresses(&named).len(), 2);
}

#[tokio::test]
async fn names_are_resolved_at_the_interval_or_when_an_instance_is_unhealthy() {
    let resolver = FakeResolver::new(&["10.0.0.1:80"]);
    let hour = Duration::from_secs(3_600);
    let named = Upstreams::parse("http://svc:80").unwrap();
    assert!(named.resolve(&resolver, hour).await, "the first lookup is due at once");
    record_all(&named, HealthCheckResult::Ready);
    resolver.set_addresses(&["10.0.0.2:80"]);
    assert!(!named.resolve(&resolver, hour).await);
    record_all(&named, HealthCheckResult::ConnectFailed);
    let deadline = std::time::Instant::now() + 5 * UNHEALTHY_RESOLVE_INTERVAL;
    while !named.resolve(&resolver, hour).await {
        assert!(std::time::Instant::now() < deadline, "no lookup while an instance is unhealthy");
        tokio::task::yield_now().await;
    }
    assert_eq!(addresses(&named), ["10.0.0.2:80"]);
}

#[test]
fn a_new_table_inherits_instance_state() {
    let old = upstreams_with_health(THREE_URLS, HealthCheckResult::Ready);
    let new = Upstreams::parse("http://127.0.0.1:3,http://127.0.0.1:4").unwrap();
    new.inherit_state(&old);
    assert!(Arc::ptr_eq(&new.instances()[0], &old.instances()[2]) && new.instances()[0].is_healthy());
    assert!(!new.instances()[1].is_healthy());
    assert_eq!((addresses(&new).len(), addresses(&old).len()), (2, 3));
}

#[tokio::test]
async fn a_new_table_inherits_resolved_addresses() {
    let old = Upstreams::parse("http://svc:80").unwrap();
    old.resolve(&FakeResolver::new(&["10.0.0.1:80"]), Duration::ZERO).await;
    let new = Upstreams::parse("http://svc:80,http://other:80").unwrap();
    new.inherit_state(&old);
    assert_eq!(addresses(&new), ["10.0.0.1:80"]);
}
