//! Which instance is taken, and what becomes of the instances when names change their addresses.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use super::instance::Checked;
use super::resolve::Lookup;
use super::*;

/// A resolver that answers what it was told last.
struct Told(Mutex<io::Result<Vec<SocketAddr>>>);

impl Told {
    fn new(addresses: &[&str]) -> Self {
        let told = Self(Mutex::new(Ok(Vec::new())));
        told.tell(addresses);
        told
    }

    fn tell(&self, addresses: &[&str]) {
        *self.0.lock().unwrap() = Ok(addresses.iter().map(|address| address.parse().unwrap()).collect());
    }

    fn fail(&self) {
        *self.0.lock().unwrap() = Err(io::Error::other("no such name"));
    }
}

impl Resolver for Told {
    fn lookup(&self, _: &str, _: u16) -> Lookup {
        let answer = match &*self.0.lock().unwrap() {
            Ok(addresses) => Ok(addresses.clone()),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        Box::pin(std::future::ready(answer))
    }
}

fn upstreams(text: &str, outcome: Checked) -> Upstreams {
    let upstreams = Upstreams::parse(text).unwrap();
    all(&upstreams, outcome);
    upstreams
}

fn all(upstreams: &Upstreams, outcome: Checked) {
    for one in upstreams.instances().iter() {
        one.checked(outcome);
    }
}

fn addresses(upstreams: &Upstreams) -> Vec<String> {
    upstreams.instances().iter().map(|one| one.address().to_string()).collect()
}

fn taken(upstreams: &Upstreams, times: usize) -> Vec<u16> {
    (0..times).map(|_| upstreams.lease(&[]).unwrap().instance().address().port()).collect()
}

const THREE: &str = "http://127.0.0.1:1,http://127.0.0.1:2,http://127.0.0.1:3";

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
fn equally_busy_instances_take_turns() {
    let taken = taken(&upstreams(THREE, Checked::Ready), 9);
    assert_eq!(taken, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
}

#[test]
fn the_less_busy_of_two_is_taken() {
    let two = upstreams("http://127.0.0.1:1,http://127.0.0.1:2", Checked::Ready);
    let busy = two.lease(&[]).unwrap();
    assert_eq!(taken(&two, 4), [2; 4]);
    drop(busy);
    assert!(taken(&two, 2).contains(&1));
}

#[test]
fn load_is_spread_over_many() {
    let urls: Vec<_> = (1..=8).map(|port| format!("http://127.0.0.1:{port}")).collect();
    let many = upstreams(&urls.join(","), Checked::Ready);
    let leases: Vec<_> = (0..800).map(|_| many.lease(&[]).unwrap()).collect();
    for one in many.instances().iter() {
        assert!((98..=102).contains(&one.in_flight()), "{}", one.in_flight());
    }
    drop(leases);
    assert!(many.instances().iter().all(|one| one.in_flight() == 0));
    // One that answers nothing for a long time is given next to nothing more.
    let slow: Vec<_> = (0..20).map(|_| many.instances()[4].lease()).collect();
    assert_eq!(taken(&many, 100).into_iter().filter(|&port| port == 5).count(), 0);
    drop(slow);
}

#[test]
fn usable_ones_come_first_then_whoever_can_be_reached() {
    let three = upstreams(THREE, Checked::Unready);
    assert_eq!(taken(&three, 3), [1, 2, 3], "somebody must tell the client, in its dialect");
    three.instances()[1].checked(Checked::Ready);
    assert_eq!(taken(&three, 3), [2; 3]);
    let tried = [three.instances()[1].clone()];
    assert_ne!(three.lease(&tried).unwrap().instance().address().port(), 2);
    assert!(three.lease(&three.instances()).is_none());
}

#[test]
fn nobody_is_asked_while_all_circuits_are_open() {
    let three = upstreams(THREE, Checked::Ready);
    for _ in 0..3 {
        all(&three, Checked::Absent);
    }
    assert!(three.lease(&[]).is_none() && !three.is_usable());
    all(&three, Checked::Silent);
    assert!(three.lease(&[]).is_none(), "to accept a connection is not to answer");
    all(&three, Checked::Unready);
    assert!(three.lease(&[]).is_some() && !three.is_usable());
    all(&three, Checked::Ready);
    assert!(three.is_usable());
}

#[test]
fn a_request_that_cannot_connect_takes_its_instance_out_until_it_is_looked_at() {
    let two = upstreams("http://127.0.0.1:1,http://127.0.0.1:2", Checked::Ready);
    let mut lease = two.lease(&[]).unwrap();
    assert_eq!(lease.instance().address().port(), 1);
    lease.unreachable();
    assert_eq!((taken(&two, 4), two.instances()[0].failures()), (vec![2; 4], 1));
    assert!(two.instances()[0].checked(Checked::Ready), "it is back: that is news");
    drop(lease);
    assert!(taken(&two, 2).contains(&1));
}

#[test]
fn late_answers_open_a_circuit_only_while_probes_get_no_answer() {
    let one = upstreams("http://127.0.0.1:1", Checked::Ready);
    let late = |times: usize| (0..times).for_each(|_| one.lease(&[]).unwrap().late());
    let circuit = || one.instances()[0].circuit();
    late(20);
    assert_eq!((circuit(), one.is_usable(), one.instances()[0].failures()), (CircuitState::Closed, true, 20));
    all(&one, Checked::Unready);
    late(20);
    assert_eq!(circuit(), CircuitState::Closed, "it says what is wrong");
    all(&one, Checked::Silent);
    late(2);
    assert_eq!(circuit(), CircuitState::Closed);
    late(1);
    assert_eq!(circuit(), CircuitState::Open);
    // Broken connections count whatever a probe says.
    all(&one, Checked::Ready);
    (0..3).for_each(|_| one.lease(&[]).unwrap().failed());
    assert_eq!(circuit(), CircuitState::Open);
}

#[tokio::test]
async fn names_gain_and_lose_instances() {
    let resolver = Told::new(&["10.0.0.1:80"]);
    let named = Upstreams::parse("http://svc:80,http://127.0.0.1:9").unwrap();
    assert!(named.look_up(&resolver, Duration::ZERO).await);
    all(&named, Checked::Ready);
    assert_eq!(addresses(&named), ["10.0.0.1:80", "127.0.0.1:9"]);
    let busy = named.lease(&[]).unwrap();
    assert_eq!((busy.instance().host().to_str().unwrap(), busy.instance().in_flight()), ("svc:80", 1));
    let stays = named.instances()[0].clone();
    // One more, in another order, and told twice.
    resolver.tell(&["10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"]);
    assert!(named.look_up(&resolver, Duration::ZERO).await);
    assert_eq!(addresses(&named), ["10.0.0.1:80", "10.0.0.2:80", "127.0.0.1:9"]);
    assert!(Arc::ptr_eq(&stays, &named.instances()[0]) && stays.is_usable());
    assert!(!named.look_up(&resolver, Duration::ZERO).await, "the same again is no change");
    // The first goes: nothing new for it, and it is forgotten once it has answered.
    resolver.tell(&["10.0.0.2:80"]);
    assert!(named.look_up(&resolver, Duration::ZERO).await);
    assert_eq!(addresses(&named), ["10.0.0.2:80", "127.0.0.1:9"]);
    assert_eq!(Arc::strong_count(&stays), 2, "this test and the request");
    drop(busy);
    assert_eq!((Arc::strong_count(&stays), stays.in_flight()), (1, 0));
}

#[tokio::test]
async fn a_resolver_that_fails_takes_nothing_away() {
    let resolver = Told::new(&["10.0.0.1:80", "10.0.0.2:80"]);
    let named = Upstreams::parse("http://svc:80").unwrap();
    assert!(named.lease(&[]).is_none());
    named.look_up(&resolver, Duration::ZERO).await;
    resolver.fail();
    assert!(!named.look_up(&resolver, Duration::ZERO).await);
    resolver.tell(&[]);
    assert!(!named.look_up(&resolver, Duration::ZERO).await);
    assert_eq!(addresses(&named).len(), 2);
}

#[tokio::test]
async fn names_are_looked_up_when_it_is_time() {
    let resolver = Told::new(&["10.0.0.1:80"]);
    let hour = Duration::from_secs(3_600);
    let named = Upstreams::parse("http://svc:80").unwrap();
    assert!(named.look_up(&resolver, hour).await, "at once, the first time");
    all(&named, Checked::Ready);
    resolver.tell(&["10.0.0.2:80"]);
    assert!(!named.look_up(&resolver, hour).await);
    all(&named, Checked::Absent);
    let deadline = std::time::Instant::now() + 5 * HURRY;
    while !named.look_up(&resolver, hour).await {
        assert!(std::time::Instant::now() < deadline, "something is amiss, and nobody looked");
        tokio::task::yield_now().await;
    }
    assert_eq!(addresses(&named), ["10.0.0.2:80"]);
}

#[test]
fn a_new_table_goes_on_with_what_the_old_one_knows() {
    let old = upstreams(THREE, Checked::Ready);
    let new = Upstreams::parse("http://127.0.0.1:3,http://127.0.0.1:4").unwrap();
    new.succeed(&old);
    assert!(Arc::ptr_eq(&new.instances()[0], &old.instances()[2]) && new.instances()[0].is_usable());
    assert!(!new.instances()[1].is_usable());
    assert_eq!((addresses(&new).len(), addresses(&old).len()), (2, 3));
}

#[tokio::test]
async fn a_new_table_need_not_look_up_what_the_old_one_found() {
    let old = Upstreams::parse("http://svc:80").unwrap();
    old.look_up(&Told::new(&["10.0.0.1:80"]), Duration::ZERO).await;
    let new = Upstreams::parse("http://svc:80,http://other:80").unwrap();
    new.succeed(&old);
    assert_eq!(addresses(&new), ["10.0.0.1:80"]);
}
