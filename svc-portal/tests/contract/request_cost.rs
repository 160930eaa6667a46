//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what somebody costs.

use stele_testkit::RequestCost;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, TestService};

const UNKNOWN_PHONE: &str = "13900139000";

async fn service_with_user() -> TestService {
    let portal = TestService::new().await;
    portal.lab.user("mark").password("hna123").phone(PHONE).email("1@hna.cn").add().await;
    portal
}

#[tokio::test]
async fn sending_a_code_costs_the_same_operations_for_any_recipient() {
    let portal = service_with_user().await;
    for to in [PHONE, "1@hna.cn", UNKNOWN_PHONE, "nobody@qq.com"] {
        let (answer, work) = portal.lab.measure_cost(portal.post("/code/send", &[("username", to)])).await;
        answer.assert_code("200");
        assert_eq!(work, RequestCost::new(0, &["find"], &["send_code"]), "{to}");
    }
}

#[tokio::test]
async fn a_wrong_code_costs_the_same_operations_for_any_recipient() {
    let portal = service_with_user().await;
    for path in ["/i/resetpwd", "/i/register"] {
        for to in [PHONE, UNKNOWN_PHONE] {
            let code = TestService::different_code(&portal.request_code_for(to).await);
            let (answer, work) = portal.lab.measure_cost(portal.post_with_code(path, to, "new123", &code)).await;
            answer.assert_code("3208");
            assert_eq!(work, RequestCost::new(0, &["find"], &["guess_code"]), "{path} {to}");
        }
    }
}
