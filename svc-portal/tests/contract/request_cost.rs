//! The cost of calls in password hashes and store round trips. Unknown users cost the same as known ones, so that
//! timing permits no user enumeration.

use stele_testkit::RequestCost;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, TestService};

const UNKNOWN_PHONE: &str = "13900139000";

async fn service_with_user() -> TestService {
    let service = TestService::new().await;
    service.lab.user("mark").password("hna123").phone(PHONE).email("1@hna.cn").add().await;
    service
}

#[tokio::test]
async fn sending_a_code_costs_the_same_operations_for_any_recipient() {
    let service = service_with_user().await;
    for to in [PHONE, "1@hna.cn", UNKNOWN_PHONE, "unknown@qq.com"] {
        let (response, measured_cost) = service.lab.measure_cost(service.post("/code/send", &[("username", to)])).await;
        response.assert_code("200");
        assert_eq!(measured_cost, RequestCost::new(0, &["find"], &["send_code"]), "{to}");
    }
}

#[tokio::test]
async fn a_wrong_code_costs_the_same_operations_for_any_recipient() {
    let service = service_with_user().await;
    for path in ["/i/resetpwd", "/i/register"] {
        for to in [PHONE, UNKNOWN_PHONE] {
            let code = TestService::different_code(&service.request_code_for(to).await);
            let (response, measured_cost) =
                service.lab.measure_cost(service.post_with_code(path, to, "new123", &code)).await;
            response.assert_code("3208");
            assert_eq!(measured_cost, RequestCost::new(0, &["find"], &["guess_code"]), "{path} {to}");
        }
    }
}
