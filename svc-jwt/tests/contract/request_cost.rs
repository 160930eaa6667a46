//! The cost of calls in password hashes and store round trips. Unknown users cost the same as known ones, so that
//! timing permits no user enumeration.

use stele_testkit::RequestCost;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{ResponseExt as _, TestService};

const PHONE: &str = "13800138000";

async fn service_with_user() -> TestService {
    let service = TestService::new().await;
    service.lab.user("a").phone(PHONE).email("a@b.cn").add().await;
    service
}

#[tokio::test]
async fn known_and_unknown_accounts_cost_a_reset_the_same_operations() {
    let service = service_with_user().await;
    for body in [
        format!("account=a&phone={PHONE}"),
        "account=a&email=a@b.cn".into(),
        "account=a&phone=13900139000".into(),
        "account=a&email=x@b.cn".into(),
        "account=unknown&phone=13700137000".into(),
        "account=%01&phone=13600136000".into(),
    ] {
        let (response, measured_cost) =
            service.lab.measure_cost(service.post("/api/vi/Auth/ForgetPassword", &body)).await;
        assert_eq!(response.message(), "发送短信成功");
        assert_eq!(measured_cost, RequestCost::new(0, &["find"], &["send_code"]), "{body}");
    }
    assert_eq!(service.lab.sent_codes().len(), 2, "only the user's own recipients got a code");
    for account in ["a", "unknown", "%01"] {
        let body = format!("account={account}&identifyCode=no");
        let (response, measured_cost) =
            service.lab.measure_cost(service.post("/api/vi/Auth/validatePhone", &body)).await;
        response.assert_error(200, "验证码错误");
        assert_eq!(measured_cost, RequestCost::new(0, &["find"], &["guess_code"]), "{account}");
    }
}

#[tokio::test]
async fn an_invalid_token_costs_the_same_operations_for_any_account() {
    let service = service_with_user().await;
    let mut costs = Vec::new();
    for account in ["a", "unknown"] {
        let (response, measured_cost) = service
            .lab
            .measure_cost(service.update_password("0123456789abcdef0123456789abcdef", account, "654321"))
            .await;
        response.assert_error(401, "更新密码失败");
        costs.push(measured_cost);
    }
    assert_eq!(costs[0], costs[1]);
}
