//! One of two goes; the other goes on.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::load::{FailedLogin, LoginLoad};
use crate::processes::TestDeployment;

const CLIENTS: usize = 8;

#[test]
fn a_killed_instance_loses_only_its_requests_in_flight_and_is_used_again_after_restart() {
    let home = TestDeployment::new();
    let (mut one, mut two) = (home.start_portal(), home.start_portal());
    let mut gateway = home.start_gateway(&[&one, &two]);
    let load = LoginLoad::start(CLIENTS, &[gateway.address]);
    load.wait_for_logins(100);
    assert!(one.answered_logins() > 0 && two.answered_logins() > 0, "both are asked");
    one.signal(Signal::KILL);
    one.wait_for_exit();
    let dead = Instant::now();
    load.wait_for_logins(300);
    let before = one.answered_logins();
    let mut one = home.start_portal_at(one.address);
    let back = Instant::now();
    one.wait_until("asked again", |one| one.answered_logins() > before);
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    load.wait_for_logins(100);
    let failed = load.stop();
    assert!(failed.len() <= CLIENTS, "{failed:?}");
    let late: Vec<&FailedLogin> = failed.iter().filter(|failed| failed.started_at > dead).collect();
    assert!(late.is_empty(), "{late:?}");
    // A client is told in its dialect.
    assert!(failed.iter().all(|failed| failed.response.contains(r#""status_code":"503""#)), "{failed:?}");
    gateway.wait_until("ready", |gateway| gateway.readiness_status() == Some(200));
    assert!(two.answered_logins() > 0);
    two.signal(Signal::TERM);
    assert!(two.wait_for_exit().success());
}

#[test]
fn sigterm_to_one_of_two_instances_loses_no_request() {
    let home = TestDeployment::new();
    let (mut one, mut two) = (home.start_portal(), home.start_portal());
    let gateway = home.start_gateway(&[&one, &two]);
    let load = LoginLoad::start(CLIENTS, &[gateway.address]);
    load.wait_for_logins(100);
    assert!(one.answered_logins() > 0 && two.answered_logins() > 0, "both are asked");
    one.signal(Signal::TERM);
    assert!(one.wait_for_exit().success(), "{}", one.log());
    load.wait_for_logins(200);
    // A rolling restart: back at its place, and then the other one.
    let before = one.answered_logins();
    let mut one = home.start_portal_at(one.address);
    one.wait_until("asked again", |one| one.answered_logins() > before);
    two.signal(Signal::TERM);
    assert!(two.wait_for_exit().success(), "{}", two.log());
    load.wait_for_logins(200);
    let failed = load.stop();
    assert!(failed.is_empty(), "{failed:?}\n{}", gateway.log());
}

#[test]
fn sigterm_to_a_gateway_loses_no_request() {
    let home = TestDeployment::new();
    let service = home.start_portal();
    let (mut one, two) = (home.start_gateway(&[&service]), home.start_gateway(&[&service]));
    let load = LoginLoad::start(CLIENTS, &[one.address, two.address]);
    load.wait_for_logins(100);
    one.signal(Signal::TERM);
    // As a load balancer does, which looks as often as the gateway gives it time for.
    one.wait_until("not ready", |one| one.readiness_status() == Some(503));
    load.set_gateways(&[two.address]);
    assert!(one.wait_for_exit().success(), "{}", one.log());
    load.wait_for_logins(100);
    let failed = load.stop();
    assert!(failed.is_empty(), "{failed:?}\n{}", one.log());
}
