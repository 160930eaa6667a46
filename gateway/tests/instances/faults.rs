//! One of two goes; the other goes on.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::load::{Failed, Load};
use crate::programs::Home;

const CLIENTS: usize = 8;

#[test]
fn one_of_two_killed_takes_only_what_it_was_about_and_serves_again_when_it_is_back() {
    let home = Home::new();
    let (mut one, mut two) = (home.service(), home.service());
    let mut gateway = home.gateway(&[&one, &two]);
    let load = Load::start(CLIENTS, &[gateway.address]);
    load.more(100);
    assert!(one.logins() > 0 && two.logins() > 0, "both are asked");
    one.signal(Signal::KILL);
    one.ended();
    let dead = Instant::now();
    load.more(300);
    let before = one.logins();
    let mut one = home.service_at(one.address);
    let back = Instant::now();
    one.until("asked again", |one| one.logins() > before);
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    load.more(100);
    let failed = load.end();
    assert!(failed.len() <= CLIENTS, "{failed:?}");
    let late: Vec<&Failed> = failed.iter().filter(|failed| failed.begun > dead).collect();
    assert!(late.is_empty(), "{late:?}");
    // A client is told in its dialect.
    assert!(failed.iter().all(|failed| failed.told.contains(r#""status_code":"503""#)), "{failed:?}");
    gateway.until("ready", |gateway| gateway.readiness() == Some(200));
    assert!(two.logins() > 0);
    two.signal(Signal::TERM);
    assert!(two.ended().success());
}

#[test]
fn one_of_two_told_to_stop_loses_nothing() {
    let home = Home::new();
    let (mut one, mut two) = (home.service(), home.service());
    let gateway = home.gateway(&[&one, &two]);
    let load = Load::start(CLIENTS, &[gateway.address]);
    load.more(100);
    assert!(one.logins() > 0 && two.logins() > 0, "both are asked");
    one.signal(Signal::TERM);
    assert!(one.ended().success(), "{}", one.log());
    load.more(200);
    // A rolling restart: back at its place, and then the other one.
    let before = one.logins();
    let mut one = home.service_at(one.address);
    one.until("asked again", |one| one.logins() > before);
    two.signal(Signal::TERM);
    assert!(two.ended().success(), "{}", two.log());
    load.more(200);
    let failed = load.end();
    assert!(failed.is_empty(), "{failed:?}\n{}", gateway.log());
}

#[test]
fn a_gateway_told_to_stop_answers_all_that_it_was_asked() {
    let home = Home::new();
    let service = home.service();
    let (mut one, two) = (home.gateway(&[&service]), home.gateway(&[&service]));
    let load = Load::start(CLIENTS, &[one.address, two.address]);
    load.more(100);
    one.signal(Signal::TERM);
    // As a load balancer does, which looks as often as the gateway gives it time for.
    one.until("not ready", |one| one.readiness() == Some(503));
    load.turn_to(&[two.address]);
    assert!(one.ended().success(), "{}", one.log());
    load.more(100);
    let failed = load.end();
    assert!(failed.is_empty(), "{failed:?}\n{}", one.log());
}
