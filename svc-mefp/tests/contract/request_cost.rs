//! The cost of calls in password hashes and store round trips. Unknown users cost the same as known ones, so that
//! timing permits no user enumeration.

use serde_json::json;
use stele_testkit::RequestCost;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, ResponseExt as _, TestService};

const USER: &str = "13800138000";

async fn service_with_user() -> TestService {
    let service = TestService::new().await;
    service.lab.user("mark").phone(USER).add().await;
    service
}

/// The API document's errors 40001 and 40007 reveal whether a user exists; the cost must not reveal more.
#[actix_web::test]
async fn sending_a_code_costs_the_same_operations_for_any_phone() {
    let service = service_with_user().await;
    let cases: [(_, _, _, &[_]); 4] =
        [(PHONE, 1, 0, &["send_code"]), (USER, 2, 0, &["send_code"]), (USER, 1, 40001, &[]), (PHONE, 2, 40007, &[])];
    for (phone, usage, code, state_calls) in cases {
        let request = json!({ "login_name": phone, "usage": usage });
        let (response, measured_cost) =
            service.lab.measure_cost(service.call_as_melink("/auth/captcha", &request)).await;
        assert_eq!(response.status_and_code(), (200, code));
        assert_eq!(measured_cost, RequestCost::new(0, &["app", "find"], state_calls), "{phone} {usage}");
    }
}

#[actix_web::test]
async fn a_wrong_code_costs_the_same_operations_for_any_phone() {
    let service = service_with_user().await;
    service.request_code_for("melink", PHONE, 1).await;
    service.request_code_for("melink", USER, 2).await;
    for phone in [USER, PHONE, "13700137000"] {
        for (path, password) in [("/auth/register", "password"), ("/auth/forgot", "new_password")] {
            let request = json!({ "login_name": phone, password: "123456", "captcha": "no code" });
            let (response, measured_cost) = service.lab.measure_cost(service.call_as_melink(path, &request)).await;
            assert_eq!(response.status_and_code(), (200, 40002));
            assert_eq!(measured_cost, RequestCost::new(0, &["app", "find"], &["guess_code"]), "{path} {phone}");
        }
    }
}
