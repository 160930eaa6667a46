//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what somebody costs.

use serde_json::json;
use stele_testkit::RequestCost;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, ResponseExt as _, TestService};

const USER: &str = "13800138000";

async fn service_with_user() -> TestService {
    let bench = TestService::new().await;
    bench.lab.user("mark").phone(USER).add().await;
    bench
}

/// That a code goes to strangers or to users alone the document has it tell; but not more than it says.
#[actix_web::test]
async fn sending_a_code_costs_the_same_operations_for_any_phone() {
    let bench = service_with_user().await;
    let cases: [(_, _, _, &[_]); 4] =
        [(PHONE, 1, 0, &["send_code"]), (USER, 2, 0, &["send_code"]), (USER, 1, 40001, &[]), (PHONE, 2, 40007, &[])];
    for (phone, usage, code, state) in cases {
        let asked = json!({ "login_name": phone, "usage": usage });
        let (response, work) = bench.lab.measure_cost(bench.call_as_melink("/auth/captcha", &asked)).await;
        assert_eq!(response.status_and_code(), (200, code));
        assert_eq!(work, RequestCost::new(0, &["app", "find"], state), "{phone} {usage}");
    }
}

#[actix_web::test]
async fn a_wrong_code_costs_the_same_operations_for_any_phone() {
    let bench = service_with_user().await;
    bench.request_code_for("melink", PHONE, 1).await;
    bench.request_code_for("melink", USER, 2).await;
    for phone in [USER, PHONE, "13700137000"] {
        for (path, password) in [("/auth/register", "password"), ("/auth/forgot", "new_password")] {
            let asked = json!({ "login_name": phone, password: "123456", "captcha": "no code" });
            let (response, work) = bench.lab.measure_cost(bench.call_as_melink(path, &asked)).await;
            assert_eq!(response.status_and_code(), (200, 40002));
            assert_eq!(work, RequestCost::new(0, &["app", "find"], &["guess_code"]), "{path} {phone}");
        }
    }
}
