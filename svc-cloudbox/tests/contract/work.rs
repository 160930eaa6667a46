//! What a login costs the processor, counted. Hashes and trips to the stores are counted by the conformance suite.

use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted;
use stele_testkit::{Kept, counted, servers, times};

use crate::app::{App, LOGIN};

/// Instructions and allocations as they were when this was last changed, and a twentieth more, for compilers differ:
/// with the embedded stores, and with servers. Unoptimized.
const MOST: [(u64, u64); 2] = [(1_030_000, 170), (1_010_000, 330)];

#[tokio::test]
#[ignore = "needs Valgrind"]
async fn a_login_takes_no_more_instructions_and_allocations_than_it_did() {
    if let Some(times) = times() {
        return log_in(times).await;
    }
    let cost = counted("work::a_login_takes_no_more_instructions_and_allocations_than_it_did");
    let (instructions, allocations) = MOST[usize::from(servers::wanted())];
    assert!(cost.instructions <= instructions && cost.allocations <= allocations, "{cost:?}");
}

async fn log_in(times: u64) {
    let app = App::new().await;
    app.lab.user("mark").add().await;
    let mut client = Kept::to(&app.service).await;
    let first = app.now() - 150;
    for at in (first..).take(usize::try_from(times).unwrap()) {
        let proof = salted("123456", at);
        let body = format!(r#"{{"username":"mark","password":"{proof}","timestamp":"{at}"}}"#);
        let head = format!("POST {LOGIN} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ");
        let answer = client.ask(&format!("{head}{}\r\n\r\n{body}", body.len())).await;
        assert!(answer.contains("\"code\":\"0000\""), "{answer}");
    }
}
