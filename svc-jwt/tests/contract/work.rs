//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what somebody costs.

use stele_testkit::Work;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{Bench, Reply as _};

const PHONE: &str = "13800138000";

async fn with_a_user() -> Bench {
    let bench = Bench::new().await;
    bench.lab.user("a").phone(PHONE).email("a@b.cn").add().await;
    bench
}

#[tokio::test]
async fn a_reset_costs_the_same_whether_or_not_there_is_such_an_account() {
    let bench = with_a_user().await;
    for body in [
        format!("account=a&phone={PHONE}"),
        "account=a&email=a@b.cn".into(),
        "account=a&phone=13900139000".into(),
        "account=a&email=x@b.cn".into(),
        "account=nobody&phone=13700137000".into(),
        "account=%01&phone=13600136000".into(),
    ] {
        let (answer, work) = bench.lab.work(bench.post("/api/vi/Auth/ForgetPassword", &body)).await;
        assert_eq!(answer.message(), "发送短信成功");
        assert_eq!(work, Work::of(0, &["find"], &["send_code"]), "{body}");
    }
    assert_eq!(bench.lab.codes().len(), 2, "and yet only the user's own recipients got one");
    for account in ["a", "nobody", "%01"] {
        let body = format!("account={account}&identifyCode=no");
        let (answer, work) = bench.lab.work(bench.post("/api/vi/Auth/validatePhone", &body)).await;
        answer.fails(200, "验证码错误");
        assert_eq!(work, Work::of(0, &["find"], &["guess_code"]), "{account}");
    }
}

#[tokio::test]
async fn a_token_that_is_none_costs_the_same_whoever_it_is_shown_for() {
    let bench = with_a_user().await;
    let mut costs = Vec::new();
    for account in ["a", "nobody"] {
        let (answer, work) = bench.lab.work(bench.update("0123456789abcdef0123456789abcdef", account, "654321")).await;
        answer.fails(401, "更新密码失败");
        costs.push(work);
    }
    assert_eq!(costs[0], costs[1]);
}
