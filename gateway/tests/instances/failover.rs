//! Failover: one of two instances, or one of two gateways, is killed or stopped during logins.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::load::{FailedLogin, LoginLoad};
use crate::processes::TestDeployment;

const CLIENTS: usize = 8;

#[test]
fn a_killed_instance_loses_only_its_requests_in_flight_and_is_used_again_after_restart() {
    let deployment = TestDeployment::new();
    let (mut first, mut second) = (deployment.start_portal(), deployment.start_portal());
    let mut gateway = deployment.start_gateway(&[&first, &second]);
    let load = LoginLoad::start(CLIENTS, &[gateway.address]);
    load.wait_for_logins(100);
    assert!(first.answered_logins() > 0 && second.answered_logins() > 0, "both serve logins");
    first.signal(Signal::KILL);
    first.wait_for_exit();
    let killed_at = Instant::now();
    load.wait_for_logins(300);
    let logins_before = first.answered_logins();
    let mut first = deployment.start_portal_at(first.address);
    let restarted_at = Instant::now();
    first.wait_until("logins after the restart", |first| first.answered_logins() > logins_before);
    assert!(restarted_at.elapsed() < Duration::from_secs(2), "{:?}", restarted_at.elapsed());
    load.wait_for_logins(100);
    let failed = load.stop();
    assert!(failed.len() <= CLIENTS, "{failed:?}");
    let failed_later: Vec<&FailedLogin> = failed.iter().filter(|failed| failed.started_at > killed_at).collect();
    assert!(failed_later.is_empty(), "{failed_later:?}");
    // The failures are reported in the dialect.
    assert!(failed.iter().all(|failed| failed.response.contains(r#""status_code":"503""#)), "{failed:?}");
    gateway.wait_until("readiness", |gateway| gateway.readiness_status() == Some(200));
    assert!(second.answered_logins() > 0);
    second.signal(Signal::TERM);
    assert!(second.wait_for_exit().success());
}

#[test]
fn sigterm_to_one_of_two_instances_loses_no_request() {
    let deployment = TestDeployment::new();
    let (mut first, mut second) = (deployment.start_portal(), deployment.start_portal());
    let gateway = deployment.start_gateway(&[&first, &second]);
    let load = LoginLoad::start(CLIENTS, &[gateway.address]);
    load.wait_for_logins(100);
    assert!(first.answered_logins() > 0 && second.answered_logins() > 0, "both serve logins");
    first.signal(Signal::TERM);
    assert!(first.wait_for_exit().success(), "{}", first.log());
    load.wait_for_logins(200);
    // A rolling restart: the first instance returns at its address, then the second stops.
    let logins_before = first.answered_logins();
    let mut first = deployment.start_portal_at(first.address);
    first.wait_until("logins after the restart", |first| first.answered_logins() > logins_before);
    second.signal(Signal::TERM);
    assert!(second.wait_for_exit().success(), "{}", second.log());
    load.wait_for_logins(200);
    let failed = load.stop();
    assert!(failed.is_empty(), "{failed:?}\n{}", gateway.log());
}

#[test]
fn sigterm_to_a_gateway_loses_no_request() {
    let deployment = TestDeployment::new();
    let service = deployment.start_portal();
    let (mut first, second) = (deployment.start_gateway(&[&service]), deployment.start_gateway(&[&service]));
    let load = LoginLoad::start(CLIENTS, &[first.address, second.address]);
    load.wait_for_logins(100);
    first.signal(Signal::TERM);
    // A load balancer would see the failed readiness check during the drain, and send new requests elsewhere.
    first.wait_until("failed readiness", |first| first.readiness_status() == Some(503));
    load.set_gateways(&[second.address]);
    assert!(first.wait_for_exit().success(), "{}", first.log());
    load.wait_for_logins(100);
    let failed = load.stop();
    assert!(failed.is_empty(), "{failed:?}\n{}", first.log());
}
