//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what somebody costs.

use stele_testkit::RequestCost;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{ResponseExt as _, TestService};

const PHONE: &str = "13800138000";

async fn service_with_user() -> TestService {
    let bench = TestService::new().await;
    bench.lab.user("a").phone(PHONE).email("a@b.cn").add().await;
    bench
}

#[tokio::test]
async fn known_and_unknown_accounts_cost_a_reset_the_same_operations() {
    let bench = service_with_user().await;
    for body in [
        format!("account=a&phone={PHONE}"),
        "account=a&email=a@b.cn".into(),
        "account=a&phone=13900139000".into(),
        "account=a&email=x@b.cn".into(),
        "account=nobody&phone=13700137000".into(),
        "account=%01&phone=13600136000".into(),
    ] {
        let (answer, work) = bench.lab.measure_cost(bench.post("/api/vi/Auth/ForgetPassword", &body)).await;
        assert_eq!(answer.message(), "发送短信成功");
        assert_eq!(work, RequestCost::new(0, &["find"], &["send_code"]), "{body}");
    }
    assert_eq!(bench.lab.sent_codes().len(), 2, "and yet only the user's own recipients got one");
    for account in ["a", "nobody", "%01"] {
        let body = format!("account={account}&identifyCode=no");
        let (answer, work) = bench.lab.measure_cost(bench.post("/api/vi/Auth/validatePhone", &body)).await;
        answer.assert_error(200, "验证码错误");
        assert_eq!(work, RequestCost::new(0, &["find"], &["guess_code"]), "{account}");
    }
}

#[tokio::test]
async fn an_invalid_token_costs_the_same_operations_for_any_account() {
    let bench = service_with_user().await;
    let mut costs = Vec::new();
    for account in ["a", "nobody"] {
        let (answer, work) =
            bench.lab.measure_cost(bench.update_password("0123456789abcdef0123456789abcdef", account, "654321")).await;
        answer.assert_error(401, "更新密码失败");
        costs.push(work);
    }
    assert_eq!(costs[0], costs[1]);
}
