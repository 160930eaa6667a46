//! CPU cost of a login in instructions and allocations. The conformance suite counts hashes and store round trips.

use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::{KeepAliveConnection, measure_with_valgrind, repetitions, servers};

use crate::test_service::{LOGIN, TestService};

/// Maximum (instructions, allocations) of a login in a debug build: with embedded stores, then with PostgreSQL and
/// Redis. The measured values plus 5% for differences between compilers.
const MAX_COST: [(u64, u64); 2] = [(1_173_000, 170), (1_230_000, 350)];

#[tokio::test]
#[ignore = "needs Valgrind"]
async fn a_login_stays_within_its_instruction_and_allocation_limits() {
    // `measure_with_valgrind` runs this test again, as a child process that finds its repetitions in the environment.
    if let Some(times) = repetitions() {
        return log_in_repeatedly(times).await;
    }
    let cost = measure_with_valgrind("request_cost::a_login_stays_within_its_instruction_and_allocation_limits");
    let (instructions, allocations) = MAX_COST[usize::from(servers::server_stores_requested())];
    assert!(cost.instructions <= instructions && cost.allocations <= allocations, "{cost:?}");
}

async fn log_in_repeatedly(times: u64) {
    let service = TestService::new().await;
    service.lab.user("mark").add().await;
    let mut client = KeepAliveConnection::connect(&service.service).await;
    let first = service.now() - 150;
    for at in (first..).take(usize::try_from(times).unwrap()) {
        let proof = salted_digest("123456", at);
        let body = format!(r#"{{"username":"mark","password":"{proof}","timestamp":"{at}"}}"#);
        let head = format!("POST {LOGIN} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ");
        let response = client.request(&format!("{head}{}\r\n\r\n{body}", body.len())).await;
        assert!(response.contains("\"code\":\"0000\""), "{response}");
    }
}
